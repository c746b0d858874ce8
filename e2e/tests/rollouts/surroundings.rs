//! What all lanes of a run share: the database server, the store, and a way to the API server without a program for each question.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use anyhow::{Context, Result};
use e2e::{
    cache::Cache,
    cluster::{Cluster, HOST},
    http::Request,
    servers::{Postgres, Release, SeaweedFs},
    shell::{self, Log},
    verify,
};
use serde_json::Value;

const STOP_LIMIT: Duration = Duration::from_secs(5);

/// They end with the last lane.
pub(crate) struct Surroundings {
    pub(crate) cluster: Cluster,
    pub(crate) postgres: Postgres,
    pub(crate) s3: SeaweedFs,
    proxy: Proxy,
}

static SHARED: Mutex<Weak<Surroundings>> = Mutex::new(Weak::new());

impl Surroundings {
    /// Those of this run, started by whoever comes first.
    pub(crate) fn shared() -> Result<Arc<Self>> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = shared.upgrade() {
            return Ok(there);
        }
        let started = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&started);
        Ok(started)
    }

    fn start() -> Result<Self> {
        let cache = Cache::open()?;
        let cluster = Cluster::running(&cache, verify::CLUSTER)?;
        let cluster = cluster.context("the cluster is not up; run this by `cargo verify --only rollouts`")?;
        let log = Log::create(cache.path("log/rollouts-servers.log"))?;
        let postgres = Postgres::start(&cache, Release::Newest, HOST.into(), &log)?;
        postgres.sql("postgres", "CREATE ROLE berth LOGIN PASSWORD 'berth'")?;
        let s3 = SeaweedFs::start(&cache, HOST.into(), &log)?;
        let proxy = Proxy::start(&cluster)?;
        Ok(Self {
            cluster,
            postgres,
            s3,
            proxy,
        })
    }

    /// An object of the API server; None: it is not there.
    pub(crate) fn get(&self, path: &str) -> Result<Option<Value>> {
        let answer = Request::new("GET", &format!("{}{path}", self.proxy.url)).send()?;
        if answer.status == 404 {
            return Ok(None);
        }
        let answer = answer.expect_status(200)?;
        serde_json::from_slice(&answer.body)
            .map(Some)
            .context("read the API server's JSON")
    }

    /// Changes an object by a merge patch, and gives what the API server says about it: the object, or why not.
    pub(crate) fn patch(&self, path: &str, change: &Value) -> Result<Result<Value, String>> {
        let url = format!("{}{path}", self.proxy.url);
        let body = change.to_string();
        let answer = Request::new("PATCH", &url)
            .header("Content-Type", "application/merge-patch+json")
            .body(body.as_bytes())
            .send()?;
        let told: Value = serde_json::from_slice(&answer.body).context("read the API server's JSON")?;
        Ok(if answer.status == 200 {
            Ok(told)
        } else {
            Err(told["message"].as_str().unwrap_or_default().to_owned())
        })
    }
}

/// `kubectl proxy`.
struct Proxy {
    child: Child,
    url: String,
}

impl Proxy {
    fn start(cluster: &Cluster) -> Result<Self> {
        let mut command = cluster.kubectl().command(&["proxy", "--port", "0"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let said = child.stdout.take().context("kubectl proxy has no output")?;
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line)?;
        let address = line.trim().rsplit(' ').next().unwrap_or_default();
        Ok(Self {
            url: format!("http://{address}"),
            child,
        })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        shell::stop(&mut self.child, "TERM", STOP_LIMIT).ok();
    }
}
