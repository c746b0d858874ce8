//! Damaged blobs as clients and operators meet them: errors that tell the truth, a push that heals, a scrub beside servers.

use crate::support::content::{bytes, image, sha256};
use crate::support::objects::Objects;
use crate::support::serve::{Serve, program};
use crate::support::stores::{count, execute};
use crate::support::{TestRegistry, error_code};
use berth_registry::config::{Config, Database, Storage};
use berth_registry::server::scrub::{Event, Report, Scrub, Verify, scrub};
use oci::{Digest, media_type};
use reqwest::{Method, StatusCode};
use std::net::TcpListener;
use std::process::Output;
use std::time::Duration;
use tokio::sync::mpsc::channel;

const REPOSITORY: &str = "team/app";
const CORRUPT: &str = "SELECT count(*) FROM blobs WHERE corrupt_at IS NOT NULL";

/// The settings of a command beside this server.
fn beside(registry: &TestRegistry) -> Config {
    let mut config = registry.config.clone();
    config.admin.listen = registry.server().admin;
    config
}

/// What has just come is not judged.
async fn grow_older(registry: &TestRegistry) {
    execute(&registry.config, "UPDATE blobs SET created_at = 1").await;
}

async fn scrubbed(config: &Config) -> anyhow::Result<(Report, Vec<Event>)> {
    let (sender, mut receiver) = channel(1000);
    let thorough = Scrub {
        verify: Some(Verify::default()),
        ..Scrub::default()
    };
    let report = scrub(config, &thorough, &sender).await?;
    drop(sender);
    let mut events = Vec::new();
    while let Some(event) = receiver.recv().await {
        events.push(event);
    }
    Ok((report, events))
}

fn blob(digest: &Digest) -> String {
    format!("/v2/{REPOSITORY}/blobs/{digest}")
}

