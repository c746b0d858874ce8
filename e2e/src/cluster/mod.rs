//! A real single-node Kubernetes in namespaces of its own (mount, network, pid): real pods, nothing of the machine's
//! own touched, and gone without a trace when its first program is ended.
//!
//! All its state is in one folder of the cache. Two clusters of different names do not meet. What must reach its API
//! server, pods or Services is started with [`Cluster::inside`]; pods reach such a program at [`HOST`].

use std::{
    ffi::OsString,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

pub(crate) mod certificates;
mod cgroups;
mod control_plane;
mod down;
mod kubectl;
mod target;

pub use control_plane::ControlPlane;
pub use down::{down, leftovers};
pub use kubectl::{Kubectl, Object, condition};
pub use target::Target;

use crate::{
    cache::Cache,
    image, shell,
    shell::Log,
    tools::{apt, kubernetes},
    wait,
};

/// The node's address, as pods and the node itself see it.
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);

const UP_LIMIT: Duration = Duration::from_mins(3);
const IMPORT_LIMIT: Duration = Duration::from_mins(2);

const INIT: &str = include_str!("init.sh");
/// Where each file of the configuration goes below the state folder.
const CONFIGURATION: [(&str, &str); 6] = [
    ("kubelet.yaml", include_str!("configuration/kubelet.yaml")),
    ("proxy.yaml", include_str!("configuration/proxy.yaml")),
    ("audit.yaml", include_str!("configuration/audit.yaml")),
    ("storage-class.yaml", include_str!("configuration/storage-class.yaml")),
    (
        "own/etc/containerd/config.toml",
        include_str!("configuration/containerd.toml"),
    ),
    (
        "own/etc/cni/net.d/10-bridge.conflist",
        include_str!("configuration/bridge.conflist"),
    ),
];

/// A cluster that is up.
#[derive(Debug, Clone)]
pub struct Cluster {
    name: String,
    state: PathBuf,
    init: u32,
    kubernetes: PathBuf,
}

impl Cluster {
    /// The cluster `name`, brought up if it is not.
    ///
    /// # Errors
    /// When this is not root, something it needs cannot be had, or its node is not ready within 3 minutes.
    pub fn up(cache: &Cache, name: &str, log: &Log) -> Result<Self> {
        ensure_possible()?;
        let _lock = cache.lock(&format!("cluster-{name}"))?;
        if let Some(running) = Self::running(cache, name)? {
            return Ok(running);
        }
        apt::ensure(&apt::NODE, cache, log)?;
        let kubernetes = kubernetes::binary(cache, log)?;
        down::clear(cache, name)?;
        let state = state_folder(cache, name);
        prepare(cache, name, &state, log)?;
        let mut unshare = start(cache, &state, &kubernetes)?;
        let cluster = Self {
            name: name.to_owned(),
            init: init_of(&mut unshare)?,
            state,
            kubernetes,
        };
        cluster.remember(unshare.id())?;
        match cluster.wait_until_ready() {
            Ok(()) => Ok(cluster),
            Err(error) => {
                let said = Log::tail_of(&cluster.state.join("log/init.log"), 12);
                log.note(&said)?;
                unshare.kill()?;
                unshare.wait()?;
                Err(error.context(format!(
                    "bring the cluster up; logs are in {}\n{said}",
                    cluster.state.join("log").display()
                )))
            }
        }
    }

    /// The cluster `name`, if it is up.
    ///
    /// # Errors
    /// When what it left cannot be read.
    pub fn running(cache: &Cache, name: &str) -> Result<Option<Self>> {
        let state = state_folder(cache, name);
        let Some(identity) = down::Identity::read(&state)? else {
            return Ok(None);
        };
        if !identity.is_alive() || !state.join("ready").exists() {
            return Ok(None);
        }
        let kubernetes = PathBuf::from(fs::read_to_string(state.join("kubernetes"))?);
        Ok(Some(Self {
            name: name.to_owned(),
            state,
            init: identity.init,
            kubernetes,
        }))
    }

    /// A command that runs in the cluster's network, with `KUBECONFIG` set.
    pub fn inside(&self, program: impl Into<OsString>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/proc/{}/ns/net", self.init))
            .arg("--")
            .arg(program.into());
        command
            .env("KUBECONFIG", self.kubeconfig())
            .env("KUBECACHEDIR", self.state.join("kubectl"));
        command
    }

    /// Its kubectl.
    pub fn kubectl(&self) -> Kubectl {
        let inside = self.inside(&self.kubernetes);
        let words = std::iter::once(inside.get_program())
            .chain(inside.get_args())
            .map(OsString::from);
        Kubectl::new(
            words.chain([OsString::from("kubectl")]).collect(),
            Some(self.kubeconfig().into()),
        )
    }

    /// Credentials of its administrator; of use only in its network.
    pub fn kubeconfig(&self) -> PathBuf {
        self.state.join("kubeconfig")
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The program that is process 1 of its namespaces.
    pub fn init(&self) -> u32 {
        self.init
    }

    /// The folder with one log a component.
    pub fn logs(&self) -> PathBuf {
        self.state.join("log")
    }

    /// The API server's audit log: one JSON object a line for every write.
    pub fn audit_log(&self) -> PathBuf {
        self.logs().join("audit.log")
    }

    /// Gives the node an image, so that no pull is needed. True when it did not have this one yet.
    ///
    /// # Errors
    /// When containerd refuses it.
    pub fn import(&self, image: &image::Archive, log: &Log) -> Result<bool> {
        let mark = self
            .state
            .join("imported")
            .join(image.reference.replace(['/', ':'], "_"));
        if fs::read_to_string(&mark).is_ok_and(|known| known == image.digest) {
            return Ok(false);
        }
        let mut import = Command::new("nsenter");
        import
            .arg(format!("--mount=/proc/{}/ns/mnt", self.init))
            .args(["--", "ctr", "--namespace", "k8s.io"]);
        shell::run(import.args(["images", "import"]).arg(&image.path), log, IMPORT_LIMIT)?;
        fs::create_dir_all(self.state.join("imported"))?;
        fs::write(mark, &image.digest)?;
        Ok(true)
    }

    /// Lets the node pull from the registry at `host` (with its port) without TLS.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn trust_plain_http(&self, host: &str) -> Result<()> {
        let folder = self.state.join("own/etc/containerd/certs.d").join(host);
        fs::create_dir_all(&folder)?;
        let address = format!("http://{host}");
        let hosts =
            format!("server = \"{address}\"\n\n[host.\"{address}\"]\n  capabilities = [\"pull\", \"resolve\"]\n");
        Ok(fs::write(folder.join("hosts.toml"), hosts)?)
    }

