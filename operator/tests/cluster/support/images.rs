//! A real registry that images are pushed to.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_mins(1);
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const NAME: &str = "berth/berth-registry";

/// A repository in a registry of its own, which ends with the value.
pub(crate) struct Images {
    child: Child,
    host: String,
    _folder: TempDir,
}

impl Images {
    #[expect(clippy::disallowed_methods, reason = "a test has no configuration to read")]
    pub(crate) async fn start() -> Self {
        let program = std::env::var("BERTH_TEST_REGISTRY")
            .expect("BERTH_TEST_REGISTRY names the registry's program; `cargo verify --only api-server` sets it");
        let folder = tempfile::tempdir().unwrap();
        let (port, admin) = (free_port(), free_port());
        let child = Command::new(program)
            .arg("serve")
            .env("BERTH_DATA_DIR", folder.path())
            .env("BERTH_HTTP_LISTEN", format!("127.0.0.1:{port}"))
            .env("BERTH_ADMIN_LISTEN", format!("127.0.0.1:{admin}"))
            .env("BERTH_LOG_LEVEL", "off")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let images = Self {
            child,
            host: format!("127.0.0.1:{port}"),
            _folder: folder,
        };
        let begun = Instant::now();
        let ready = format!("http://127.0.0.1:{admin}/readyz");
        while !reqwest::get(&ready)
            .await
            .is_ok_and(|answer| answer.status().is_success())
        {
            assert!(begun.elapsed() < LIMIT, "{ready} does not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        images
    }

    /// Its name, as a channel says it.
    pub(crate) fn repository(&self) -> String {
        format!("{}/{NAME}", self.host)
    }

    /// Puts an image of its own under `tag`, and gives its name by digest.
    pub(crate) async fn push(&self, tag: &str) -> String {
        let http = reqwest::Client::new();
        let config = json!({"architecture": "amd64", "os": "linux", "comment": tag}).to_string();
        let base = format!("http://{}/v2/{NAME}", self.host);
        let digest = digest_of(&config);
        let url = format!("{base}/blobs/uploads/?digest={digest}");
        let answer = http.post(url).body(config.clone()).send().await.unwrap();
        assert_eq!(answer.status(), 201);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "layers": [],
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": config.len()},
        })
        .to_string();
        let put = http
            .put(format!("{base}/manifests/{tag}"))
            .header("content-type", MANIFEST);
        assert_eq!(put.body(manifest.clone()).send().await.unwrap().status(), 201);
        format!("{}@{}", self.repository(), digest_of(&manifest))
    }

    pub(crate) fn stop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        self.stop();
    }
}

fn digest_of(text: &str) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(text.as_bytes())))
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