#[tokio::test]
async fn a_corrupt_blob_is_an_error_to_pulls_not_there_to_pushes_and_healed_by_one() {
    let registry = TestRegistry::start_with_objects().await;
    let objects = Objects::open(&registry.config).await;
    let config = registry.push_blob(REPOSITORY, b"{}").await;
    let layer = registry.push_blob(REPOSITORY, b"layer").await;
    objects.overwrite(&layer, b"lay3r").await;
    grow_older(&registry).await;
    let (report, _) = scrubbed(&beside(&registry)).await.unwrap();
    assert_eq!((report.corrupt, report.marked), (1, 1));

    let pulled = registry.get(&blob(&layer)).await;
    assert_eq!(pulled.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let told = pulled.text().await.unwrap();
    assert!(told.contains("lost or damaged") && told.contains("push"), "{told}");
    assert_eq!(registry.head(&blob(&layer)).await.status(), StatusCode::NOT_FOUND);
    let manifest = image(&config, &[layer]);
    let refused = registry
        .put_manifest(REPOSITORY, "v1", media_type::OCI_MANIFEST, &manifest)
        .await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    assert_eq!(error_code(refused).await, "MANIFEST_BLOB_UNKNOWN");

    registry.push_blob(REPOSITORY, b"layer").await;

    let pulled = registry.get(&blob(&layer)).await;
    assert_eq!(pulled.status(), StatusCode::OK);
    assert_eq!(pulled.bytes().await.unwrap(), "layer");
    assert_eq!(registry.head(&blob(&layer)).await.status(), StatusCode::OK);
    let taken = registry
        .put_manifest(REPOSITORY, "v1", media_type::OCI_MANIFEST, &manifest)
        .await;
    assert_eq!(taken.status(), StatusCode::CREATED);
    assert!(scrubbed(&beside(&registry)).await.unwrap().0.is_clean());
}

#[tokio::test]
async fn objects_deleted_behind_our_back_are_listed_with_their_images() {
    let registry = TestRegistry::start_with_objects().await;
    let objects = Objects::open(&registry.config).await;
    let manifest = registry.push_image(REPOSITORY, "v1", b"layer").await;
    registry.push_blob(REPOSITORY, b"sound").await;
    objects.delete(&sha256(b"layer")).await;
    grow_older(&registry).await;

    let (report, events) = scrubbed(&beside(&registry)).await.unwrap();

    assert_eq!(report.missing, 1);
    let Some(Event::Missing(missing)) = events.first() else {
        panic!("{events:?}");
    };
    assert_eq!(missing.digest, sha256(b"layer").to_string());
    let image = &missing.images[0];
    assert_eq!(
        (image.repository.as_str(), image.tag.as_deref()),
        (REPOSITORY, Some("v1"))
    );
    assert_eq!(image.manifest, Some(manifest.to_string()));
}

#[tokio::test]
async fn a_server_that_finds_an_object_gone_marks_the_blob() {
    let registry = TestRegistry::start_with_objects().await;
    let objects = Objects::open(&registry.config).await;
    let digest = registry.push_blob(REPOSITORY, b"content").await;
    objects.delete(&digest).await;
    grow_older(&registry).await;

    let first = registry.get(&blob(&digest)).await;

    assert_eq!(first.status(), StatusCode::SERVICE_UNAVAILABLE);
    is_marked(&registry).await;
    assert_eq!(
        registry.get(&blob(&digest)).await.status(),
        StatusCode::INTERNAL_SERVER_ERROR
    );
    registry.push_blob(REPOSITORY, b"content").await;
    assert_eq!(registry.get(&blob(&digest)).await.status(), StatusCode::OK);
    let metrics = registry
        .client
        .get(registry.admin_url("/metrics"))
        .send()
        .await
        .unwrap();
    let metrics = metrics.text().await.unwrap();
    for line in [
        "berth_registry_blobs_marked_total 1",
        "berth_registry_blobs_healed_total 1",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
}

#[tokio::test]
async fn a_small_blob_with_other_bytes_is_never_served_and_is_marked() {
    let registry = TestRegistry::start_with_objects().await;
    let objects = Objects::open(&registry.config).await;
    let digest = registry.push_blob(REPOSITORY, b"content").await;
    objects.overwrite(&digest, b"c0ntent").await;
    grow_older(&registry).await;

    let first = registry.get(&blob(&digest)).await;

    assert_eq!(first.status(), StatusCode::SERVICE_UNAVAILABLE);
    is_marked(&registry).await;
}

/// Pushes a large blob, and flips a bit of it in the store.
async fn push_and_flip(registry: &TestRegistry, objects: &Objects, seed: u64) -> (Vec<u8>, Digest) {
    let content = bytes(seed, 3_000_000);
    let digest = registry.push_blob(REPOSITORY, &content).await;
    let mut flipped = content.clone();
    flipped[1_500_000] ^= 1;
    objects.overwrite(&digest, &flipped).await;
    grow_older(registry).await;
    (content, digest)
}

#[tokio::test]
async fn a_large_blob_with_one_wrong_bit_never_comes_whole_is_marked_and_healed_by_a_push() {
    let registry = TestRegistry::start_with_objects().await;
    let objects = Objects::open(&registry.config).await;
    let (content, digest) = push_and_flip(&registry, &objects, 1).await;

    let pulled = registry.get(&blob(&digest)).await;

    assert_eq!(pulled.content_length(), Some(3_000_000));
    assert!(
        pulled.bytes().await.is_err(),
        "the connection breaks before the last byte"
    );
    is_marked(&registry).await;
    assert_eq!(
        registry.get(&blob(&digest)).await.status(),
        StatusCode::INTERNAL_SERVER_ERROR
    );
    registry.push_blob(REPOSITORY, &content).await;
    for _ in 0..2 {
        let pulled = registry.get(&blob(&digest)).await;
        assert!(pulled.bytes().await.unwrap() == content);
    }
}

#[tokio::test]
async fn a_range_that_is_all_of_a_damaged_blob_never_comes_whole_either() {
    let registry = TestRegistry::start_with_objects().await;
    let objects = Objects::open(&registry.config).await;
    let (_, digest) = push_and_flip(&registry, &objects, 2).await;

    let everything = registry
        .request(Method::GET, &blob(&digest))
        .header("range", "bytes=0-");
    let pulled = everything.send().await.unwrap();

    assert_eq!(pulled.status(), StatusCode::PARTIAL_CONTENT);
    assert!(pulled.bytes().await.is_err());
}

async fn is_marked(registry: &TestRegistry) {
    let marked = async {
        while count(&registry.config, CORRUPT).await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), marked).await.unwrap();
}

#[tokio::test]
async fn a_server_with_an_sqlite_file_is_asked_and_asks_for_the_secret() {
    let registry = TestRegistry::start_with_objects().await;
    registry.push_blob(REPOSITORY, b"content").await;
    if !registry.database_is_local() {
        // Everybody may use PostgreSQL: nobody is asked.
        assert!(scrubbed(&registry.config).await.unwrap().0.is_clean());
        return;
    }
    let mut config = beside(&registry);
    assert!(scrubbed(&config).await.unwrap().0.is_clean());

    config.http.secret = Some("another".to_owned());
    let wrong = scrubbed(&config).await.unwrap_err();
    config.http.secret = None;
    let without = scrubbed(&config).await.unwrap_err();

    assert!(format!("{wrong:#}").contains("http.secret is another one"), "{wrong:#}");
    assert!(format!("{without:#}").contains("stop it, or give"), "{without:#}");
    let anonymous = registry.client.post(registry.admin_url("/management/v1/scrub"));
    let anonymous = anonymous.body("{}").send().await.unwrap();
    assert_eq!(anonymous.status(), StatusCode::UNAUTHORIZED);
}

fn said(output: &Output) -> String {
    let told = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&told).into_owned()
}

