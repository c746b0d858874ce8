//! Collection as people run it: by the server, by the admin listener, by the command.

use crate::support::content::sha256;
use crate::support::serve::{LIMIT, Serve, address, program};
use crate::support::{TestRegistry, stores};
use berth_registry::config::{Config, Storage};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

const REPOSITORY: &str = "team/app";
/// No grace, so that a test need not wait for it.
const HASTY: [(&str, &str); 5] = [
    stores::ALL_IN_THE_STORE,
    ("BERTH_GC_DELAYS_DEFAULT", "0s"),
    ("BERTH_GC_QUARANTINE", "0s"),
    ("BERTH_GC_LEASE", "1s"),
    ("BERTH_GC_INTERVAL", "100ms"),
];

async fn ask(registry: &TestRegistry, method: Method, path: &str, body: Value) -> (StatusCode, String) {
    let request = registry.managed(method, path);
    let request = if body.is_null() { request } else { request.json(&body) };
    let answer = request.send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

async fn become_true(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(tokio::time::timeout(LIMIT, waiting).await.is_ok(), "{what}");
}

#[tokio::test]
async fn a_server_collects_by_itself_and_counts_what_it_did() {
    let registry = TestRegistry::start_with(&HASTY).await;
    registry.push_image(REPOSITORY, "v1", b"layer").await;
    registry.delete(&format!("/v2/{REPOSITORY}/manifests/v1")).await;

    become_true("the blobs go", async || {
        stores::count(&registry.config, "SELECT count(*) FROM blobs").await == 0
            && stores::count(&registry.config, "SELECT count(*) FROM tombstones").await == 0
    })
    .await;

    let metrics = async || {
        let answer = reqwest::get(registry.admin_url("/metrics")).await.unwrap();
        answer.text().await.unwrap()
    };
    let expected = "berth_registry_gc_deletes_total{backend=\"storage\",artifact=\"blob\"} 2";
    become_true("the objects are counted", async || metrics().await.contains(expected)).await;
    let text = metrics().await;
    for line in [
        "berth_registry_gc_deletes_total{backend=\"database\",artifact=\"manifest\"} 1",
        "berth_registry_gc_storage_deleted_bytes_total 7",
        "berth_registry_gc_paused 0",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn collection_is_paused_and_resumed_by_the_admin_listener_and_stays_so_over_a_restart() {
    let registry = TestRegistry::start_with(&HASTY).await;
    let by = json!({"by": "an incident"});
    let (status, told) = ask(&registry, Method::POST, "gc/pause", by).await;
    assert_eq!(status, StatusCode::OK, "{told}");
    let registry = registry.restart().await;
    registry.push_blob(REPOSITORY, b"unused").await;

    let (_, told) = ask(&registry, Method::GET, "gc", Value::Null).await;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (&told["paused"], &told["paused_by"]),
        (&json!(true), &json!("an incident"))
    );
    let (_, told) = ask(&registry, Method::POST, "gc/run", Value::Null).await;
    assert!(told.contains("paused by `an incident`"), "{told}");
    assert_eq!(stores::count(&registry.config, "SELECT count(*) FROM blobs").await, 1);

    let (status, told) = ask(&registry, Method::POST, "gc/resume", Value::Null).await;
    assert_eq!(status, StatusCode::OK, "{told}");
    assert!(told.contains("\"paused\":false"), "{told}");
    become_true("the blob goes", async || {
        stores::count(&registry.config, "SELECT count(*) FROM blobs").await == 0
    })
    .await;
}

#[tokio::test]
async fn the_state_of_collection_is_for_those_with_a_token() {
    let registry = TestRegistry::start().await;

    let stranger = reqwest::get(registry.admin_url("/management/v1/gc")).await.unwrap();
    assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED);

    let (status, told) = ask(&registry, Method::POST, "gc/pause", json!({"who": 1})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{told}");
    let (status, told) = ask(&registry, Method::GET, "gc", Value::Null).await;
    assert_eq!(status, StatusCode::OK);
    let told: Value = serde_json::from_str(&told).unwrap();
    let kinds: Vec<&str> = told["queues"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|queue| queue["kind"].as_str())
        .collect();
    assert_eq!(kinds, ["manifest", "blob_link", "blob", "object"]);
}

/// Every file below a folder, with its content.
fn snapshot(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(snapshot(&path));
        } else {
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    found
}

fn gc(config: &Config, data: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = program(data, &[&["gc"], arguments].concat());
    command.envs(HASTY).env("BERTH_HTTP_SECRET", "a secret of this test");
    if let berth_registry::config::Database::Postgres { url, .. } = &config.database {
        command.env("BERTH_DATABASE_URL", url);
    }
    let done = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (done.status.code(), text(done.stdout), text(done.stderr))
}

#[tokio::test]
async fn a_dry_run_tells_what_would_go_and_why_and_changes_no_byte() {
    let registry = TestRegistry::start_with(&[("BERTH_GC_ENABLED", "false"), stores::ALL_IN_THE_STORE]).await;
    let Storage::Filesystem { root } = registry.config.storage.clone() else {
        // The command is the same; bytes can be compared in a folder alone.
        return;
    };
    let manifest = registry.push_image(REPOSITORY, "v1", b"layer").await;
    registry.push_image(REPOSITORY, "v2", b"other layer").await;
    registry.delete(&format!("/v2/{REPOSITORY}/manifests/v1")).await;
    stores::execute(
        &registry.config,
        "UPDATE reviews SET due_at = 1; UPDATE manifests SET pushed_at = 1; DELETE FROM blob_leases",
    )
    .await;
    let config = registry.config.clone();
    let folder = registry.stop_and_keep().await;
    let data = folder.path().to_path_buf();
    let before = snapshot(&data);

    let (code, told, errors) = gc(&config, &data, &["--dry-run", "--output", "json"]);

    assert_eq!(code, Some(0), "{errors}");
    let after = snapshot(&data);
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    assert!(after == before, "a byte of a file changed");
    let lines: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_kind = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).collect::<Vec<_>>();
    assert_eq!(of_kind("manifest").len(), 1, "{told}");
    assert_eq!(of_kind("manifest")[0]["digest"], manifest.to_string());
    assert_eq!(of_kind("manifest")[0]["repository"], REPOSITORY);
    assert_eq!(of_kind("manifest")[0]["reason"], "tag_delete");
    // The config is shared with the other image.
    assert_eq!(of_kind("blob").len(), 1);
    assert_eq!(of_kind("blob")[0]["digest"], sha256(b"layer").to_string());
    let summary = lines.last().unwrap();
    assert_eq!(
        (&summary["event"], &summary["blob_bytes"]),
        (&json!("summary"), &json!(5))
    );
    assert!(root.join("blobs").is_dir());

    let (code, told, errors) = gc(&config, &data, &["--once"]);

    assert_eq!(code, Some(0), "{errors}");
    assert!(
        told.contains("1 manifests, 1 links of blobs, 1 blobs of 5 bytes"),
        "{told}"
    );
    assert!(told.contains("deleted    1 objects of 5 bytes; 0 errors"), "{told}");
}

#[tokio::test]
async fn a_server_that_has_the_database_to_itself_collects_when_the_command_asks_it() {
    let folder = tempfile::tempdir().unwrap();
    let variables = stores::environment(folder.path()).await;
    if variables.iter().any(|(name, _)| name == "BERTH_DATABASE_URL") {
        // PostgreSQL lets both in.
        return;
    }
    let admin = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let mut command = program(folder.path(), &["serve"]);
    command
        .envs(variables.clone())
        .envs(HASTY)
        .env("BERTH_ADMIN_LISTEN", &admin);
    let mut server = Serve::start(command.env("BERTH_GC_ENABLED", "false"));
    let client = address(&server.says("serving"));
    let digest = sha256(b"unused");
    let url = format!("http://{client}/v2/{REPOSITORY}/blobs/uploads/?digest={digest}");
    let pushed = reqwest::Client::new().post(url).body("unused").send().await.unwrap();
    assert_eq!(pushed.status(), StatusCode::CREATED);
    let run = |arguments: &[&str], secret: &str| {
        let mut command = program(folder.path(), arguments);
        command
            .envs(variables.clone())
            .envs(HASTY)
            .env("BERTH_ADMIN_LISTEN", &admin);
        let done = command.env("BERTH_HTTP_SECRET", secret).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (done.status.code(), text(done.stdout), text(done.stderr))
    };

    let (code, _, told) = run(&["gc", "--once"], "");
    assert_eq!(code, Some(1));
    assert!(
        told.contains("one process at a time") && told.contains("http.secret"),
        "{told}"
    );
    let (code, _, told) = run(&["gc"], "a secret of this test");
    assert_eq!(code, Some(1));
    assert!(told.contains("use --once"), "{told}");

    // The promise to the one who uploaded it must end first.
    become_true("the server collects the blob", async || {
        let (code, told, errors) = run(&["gc", "--once"], "a secret of this test");
        assert_eq!(code, Some(0), "{errors}");
        told.contains("1 blobs of 6 bytes")
    })
    .await;
}