    fn remember(&self, unshare: u32) -> Result<()> {
        fs::write(
            self.state.join("kubernetes"),
            self.kubernetes.as_os_str().as_encoded_bytes(),
        )?;
        down::Identity::of(unshare, self.init)?.write(&self.state)
    }

    fn wait_until_ready(&self) -> Result<()> {
        let started = self.state.join("started");
        let alive = || -> Result<()> {
            let net = format!("/proc/{}/ns/net", self.init);
            fs::read_link(net)
                .map(drop)
                .context("a component ended, and the cluster with it")
        };
        wait::until("every component has started", UP_LIMIT, || {
            alive()?;
            Ok(started.exists().then_some(()))
        })?;
        let kubectl = self.kubectl();
        wait::until("the node is ready and pods may start", UP_LIMIT, || {
            alive()?;
            let node = kubectl.get("default", "node/node").ok().flatten();
            let ready = node.is_some_and(|node| condition(&node, "Ready") == Some("True"));
            let account = || kubectl.get("default", "serviceaccount/default").ok().flatten();
            Ok((ready && account().is_some()).then_some(()))
        })?;
        Ok(fs::write(self.state.join("ready"), "")?)
    }
}

/// Checks what cannot be installed, so that nobody waits for builds in vain.
///
/// # Errors
/// When this is not Linux, or not root.
pub fn ensure_possible() -> Result<()> {
    ensure!(
        cfg!(target_os = "linux"),
        "a cluster of this machine needs Linux; --context uses an existing one"
    );
    ensure!(
        shell::is_root(),
        "a cluster of this machine needs root, for namespaces, mounts and control groups; --context uses an existing one"
    );
    Ok(())
}

fn state_folder(cache: &Cache, name: &str) -> PathBuf {
    cache.path("clusters").join(name)
}

/// The name of the control group of a cluster's pods. Its state folder names a cluster of this machine: another cache may
/// have one of the same name.
fn control_group(state: &Path) -> String {
    let name = state.file_name().unwrap_or_default().to_string_lossy();
    let sum = Sha256::digest(state.as_os_str().as_encoded_bytes());
    format!("berth-{name}-{}", hex::encode(&sum[..4]))
}

fn prepare(cache: &Cache, name: &str, state: &Path, log: &Log) -> Result<()> {
    for folder in ["log", "images", "volumes"] {
        fs::create_dir_all(state.join(folder))?;
    }
    let group = control_group(state);
    for (path, text) in CONFIGURATION {
        let path = state.join(path);
        fs::create_dir_all(path.parent().unwrap_or(state))?;
        let text = text.replace("@STATE@", &state.display().to_string());
        fs::write(
            path,
            text.replace("@HOST@", &HOST.to_string())
                .replace("@CGROUP@", &format!("/{group}")),
        )?;
    }
    fs::write(state.join("resolv.conf"), format!("nameserver {HOST}\n"))?;
    let pki = state.join("pki");
    certificates::make(&pki)?;
    let kubeconfig = certificates::kubeconfig(&pki, "https://127.0.0.1:6443", &format!("berth-{name}"));
    fs::write(state.join("kubeconfig"), kubeconfig)?;
    for archive in [image::pause(cache, log)?, image::busybox(cache, log)?] {
        let name = archive.path.file_name().context("an image has a file name")?;
        fs::copy(&archive.path, state.join("images").join(name))?;
    }
    cgroups::make(&group)
}

fn start(cache: &Cache, state: &Path, kubernetes: &Path) -> Result<Child> {
    let log = Log::create(state.join("log/init.log"))?;
    // A session of its own: a key pressed in this terminal does not reach the cluster.
    let mut command = Command::new("setsid");
    command.args([
        "unshare",
        "--mount",
        "--net",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "bash",
        "-c",
        INIT,
    ]);
    command
        .current_dir("/")
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command
        .env("STATE", state)
        .env("KUBERNETES", kubernetes)
        .env("HOST", HOST.to_string())
        .env("HOME", state);
    command.env("MADE_FOLDERS", cache.path(down::MADE_FOLDERS));
    command.stdin(Stdio::null()).stdout(log.handle()?).stderr(log.handle()?);
    command.spawn().context("start the cluster's namespaces")
}

/// `unshare` has one child: process 1 of the namespaces.
fn init_of(unshare: &mut Child) -> Result<u32> {
    let id = unshare.id();
    let children = format!("/proc/{id}/task/{id}/children");
    wait::until("the cluster's first program", Duration::from_secs(10), || {
        if let Some(status) = unshare.try_wait()? {
            bail!("unshare ended: {status}");
        }
        let children = fs::read_to_string(&children).context("find the cluster's first program")?;
        Ok(children.split_whitespace().next().map(str::parse).transpose()?)
    })
}