#[tokio::test]
async fn the_command_tells_people_and_programs_and_its_exit_code_says_whether_anything_is_wrong() {
    let registry = TestRegistry::start_with_objects().await;
    let objects = Objects::open(&registry.config).await;
    for content in [&b"one"[..], b"two", b"three"] {
        registry.push_blob(REPOSITORY, content).await;
    }
    let config = registry.config.clone();
    let (Database::Sqlite { path }, Storage::Filesystem { .. }) = (&config.database, &config.storage) else {
        // The same command, and the same answers: only the settings would be longer.
        return;
    };
    let data = path.parent().unwrap().to_path_buf();
    let scrub = |arguments: &[&str]| program(&data, &[&["scrub"], arguments].concat()).output().unwrap();

    let held = scrub(&[]);
    assert_eq!(held.status.code(), Some(1), "{}", said(&held));
    assert!(said(&held).contains("a server uses the database"), "{}", said(&held));
    grow_older(&registry).await;
    let folder = registry.stop_and_keep().await;

    let clean = scrub(&["--verify"]);
    assert_eq!(clean.status.code(), Some(0), "{}", said(&clean));
    assert!(said(&clean).contains("blobs      3: 0 missing"), "{}", said(&clean));
    objects.delete(&sha256(b"two")).await;
    objects.metadata.close().await;
    let wrong = scrub(&[]);
    assert_eq!(wrong.status.code(), Some(1), "{}", said(&wrong));
    assert!(
        said(&wrong).contains(&format!("missing    {}", sha256(b"two"))),
        "{}",
        said(&wrong)
    );
    let json = scrub(&["--output", "json"]);
    let lines = String::from_utf8(json.stdout).unwrap();
    let events: Vec<Event> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(
        matches!(&events[..], [Event::Missing(_), Event::Summary(report)] if report.missing == 1),
        "{events:?}"
    );
    for (arguments, words) in [
        (&["--delete-unknown", "--older-than", "1h"][..], "at least 1d"),
        (&["--rate", "1MiB"], "--verify"),
    ] {
        let misused = scrub(arguments);
        assert_eq!(misused.status.code(), Some(2));
        assert!(said(&misused).contains(words), "{}", said(&misused));
    }
    drop(folder);
}

#[test]
fn a_scrub_of_what_is_not_there_makes_nothing() {
    let data = tempfile::tempdir().unwrap();

    let output = program(&data.path().join("elsewhere"), &["scrub"]).output().unwrap();

    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("there is no database"), "{}", said(&output));
    assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0);
}

#[test]
fn the_command_asks_the_running_server_for_its_sqlite_file() {
    let data = tempfile::tempdir().unwrap();
    let admin = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let settings = |arguments: &[&str]| {
        let mut command = program(data.path(), arguments);
        command
            .env("BERTH_ADMIN_LISTEN", &admin)
            .env("BERTH_HTTP_SECRET", "shared");
        command
    };
    let mut server = Serve::start(&mut settings(&["serve"]));
    server.says("serving");

    let output = settings(&["scrub", "--verify"]).output().unwrap();

    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains("blobs      0: 0 missing"), "{}", said(&output));
    server.signal("TERM");
    assert_eq!(server.ends().code(), Some(0));
}
