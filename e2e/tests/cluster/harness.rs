//! A namespace a test, and what the tests do in it.

use std::{
    process::Command,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use e2e::{
    cache::Cache,
    clients,
    cluster::{Cluster, Kubectl, Object, condition},
    diagnostics,
    http::Request,
    image::Sample,
    progress,
    shell::Log,
    verify, wait,
};
use serde_json::{Value, json};

/// The pods start, a database is migrated, the API server is told: on a busy machine.
const READY_LIMIT: Duration = Duration::from_mins(2);
const PROXY_LIMIT: Duration = Duration::from_secs(30);

/// A namespace of the strictest Pod Security level. It is deleted when the value is dropped; a test that fails shows first
/// what was in it.
pub(crate) struct Namespace {
    pub(crate) name: &'static str,
    pub(crate) cluster: Cluster,
    pub(crate) kubectl: Kubectl,
    pub(crate) cache: Cache,
    pub(crate) log: Log,
    _among_others: Turn,
}

/// Tests run beside one another, unless one counts what the whole operator does.
static TURNS: RwLock<()> = RwLock::new(());

enum Turn {
    Beside { _guard: RwLockReadGuard<'static, ()> },
    Alone { _guard: RwLockWriteGuard<'static, ()> },
}

impl Namespace {
    pub(crate) fn new(name: &'static str) -> Result<Self> {
        // A test that failed has poisoned the lock; that is no reason for others to fail.
        let guard = TURNS.read().unwrap_or_else(PoisonError::into_inner);
        Self::in_turn(name, Turn::Beside { _guard: guard })
    }

    /// A namespace for a test during which no other has one.
    pub(crate) fn alone(name: &'static str) -> Result<Self> {
        let guard = TURNS.write().unwrap_or_else(PoisonError::into_inner);
        Self::in_turn(name, Turn::Alone { _guard: guard })
    }

    fn in_turn(name: &'static str, turn: Turn) -> Result<Self> {
        let cache = Cache::open()?;
        let cluster = Cluster::running(&cache, verify::CLUSTER)?;
        let cluster = cluster.context("the cluster is not up; run this by `cargo verify --only cluster`")?;
        let log = Log::create(cache.path("log").join(format!("cluster-test-{name}.log")))?;
        let kubectl = cluster.kubectl();
        let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        kubectl.apply(&namespace.to_string())?;
        Ok(Self {
            name,
            cluster,
            kubectl,
            cache,
            log,
            _among_others: turn,
        })
    }

    /// Runs kubectl in the namespace.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl.run(&[&["--namespace", self.name], arguments].concat())
    }

    pub(crate) fn get(&self, what: &str) -> Result<Value> {
        self.kubectl
            .get(self.name, what)?
            .with_context(|| format!("{what} is not there"))
    }

    /// Applies a Registry.
    pub(crate) fn apply_registry(&self, name: &str, spec: &Value) -> Result<()> {
        let metadata = json!({"name": name, "namespace": self.name});
        let registry =
            json!({"apiVersion": "berth.dev/v1alpha1", "kind": "Registry", "metadata": metadata, "spec": spec});
        self.kubectl.apply(&registry.to_string()).map(drop)
    }

    pub(crate) fn apply_secret(&self, name: &str, values: &[(&str, &str)]) -> Result<()> {
        let values: serde_json::Map<_, _> = values
            .iter()
            .map(|(key, value)| ((*key).to_owned(), json!(value)))
            .collect();
        let metadata = json!({"name": name, "namespace": self.name});
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values});
        self.kubectl.apply(&secret.to_string()).map(drop)
    }

    /// Waits until the Registry is as its newest spec says.
    pub(crate) fn wait_until_ready(&self, registry: &str) -> Result<Value> {
        self.wait_for_registry(registry, "is Ready", |registry| {
            condition(registry, "Ready") == Some("True")
        })
    }

    /// Waits until the operator has said `holds` about the newest spec of the Registry.
    pub(crate) fn wait_for_registry(&self, name: &str, until: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
        let what = format!("registry.berth.dev/{name}");
        let object = Object {
            namespace: self.name,
            what: &what,
            until,
        };
        self.kubectl.wait_for(object, READY_LIMIT, |registry| {
            registry["status"]["observedGeneration"] == registry["metadata"]["generation"] && holds(registry)
        })
    }

    /// The address of the Registry's Service, `HOST:PORT`, once the node passes on what is sent to it.
    ///
    /// A pod is Ready a moment before kube-proxy knows it.
    pub(crate) fn service(&self, registry: &str) -> Result<String> {
        let service = self.get(&format!("service/{registry}"))?;
        let address = service["spec"]["clusterIP"]
            .as_str()
            .context("the Service has no address")?;
        let service = format!("{address}:5000");
        let ping = format!("http://{service}/v2/");
        wait::until_ok("the Service answers", PROXY_LIMIT, || {
            Request::new("GET", &ping).send()?.expect_status(200)
        })?;
        Ok(service)
    }

    /// The pods that serve.
    pub(crate) fn serving_pods(&self, registry: &str) -> Result<Vec<Value>> {
        let selector = format!("app.kubernetes.io/instance={registry},app.kubernetes.io/component=registry");
        let pods = self.kubectl.list(self.name, "pods", &selector)?;
        let serves =
            |pod: &Value| condition(pod, "Ready") == Some("True") && pod["metadata"]["deletionTimestamp"].is_null();
        Ok(pods.into_iter().filter(serves).collect())
    }

    /// Makes an image and pushes it with skopeo; gives it with its name in the registry at `host`.
    pub(crate) fn push(&self, host: &str) -> Result<(Sample, String)> {
        let sample = Sample::make(&self.cache, &self.log)?;
        let name = format!("{host}/team/app:1");
        clients::push(Command::new("skopeo"), &sample.archive, &name, &self.log)?;
        Ok((sample, name))
    }

    /// Lets the kubelet pull the image and checks what a pod of it prints.
    pub(crate) fn run_pod(&self, sample: &Sample, image: &str) -> Result<()> {
        let host = image.split('/').next().unwrap_or(image);
        self.cluster.trust_plain_http(host)?;
        sample.check(&clients::run_pod(
            &self.kubectl,
            self.name,
            image,
            &sample.archive.digest,
        )?)
    }

    /// Pulls the image with skopeo and compares its digest.
    pub(crate) fn pull(&self, sample: &Sample, image: &str) -> Result<()> {
        let pulled = clients::pull(Command::new("skopeo"), image, &self.log)?;
        anyhow::ensure!(
            pulled.digest == sample.archive.digest,
            "pulled {}, pushed {}",
            pulled.digest,
            sample.archive.digest
        );
        Ok(())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if thread::panicking() {
            progress::line(&diagnostics::of_namespace(&self.kubectl, self.name));
        }
        self.run(&["delete", "namespace", self.name, "--wait=false"]).ok();
    }
}
