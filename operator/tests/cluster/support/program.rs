//! The operator as a process of its own, with the token of a `ServiceAccount`.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tempfile::TempDir;

use super::{TESTER, eventually, kubeconfig};

/// A running operator; it is killed when this value is dropped.
pub(crate) struct Program {
    child: Child,
    folder: TempDir,
    admin: SocketAddr,
}

/// Who asks: a `ServiceAccount`.
#[derive(Clone, Copy)]
pub(crate) struct Account<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

impl Account<'_> {
    /// The name in the API server's audit log.
    pub(crate) fn user(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.name)
    }

    pub(crate) async fn create(&self, client: &Client) {
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), self.namespace);
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": self.name}});
        let parameters = PatchParams::apply(TESTER).force();
        accounts
            .patch(self.name, &parameters, &Patch::Apply(account))
            .await
            .unwrap();
    }

    /// Writes a kubeconfig with a token of the account and nothing else.
    async fn write_kubeconfig(&self, client: &Client, path: &Path) {
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), self.namespace);
        let wanted = TokenRequest {
            spec: TokenRequestSpec {
                audiences: vec!["https://kubernetes.default.svc.cluster.local".to_owned()],
                ..TokenRequestSpec::default()
            },
            ..TokenRequest::default()
        };
        let made = accounts
            .create_token_request(self.name, &PostParams::default(), &wanted)
            .await
            .unwrap();
        let cluster = kubeconfig().clusters.remove(0).cluster.unwrap();
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "c", "user": {"token": made.status.unwrap().token}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c", "namespace": self.namespace}}],
        });
        std::fs::write(path, kubeconfig.to_string()).unwrap();
    }
}

impl Program {
    /// Starts `berth-operator run` with these options, as that account.
    pub(crate) async fn start(client: &Client, account: Account<'_>, options: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("berth-operator-").tempdir().unwrap();
        let admin = free_address();
        let mut command = operator(client, account, folder.path()).await;
        let log = File::create(folder.path().join("log")).unwrap();
        command
            .args(["run", "--log-format=json", "--admin-listen", &admin.to_string()])
            .args(options)
            .stdout(Stdio::null())
            .stderr(log);
        let child = command.spawn().unwrap();
        Self { child, folder, admin }
    }

    /// Waits until it works: it leads, or there is no election.
    pub(crate) async fn works(&self) {
        eventually("the operator works", async || {
            let works = self.metrics().await?.contains("berth_operator_leader 1\n");
            (works && self.is_ready().await).then_some(())
        })
        .await;
    }

    pub(crate) async fn is_ready(&self) -> bool {
        let answer = reqwest::get(format!("http://{}/readyz", self.admin)).await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// What `/metrics` shows, if it answers.
    pub(crate) async fn metrics(&self) -> Option<String> {
        let answer = reqwest::get(format!("http://{}/metrics", self.admin)).await.ok()?;
        answer.text().await.ok()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Where it serves probes and metrics.
    pub(crate) fn address(&self) -> String {
        self.admin.to_string()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal such as `TERM`.
    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{signal}"), &self.pid().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let child = std::sync::Mutex::new(&mut self.child);
        let ended = eventually("the operator ends", || {
            let status = child.lock().unwrap().try_wait().unwrap();
            std::future::ready(status)
        });
        ended.await
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The program with nothing in its environment but where the API server is and who asks.
pub(crate) async fn operator(client: &Client, account: Account<'_>, folder: &Path) -> Command {
    let kubeconfig = folder.join("kubeconfig");
    account.write_kubeconfig(client, &kubeconfig).await;
    // Another build of it can be measured: docs/scale.md says how.
    let program =
        std::env::var_os("BERTH_TEST_OPERATOR").unwrap_or_else(|| env!("CARGO_BIN_EXE_berth-operator").into());
    let mut command = Command::new(program);
    command.env_clear().env("KUBECONFIG", kubeconfig).stdin(Stdio::null());
    command
}

fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap()
}

/// The writes in the API server's audit log that one has asked for, refused ones among them.
#[expect(clippy::disallowed_methods, reason = "a test has no configuration to read")]
pub(crate) fn writes_of(user: &str) -> Vec<String> {
    let path = std::env::var("BERTH_TEST_AUDIT_LOG").unwrap_or_else(|_| {
        panic!(
            "BERTH_TEST_AUDIT_LOG is not set: it names the API server's log; `cargo verify --only api-server` sets it"
        )
    });
    let log = std::fs::read_to_string(path).unwrap();
    // The last line may still be being written.
    let events = log
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let own = events.filter(|event| event["user"]["username"] == user);
    own.map(|event| {
        let object = &event["objectRef"];
        let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        format!(
            "{} {} {} {}",
            word(&event["verb"]),
            word(&object["resource"]),
            word(&object["name"]),
            event["responseStatus"]["code"]
        )
    })
    .collect()
}
