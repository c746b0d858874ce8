//! A namespace with a Registry at the stable version, and clients at work, to which one release after the other is rolled out.

use std::{ffi::OsString, process::Command, sync::Arc, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use e2e::{
    cluster::{HOST, Kubectl, Object, condition},
    diagnostics,
    http::Request,
    image::{Release, STABLE},
    progress,
    servers::SeaweedFs,
    wait,
};
use serde_json::{Value, json};

use crate::{
    client::{Clients, Load, now},
    report::{self, Counted},
    seen::{Seen, is_over},
    surroundings::Surroundings,
};

const READY_LIMIT: Duration = Duration::from_mins(6);
const ROLL_OUT_LIMIT: Duration = Duration::from_mins(8);
const PROXY_LIMIT: Duration = Duration::from_secs(30);
/// Pods of the canary among all that serve.
const CANARY_SHARE: f64 = 1.0 / 3.0;

/// How a roll-out must end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    /// The phase that stops it; empty: none does.
    pub(crate) stopped_in: &'static str,
    /// Where it ends.
    pub(crate) end: &'static str,
    /// One of these words says why.
    pub(crate) reasons: &'static [&'static str],
}

/// It is named after its namespace.
pub(crate) struct Lane {
    name: &'static str,
    kubectl: Kubectl,
    surroundings: Arc<Surroundings>,
    /// The Service.
    pub(crate) host: String,
}

impl Lane {
    /// A Registry at the stable version, serving. `more` is laid over its spec.
    pub(crate) fn new(name: &'static str, more: &Value) -> Result<Self> {
        let surroundings = Surroundings::shared()?;
        let kubectl = surroundings.cluster.kubectl();
        let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        kubectl.apply(&namespace.to_string())?;
        surroundings
            .postgres
            .sql("postgres", &format!("CREATE DATABASE {name} OWNER berth"))?;
        let mut lane = Self {
            name,
            kubectl,
            surroundings,
            host: String::new(),
        };
        lane.apply_secret("database", &[("username", "berth"), ("password", "berth")])?;
        let keys = [
            ("access-key-id", SeaweedFs::ACCESS_KEY_ID),
            ("secret-access-key", SeaweedFs::SECRET_ACCESS_KEY),
        ];
        lane.apply_secret("bucket", &keys)?;
        let mut spec = lane.spec();
        lay_over(&mut spec, more);
        let metadata = json!({"name": "registry", "namespace": name});
        let registry =
            json!({"apiVersion": "berth.dev/v1alpha1", "kind": "Registry", "metadata": metadata, "spec": spec});
        lane.kubectl.apply(&registry.to_string())?;
        lane.wait_until_ready()?;
        lane.host = lane.service()?;
        Ok(lane)
    }

