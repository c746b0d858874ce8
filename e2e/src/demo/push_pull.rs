//! Push and pull: through the Service, and by the kubelet where the node can know the registry.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::NAMESPACE;
use crate::{
    cache::Cache,
    clients,
    cluster::{HOST, Target},
    diagnostics, http,
    image::Sample,
    servers::free_port,
    shell,
    shell::Log,
    wait,
};

const NAME: &str = "hello/world:latest";
const NODE_PORT: u16 = 30500;
const ROUTE_LIMIT: Duration = Duration::from_secs(30);

/// How this program reaches the registry's Service, for as long as the value lives.
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

/// Makes an image and pushes it through the Service.
pub(super) fn push(cache: &Cache, target: &Target, log: &Log) -> Result<Sample> {
    let sample = Sample::make(cache, log)?;
    let route = route(target)?;
    clients::push(
        target.command("skopeo"),
        &sample.archive,
        &format!("{}/{NAME}", route.host),
        log,
    )?;
    Ok(sample)
}

/// Pulls it back and says by whom.
pub(super) fn pull(target: &Target, sample: &Sample, log: &Log) -> Result<String> {
    let pulled = match target {
        Target::Own(cluster) => {
            let node_port = format!("{HOST}:{NODE_PORT}");
            cluster.trust_plain_http(&node_port)?;
            let image = format!("{node_port}/{NAME}");
            let said = clients::run_pod(&target.kubectl(), NAMESPACE, &image, &sample.archive.digest);
            said.and_then(|said| sample.check(&said))
                .map(|()| "by the kubelet; the pod printed what it should")
        }
        Target::Existing { .. } => with_skopeo(target, sample, log),
    };
    if pulled.is_err() {
        log.note(&diagnostics::of_namespace(&target.kubectl(), NAMESPACE))?;
    }
    pulled.map(str::to_owned)
}

fn with_skopeo(target: &Target, sample: &Sample, log: &Log) -> Result<&'static str> {
    let route = route(target)?;
    let pulled = clients::pull(Command::new("skopeo"), &format!("{}/{NAME}", route.host), log)?;
    ensure!(
        pulled.digest == sample.archive.digest,
        "pulled {}, pushed {}",
        pulled.digest,
        sample.archive.digest
    );
    Ok("by skopeo; the digest is the one that was pushed")
}

fn route(target: &Target) -> Result<Route> {
    let kubectl = target.kubectl();
    let service = kubectl
        .get(NAMESPACE, "service/registry")?
        .context("the Registry has no Service")?;
    if let Target::Own(_) = target {
        let address = service["spec"]["clusterIP"]
            .as_str()
            .context("the Service has no address")?;
        // A pod is Ready a moment before kube-proxy knows it.
        let connect = format!("exec 3<>/dev/tcp/{address}/5000");
        let attempt = || shell::read(target.command("bash").args(["-c", &connect]), ROUTE_LIMIT);
        wait::until_ok("the Service answers", ROUTE_LIMIT, attempt)?;
        return Ok(Route {
            host: format!("{address}:5000"),
            forward: None,
        });
    }
    let port = free_port("127.0.0.1".parse()?)?;
    let ports = format!("{port}:5000");
    let mut forward = kubectl.command(&["--namespace", NAMESPACE, "port-forward", "service/registry", &ports]);
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
    wait::until_ok("the forwarded port answers", ROUTE_LIMIT, || {
        http::Request::new("GET", &address).send()
    })?;
    Ok(route)
}
