//! The image that is pushed and pulled, and the two clients: skopeo, and the kubelet.

use std::{
    fs,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::NAMESPACE;
use crate::{
    cache::Cache,
    cluster::{HOST, Object, Target},
    diagnostics, http,
    image::{Archive, Compression, Image, Layer, Settings, busybox_layer},
    servers::free_port,
    shell,
    shell::Log,
    wait,
};

const REPOSITORY: &str = "hello/world";
const NODE_PORT: u16 = 30500;
const CLIENT_LIMIT: Duration = Duration::from_mins(2);
const POD_LIMIT: Duration = Duration::from_secs(90);

/// An image that is in the registry.
pub(super) struct Pushed {
    pub(super) name: String,
    pub(super) digest: String,
    /// What a pod of it prints: new in every run.
    greeting: String,
}

/// How this program reaches the registry, for as long as the value lives.
struct Route {
    host: String,
    forward: Option<Child>,
}

impl Drop for Route {
    fn drop(&mut self) {
        if let Some(forward) = &mut self.forward {
            shell::stop(forward, "TERM", Duration::from_secs(5)).ok();
        }
    }
}

/// Makes the image and pushes it through the Service.
pub(super) fn push(cache: &Cache, target: &Target, log: &Log) -> Result<Pushed> {
    let run = fs::read_to_string("/proc/sys/kernel/random/uuid").context("read a random name")?;
    let greeting = format!("Hello from an image that Berth keeps, run {}", run.trim());
    let archive = make(cache, &greeting, log)?;
    let route = route(target)?;
    let name = format!("{REPOSITORY}:latest");
    let mut skopeo = target.command("skopeo");
    skopeo.args(["--insecure-policy", "copy", "--dest-tls-verify=false"]);
    skopeo.args([
        format!("oci-archive:{}", archive.path.display()),
        format!("docker://{}/{name}", route.host),
    ]);
    shell::run(&mut skopeo, log, CLIENT_LIMIT).context("push the image")?;
    Ok(Pushed {
        name,
        digest: archive.digest,
        greeting,
    })
}

/// Pulls it back and says by whom: the kubelet of this machine's cluster, or skopeo where nodes do not know the registry.
pub(super) fn pull(target: &Target, pushed: &Pushed, log: &Log) -> Result<String> {
    match target {
        Target::Own(cluster) => {
            cluster.trust_plain_http(&format!("{HOST}:{NODE_PORT}"))?;
            run_pod(target, pushed, log)
        }
        Target::Existing { .. } => pull_with_skopeo(target, pushed),
    }
}

/// Four layers, as images have them: a shell, a program, something large, something that changes with each build.
fn make(cache: &Cache, greeting: &str, log: &Log) -> Result<Archive> {
    let program = "#!/bin/sh\nsha256sum -c /sums && cat /greeting\n";
    let large: Vec<u8> = (0..4_000_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    let sum = shell_sum(&large);
    let layers = vec![
        busybox_layer(cache, log)?,
        Layer::new()
            .file("hello", 0o755, program)
            .file("sums", 0o644, format!("{sum}  /large\n")),
        Layer::new().file("large", 0o644, large),
        Layer::new().file("greeting", 0o644, format!("{greeting}\n")),
    ];
    let settings = Settings {
        command: vec!["/hello".into()],
        user: "65532:65532".into(),
        ..Settings::default()
    };
    let path = cache.folder("images")?.join("hello_world.tar");
    Image::new(layers, settings)
        .stored(Compression::Gzip)
        .write(&path, &format!("{REPOSITORY}:latest"))
}

fn shell_sum(content: &[u8]) -> String {
    use sha2::Digest;
    hex::encode(sha2::Sha256::digest(content))
}

fn route(target: &Target) -> Result<Route> {
    let service = target
        .kubectl()
        .get(NAMESPACE, "service/registry")?
        .context("the Registry has no Service")?;
    if let Target::Own(_) = target {
        let address = service["spec"]["clusterIP"]
            .as_str()
            .context("the Service has no address")?;
        return Ok(Route {
            host: format!("{address}:5000"),
            forward: None,
        });
    }
    let port = free_port("127.0.0.1".parse()?)?;
    let arguments = [
        "--namespace",
        NAMESPACE,
        "port-forward",
        "service/registry",
        &format!("{port}:5000"),
    ];
    let mut forward = target.kubectl().command(&arguments);
    let forward = forward
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let route = Route {
        host: format!("127.0.0.1:{port}"),
        forward: Some(forward),
    };
    let address = format!("http://{}/v2/", route.host);
    wait::until_ok("the forwarded port answers", CLIENT_LIMIT, || {
        http::Request::new("GET", &address).send()
    })?;
    Ok(route)
}

fn run_pod(target: &Target, pushed: &Pushed, log: &Log) -> Result<String> {
    let kubectl = target.kubectl();
    let pod = format!(
        include_str!("hello.yaml"),
        namespace = NAMESPACE,
        image = format!("{HOST}:{NODE_PORT}/{}", pushed.name)
    );
    kubectl.run(&[
        "--namespace",
        NAMESPACE,
        "delete",
        "pod/hello",
        "--ignore-not-found",
        "--now",
    ])?;
    kubectl.apply(&pod)?;
    let hello = Object {
        namespace: NAMESPACE,
        what: "pod/hello",
        until: "has ended",
    };
    let ended = kubectl.wait_for(hello, POD_LIMIT, |pod| {
        matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) || refused(pod).is_some()
    });
    let checked = ended.and_then(|pod| {
        if let Some(reason) = refused(&pod) {
            bail!("the kubelet could not pull the image: {reason}");
        }
        let said = kubectl.run(&["--namespace", NAMESPACE, "logs", "pod/hello"])?;
        ensure!(pod["status"]["phase"] == "Succeeded", "the pod failed: {said}");
        ensure!(
            said.contains("/large: OK") && said.contains(&pushed.greeting),
            "the pod printed something else: {said}"
        );
        let image = pod["status"]["containerStatuses"][0]["imageID"]
            .as_str()
            .unwrap_or_default();
        ensure!(
            image.ends_with(&pushed.digest),
            "the pod ran {image}, not what was pushed: {}",
            pushed.digest
        );
        Ok("by the kubelet; the pod printed what it should".to_owned())
    });
    if checked.is_err() {
        log.note(
            &kubectl
                .run(&["--namespace", NAMESPACE, "describe", "pod/hello"])
                .unwrap_or_default(),
        )?;
        log.note(&diagnostics::of_namespace(&kubectl, NAMESPACE))?;
    }
    checked
}

/// Why the kubelet cannot get the image, when it has given up once.
fn refused(pod: &Value) -> Option<String> {
    let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
    let reason = waiting["reason"].as_str()?;
    let hopeless = [
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "CreateContainerError",
    ]
    .contains(&reason);
    hopeless.then(|| format!("{reason}: {}", waiting["message"].as_str().unwrap_or_default()))
}

fn pull_with_skopeo(target: &Target, pushed: &Pushed) -> Result<String> {
    let route = route(target)?;
    let folder = tempfile::tempdir()?;
    let from = format!("docker://{}/{}", route.host, pushed.name);
    let mut copy = Command::new("skopeo");
    copy.args(["--insecure-policy", "copy", "--quiet", "--src-tls-verify=false", &from]);
    shell::read(copy.arg(format!("dir:{}", folder.path().display())), CLIENT_LIMIT).context("pull the image back")?;
    let manifest = fs::read(folder.path().join("manifest.json"))?;
    let digest = format!("sha256:{}", shell_sum(&manifest));
    ensure!(digest == pushed.digest, "pulled {digest}, pushed {}", pushed.digest);
    Ok("by skopeo; the digest is the one that was pushed".to_owned())
}