    fn apply_secret(&self, name: &str, values: &[(&str, &str)]) -> Result<()> {
        let values: serde_json::Map<_, _> = values
            .iter()
            .map(|(key, value)| ((*key).to_owned(), json!(value)))
            .collect();
        let metadata = json!({"name": name, "namespace": self.name});
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values});
        self.kubectl.apply(&secret.to_string()).map(drop)
    }

    /// Seconds in place of minutes; what is judged, and how, is as in production.
    fn spec(&self) -> Value {
        let Surroundings { postgres, s3, .. } = &*self.surroundings;
        let classes = ["manifest_read", "manifest_write", "blob_read", "blob_upload", "admin"];
        let apdex: Vec<Value> = classes
            .iter()
            .map(|class| json!({"class": class, "satisfied": 1.0, "tolerated": 2.5, "min": 0.8}))
            .collect();
        json!({
            "version": STABLE.version,
            "replicas": 2,
            "resources": {"requests": {"cpu": "10m"}, "limits": {"memory": "192Mi"}},
            "database": {"postgres": {
                "host": HOST.to_string(), "port": postgres.port(), "name": self.name, "sslMode": "disable",
                "credentialsRef": {"name": "database"},
            }},
            "storage": {"s3": {
                "bucket": SeaweedFs::BUCKET, "endpoint": s3.endpoint(), "rootDirectory": self.name,
                "credentialsRef": {"name": "bucket"},
            }},
            "rollout": {
                "canary": {"replicas": 1, "bake": {"min": "6s", "max": "60s"}},
                "analysis": {"interval": "2s", "minSamples": 20, "errorRatio": {"max": 0.05}, "apdex": apdex},
                "progressDeadline": "90s",
            },
            "migrations": {
                "pre": {"activeDeadline": "2m", "retries": 0, "lockTimeout": "1s"},
                "post": {"policy": "AfterSoak", "soak": "3s"},
            },
        })
    }

    fn path(&self) -> String {
        format!("/apis/berth.dev/v1alpha1/namespaces/{}/registries/registry", self.name)
    }

    pub(crate) fn registry(&self) -> Result<Value> {
        self.surroundings
            .get(&self.path())?
            .context("the Registry is not there")
    }

    /// An object of the namespace, by the end of its path: `apis/apps/v1/…`, `deployments/registry`.
    pub(crate) fn get(&self, group: &str, what: &str) -> Result<Option<Value>> {
        self.surroundings
            .get(&format!("/{group}/namespaces/{}/{what}", self.name))
    }

    /// Runs a statement in the Registry's database as the superuser.
    pub(crate) fn sql(&self, statement: &str) -> Result<String> {
        self.surroundings.postgres.sql(self.name, statement)
    }

    fn wait_until_ready(&self) -> Result<()> {
        let object = Object {
            namespace: self.name,
            what: "registry.berth.dev/registry",
            until: "is Ready",
        };
        let ready = |registry: &Value| {
            registry["status"]["observedGeneration"] == registry["metadata"]["generation"]
                && condition(registry, "Ready") == Some("True")
        };
        self.kubectl.wait_for(object, READY_LIMIT, ready).map(drop)
    }

    fn service(&self) -> Result<String> {
        let service = self
            .get("api/v1", "services/registry")?
            .context("there is no Service")?;
        let address = service["spec"]["clusterIP"]
            .as_str()
            .context("the Service has no address")?;
        let host = format!("{address}:5000");
        wait::until_ok("the Service answers", PROXY_LIMIT, || {
            Request::new("GET", &format!("http://{host}/v2/"))
                .send()?
                .expect_status(200)
        })?;
        Ok(host)
    }

    /// A program that runs where the cluster is reached, and knows its administrator's kubeconfig.
    pub(crate) fn inside(&self, program: impl Into<OsString>) -> Command {
        self.surroundings.cluster.inside(program)
    }

    /// `kubectl` with these words, in the namespace.
    pub(crate) fn kubectl(&self, words: &[&str]) -> Result<String> {
        self.kubectl.run(&[&["--namespace", self.name], words].concat())
    }

    /// Which pods of the main Deployment there are.
    pub(crate) fn main_pods(&self) -> Result<Vec<String>> {
        let pods = self.get("api/v1", "pods")?.context("there are no pods")?;
        let pods = pods["items"].as_array().cloned().unwrap_or_default();
        let labels = |pod: &Value| pod["metadata"]["labels"].clone();
        let mut main: Vec<String> = pods
            .iter()
            .filter(|pod| labels(pod)["app.kubernetes.io/component"] == "registry")
            .filter(|pod| labels(pod)["berth.dev/stage"] != "canary")
            .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
            .map(|pod| pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned())
            .collect();
        main.sort_unstable();
        Ok(main)
    }

    /// Changes the spec, and gives what the API server says when it refuses that.
    pub(crate) fn change(&self, spec: &Value) -> Result<Result<Value, String>> {
        self.surroundings.patch(&self.path(), &json!({"spec": spec}))
    }

    /// Name of the newest roll-out.
    fn newest(&self) -> Result<String> {
        Ok(self.registry()?["status"]["rollout"]["id"]
            .as_str()
            .unwrap_or_default()
            .to_owned())
    }

    /// Changes the spec and waits until the roll-out that this begins is over.
    pub(crate) fn roll_out(&self, change: &Value) -> Result<Seen> {
        let before = self.newest()?;
        self.change(change)?.map_err(anyhow::Error::msg)?;
        let what = format!("{}: the roll-out of {change} is over", self.name);
        let id = wait::until(&what, ROLL_OUT_LIMIT, || {
            let rollout = self.registry()?["status"]["rollout"].clone();
            let id = rollout["id"].as_str().unwrap_or_default();
            let over = id != before && is_over(rollout["phase"].as_str().unwrap_or_default());
            Ok(over.then(|| id.to_owned()))
        })?;
        self.recorded(&id)
    }

    /// The record of a roll-out, when it says the same as the Registry.
    fn recorded(&self, id: &str) -> Result<Seen> {
        let what = format!("the record of {id} tells the end");
        wait::until(&what, PROXY_LIMIT, || {
            let record = self.get("apis/berth.dev/v1alpha1", &format!("registryrollouts/{id}"))?;
            let seen = record.as_ref().map(Seen::read).transpose()?;
            Ok(seen.filter(|seen| is_over(seen.end())))
        })
    }

    /// Rolls a release out while clients are at work, and checks the end and what the clients saw.
    pub(crate) fn release(&self, release: &Release, expected: Expected, load: Load) -> Result<Seen> {
        let flaw = if release.flaw.is_empty() { "-" } else { release.flaw };
        let about = format!("{} {flaw}", release.version);
        self.change_beside_clients(&about, &json!({"version": release.version}), expected, load)
    }

    pub(crate) fn change_beside_clients(
        &self,
        about: &str,
        change: &Value,
        expected: Expected,
        load: Load,
    ) -> Result<Seen> {
        let clients = Clients::start(&self.host, load);
        let began = now();
        let seen = self.roll_out(change)?;
        if seen.end() == "Held" || seen.end() == "Paused" {
            self.give_up(&seen)?;
        }
        // What is said to be over must be: a while later nothing goes wrong any more.
        wait::until("the clients go on", PROXY_LIMIT, || {
            let beyond = seen.with_canary().map_or(began, |(_, to)| to);
            let after = clients.asked().iter().filter(|one| one.at > beyond).count();
            Ok((after >= 10).then_some(()))
        })?;
        let asked = clients.asked();
        let counted = Counted::of(&asked, &seen);
        let wrong: Vec<_> = asked.iter().filter(|one| one.wrong.is_some()).collect();
        report::line(about, &expected.shown(), &seen, counted)?;
        for one in wrong.iter().take(5) {
            progress::line(&format!("    {about}: {:?}", one.wrong));
        }
        expected.check(about, &seen)?;
        check(about, counted, expected.stopped_in.is_empty())?;
        Ok(seen)
    }

    /// A person takes a release back that stands still.
    fn give_up(&self, seen: &Seen) -> Result<()> {
        self.change(&json!({"version": STABLE.version}))?
            .map_err(anyhow::Error::msg)?;
        wait::until(&format!("{} is taken back", seen.id), ROLL_OUT_LIMIT, || {
            let gone = self
                .get("apis/apps/v1", "deployments/registry-canary")?
                .is_none_or(|canary| canary["spec"]["replicas"] == 0);
            let phase = self.registry()?["status"]["rollout"]["phase"].clone();
            let ended = ["RolledBack", "Failed", "Superseded", "Completed"]
                .iter()
                .any(|end| phase == *end);
            Ok((gone && ended).then_some(()))
        })
    }
}

