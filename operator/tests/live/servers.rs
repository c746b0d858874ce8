//! Programs that run as long as the value lives.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;

/// How long a program may take until it serves.
const START: Duration = Duration::from_mins(1);

pub(crate) struct Registry {
    child: Child,
    folder: TempDir,
    pub(crate) url: String,
    pub(crate) admin: String,
}

impl Registry {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (port, admin) = (free_port(), free_port());
        let child = Command::new(program("BERTH_TEST_REGISTRY"))
            .arg("serve")
            .env("BERTH_DATA_DIR", folder.path())
            .env("BERTH_HTTP_LISTEN", format!("127.0.0.1:{port}"))
            .env("BERTH_ADMIN_LISTEN", format!("127.0.0.1:{admin}"))
            .env("BERTH_METRICS_REGISTRY", "team/hub")
            .env("BERTH_METRICS_REPLICA", "hub-canary-1")
            .env("BERTH_METRICS_STAGE", "canary")
            .env("BERTH_LOG_LEVEL", "off")
            // Whoever pushes needs the folder, however little it is.
            .env("BERTH_STORAGE_INLINE_SIZE", "0B")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let started = Self {
            child,
            folder,
            url: format!("http://127.0.0.1:{port}"),
            admin: format!("http://127.0.0.1:{admin}"),
        };
        answers(&format!("{}/readyz", started.admin)).await;
        started
    }

    /// Where its blobs are.
    pub(crate) fn blobs(&self) -> PathBuf {
        self.folder.path().join("blobs")
    }

    pub(crate) fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub(crate) struct PrometheusServer {
    child: Child,
    _folder: TempDir,
    pub(crate) url: String,
}

impl PrometheusServer {
    /// One that asks `admin` every second.
    pub(crate) async fn start(admin: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let target = admin.strip_prefix("http://").unwrap();
        let config = folder.path().join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: berth\n  static_configs: [{{targets: ['{target}']}}]\n"
        );
        std::fs::write(&config, text).unwrap();
        let child = Command::new(program("BERTH_TEST_PROMETHEUS"))
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--log.level=error")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let started = Self {
            child,
            _folder: folder,
            url: format!("http://127.0.0.1:{port}"),
        };
        answers(&format!("{}/-/ready", started.url)).await;
        started
    }
}

impl Drop for PrometheusServer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub(crate) fn program(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: run `cargo verify --only measurements`"))
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn answers(url: &str) {
    let begun = Instant::now();
    while !reqwest::get(url).await.is_ok_and(|answer| answer.status().is_success()) {
        assert!(begun.elapsed() < START, "{url} does not answer");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
