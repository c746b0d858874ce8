//! An API server with its etcd and nothing else: no node, no pods, no controllers. Ready in about 3 seconds, enough
//! for server-side apply, validation and status. Its ports are free ones of the loopback.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::{Kubectl, certificates};
use crate::{
    cache::Cache,
    servers::free_port,
    shell,
    shell::Log,
    tools::{apt, kubernetes},
    wait,
};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const START_LIMIT: Duration = Duration::from_secs(90);
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// A running API server; it ends when this value is dropped.
#[derive(Debug)]
pub struct ControlPlane {
    children: Vec<Child>,
    folder: TempDir,
}

impl ControlPlane {
    /// Starts it.
    ///
    /// # Errors
    /// When the binary cannot be had, or the API server is not ready within 90 seconds.
    pub fn start(cache: &Cache, log: &Log) -> Result<Self> {
        let openssl = apt::NODE.into_iter().filter(|package| package.is("openssl"));
        apt::ensure(&openssl.collect::<Vec<_>>(), cache, log)?;
        let kubernetes = kubernetes::binary(cache, log)?;
        let folder = tempfile::Builder::new().prefix("berth-control-plane-").tempdir()?;
        let pki = folder.path().join("pki");
        certificates::make(&pki)?;
        fs::write(
            folder.path().join("audit.yaml"),
            include_str!("configuration/audit.yaml"),
        )?;
        let (client, peer, port) = (free_port(LOOPBACK)?, free_port(LOOPBACK)?, free_port(LOOPBACK)?);
        let kubeconfig = certificates::kubeconfig(&pki, &format!("https://127.0.0.1:{port}"), "berth-control-plane");
        fs::write(folder.path().join("kubeconfig"), kubeconfig)?;
        let mut started = Self {
            children: Vec::new(),
            folder,
        };
        started
            .children
            .push(spawn(etcd(&kubernetes, started.folder.path(), client, peer), log)?);
        started.children.push(spawn(
            api_server(&kubernetes, started.folder.path(), client, port),
            log,
        )?);
        started.wait_until_ready(&kubernetes)?;
        Ok(started)
    }

    /// Credentials of its administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// Where the API server writes down every write.
    pub fn audit_log(&self) -> PathBuf {
        self.folder.path().join("audit.log")
    }

    fn wait_until_ready(&mut self, kubernetes: &Path) -> Result<()> {
        let words = vec![kubernetes.into(), "kubectl".into()];
        let kubectl = Kubectl::new(words, Some(self.kubeconfig().into()));
        wait::until("the API server is ready", START_LIMIT, || {
            for child in &mut self.children {
                if let Some(status) = child.try_wait()? {
                    bail!("a part of the control plane ended ({status}); its words are in the log");
                }
            }
            Ok(kubectl.run(&["get", "--raw", "/readyz"]).ok())
        })?;
        Ok(())
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        // The API server first: without etcd it would wait for it.
        while let Some(mut child) = self.children.pop() {
            shell::stop(&mut child, "KILL", STOP_LIMIT).ok();
        }
    }
}

fn spawn(mut command: Command, log: &Log) -> Result<Child> {
    command
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.handle()?)
        .stderr(log.handle()?);
    command.spawn().context("start the control plane")
}

fn etcd(kubernetes: &Path, folder: &Path, client: u16, peer: u16) -> Command {
    let mut command = Command::new(kubernetes);
    command
        .args(["etcd", "--unsafe-no-fsync", "--log-level", "warn", "--data-dir"])
        .arg(folder.join("etcd"));
    for flag in ["--listen-client-urls", "--advertise-client-urls"] {
        command.args([flag, &format!("http://127.0.0.1:{client}")]);
    }
    for flag in ["--listen-peer-urls", "--initial-advertise-peer-urls"] {
        command.args([flag, &format!("http://127.0.0.1:{peer}")]);
    }
    command.args(["--initial-cluster", &format!("default=http://127.0.0.1:{peer}")]);
    command
}

fn api_server(kubernetes: &Path, folder: &Path, etcd: u16, port: u16) -> Command {
    let pki = folder.join("pki");
    let mut command = Command::new(kubernetes);
    command.args(["kube-apiserver", "--etcd-servers", &format!("http://127.0.0.1:{etcd}")]);
    command.args(["--bind-address", "127.0.0.1", "--secure-port", &port.to_string()]);
    // It refuses to advertise a loopback address; nothing here uses the address.
    command.args([
        "--advertise-address",
        &super::HOST.to_string(),
        "--service-cluster-ip-range",
        "10.96.0.0/16",
    ]);
    command.args([
        "--authorization-mode",
        "RBAC",
        "--service-account-issuer",
        "https://kubernetes.default.svc.cluster.local",
    ]);
    // Without its controller no namespace has the account that this admission asks for.
    command.args(["--disable-admission-plugins", "ServiceAccount"]);
    command.arg("--audit-policy-file").arg(folder.join("audit.yaml"));
    command.arg("--audit-log-path").arg(folder.join("audit.log"));
    for (flag, file) in [
        ("--tls-cert-file", "server.crt"),
        ("--tls-private-key-file", "server.key"),
        ("--client-ca-file", "ca.crt"),
        ("--service-account-signing-key-file", "accounts.key"),
        ("--service-account-key-file", "accounts.pub"),
    ] {
        command.arg(flag).arg(pki.join(file));
    }
    command
}