impl Expected {
    fn shown(&self) -> String {
        if self.stopped_in.is_empty() {
            return self.end.to_owned();
        }
        format!("{} -> {}", self.stopped_in, self.end)
    }

    fn check(&self, about: &str, seen: &Seen) -> Result<()> {
        let told = || format!("{about}: {:#}", seen.record["status"]);
        ensure!(
            seen.end() == self.end,
            "{} in place of {}; {}",
            seen.end(),
            self.end,
            told()
        );
        let may_stop_in = |phase: &str| self.stopped_in.split(" or ").any(|expected| expected == phase);
        let stopped = self.stopped_in.is_empty() || may_stop_in(seen.stopped_in());
        ensure!(
            stopped,
            "stopped in {} in place of {}; {}",
            seen.stopped_in(),
            self.stopped_in,
            told()
        );
        let explained = self.reasons.is_empty() || self.reasons.contains(&seen.reason.as_str());
        ensure!(
            explained,
            "the reason is {}, not one of {:?}; {}",
            seen.reason,
            self.reasons,
            told()
        );
        ensure!(!seen.message.is_empty(), "nothing is said to people; {}", told());
        Ok(())
    }
}

/// Beside the canary no more than its share goes wrong, as far as chance allows; otherwise nothing.
fn check(about: &str, counted: Counted, good: bool) -> Result<()> {
    ensure!(
        counted.wrong_without == 0,
        "{about}: {} requests failed without a canary",
        counted.wrong_without
    );
    let total = f64::from(u32::try_from(counted.with_canary)?);
    let chance = 3.0 * (total * CANARY_SHARE * (1.0 - CANARY_SHARE)).sqrt() + 1.0;
    let most = if good { 0.0 } else { total * CANARY_SHARE + chance };
    let wrong = f64::from(u32::try_from(counted.wrong_with)?);
    ensure!(
        wrong <= most,
        "{about}: {wrong} of {total} requests failed, and the canary's share is {most:.0}"
    );
    Ok(())
}

fn lay_over(spec: &mut Value, more: &Value) {
    match (spec, more) {
        (Value::Object(spec), Value::Object(more)) => {
            for (key, value) in more {
                lay_over(spec.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (spec, more) => *spec = more.clone(),
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        if thread::panicking() {
            progress::line(&diagnostics::of_namespace(&self.kubectl, self.name));
        }
        self.kubectl
            .run(&["delete", "namespace", self.name, "--wait=false"])
            .ok();
    }
}
