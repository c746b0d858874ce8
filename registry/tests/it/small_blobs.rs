//! Blobs of a few bytes: the database keeps them, and the store never hears of them.
#![expect(clippy::unwrap_used, reason = "a test's tool stops where it fails")]

use crate::gc::world::{HOUR, World, hasty};
use crate::support::content::{bytes, sha256};
use crate::support::{TestRegistry, error_code, header, stores};
use berth_registry::config::Storage;
use berth_registry::distribution::{Limits, Rules};
use futures::future::join_all;
use futures::stream;
use oci::{Algorithm, Digest};
use reqwest::{Body, Method, Response, StatusCode};
use std::path::Path;

const REPOSITORY: &str = "team/app";
/// `storage.inline_size`, as it is when nobody sets it.
const LIMIT: usize = 16 * 1024;
const IN_ROWS: &str = "SELECT count(*) FROM blobs WHERE object_key IS NULL";
const OBJECTS: &str = "SELECT count(*) FROM blobs WHERE content IS NULL";
const TOMBSTONES: &str = "SELECT count(*) FROM tombstones";

fn blob(digest: &Digest) -> String {
    format!("/v2/{REPOSITORY}/blobs/{digest}")
}

async fn send(registry: &TestRegistry, method: Method, path: &str, body: impl Into<Body>) -> Response {
    registry.request(method, path).body(body).send().await.unwrap()
}

async fn patch(registry: &TestRegistry, upload: &str, body: impl Into<Body>) -> Response {
    send(registry, Method::PATCH, upload, body).await
}

async fn finish(registry: &TestRegistry, upload: &str, digest: Digest, body: &[u8]) -> StatusCode {
    let path = format!("{upload}?digest={digest}");
    send(registry, Method::PUT, &path, body.to_vec()).await.status()
}

/// A body whose length nobody announces.
fn streamed(content: &[u8]) -> Body {
    let pieces: Vec<Result<Vec<u8>, std::io::Error>> = content.chunks(3).map(|piece| Ok(piece.to_vec())).collect();
    Body::wrap_stream(stream::iter(pieces))
}

async fn holds(registry: &TestRegistry, content: &[u8]) {
    let answer = registry.get(&blob(&sha256(content))).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.bytes().await.unwrap() == content);
}

async fn count(registry: &TestRegistry, sql: &'static str) -> i64 {
    stores::count(&registry.config, sql).await
}

/// Files of the store, where it is a folder.
fn files(registry: &TestRegistry) -> usize {
    fn below(folder: &Path) -> usize {
        let Ok(entries) = std::fs::read_dir(folder) else {
            return 0;
        };
        let each = entries.map(|entry| entry.unwrap().path());
        each.map(|path| if path.is_dir() { below(&path) } else { 1 }).sum()
    }
    match &registry.config.storage {
        Storage::Filesystem { root } => below(&root.join("blobs")),
        Storage::S3(_) | Storage::Azure(_) | Storage::Gcs(_) => 0,
    }
}

#[tokio::test]
async fn a_small_blob_costs_no_object_however_it_is_pushed() {
    let registry = TestRegistry::start().await;
    let contents: Vec<Vec<u8>> = (0..5).map(|seed| bytes(seed, 1000)).collect();

    registry.push_blob(REPOSITORY, &contents[0]).await;
    let whole = registry.open_upload(REPOSITORY).await;
    let whole = finish(&registry, &whole, sha256(&contents[1]), &contents[1]).await;
    let patched = registry.open_upload(REPOSITORY).await;
    let first = patch(&registry, &patched, contents[2].clone()).await;
    let patched = finish(&registry, &patched, sha256(&contents[2]), b"").await;
    let both = registry.open_upload(REPOSITORY).await;
    patch(&registry, &both, contents[3][..400].to_vec()).await;
    let both = finish(&registry, &both, sha256(&contents[3]), &contents[3][400..]).await;
    let unannounced = registry.open_upload(REPOSITORY).await;
    patch(&registry, &unannounced, streamed(&contents[4])).await;
    let unannounced = finish(&registry, &unannounced, sha256(&contents[4]), b"").await;

    assert_eq!(
        (first.status(), header(&first, "range")),
        (StatusCode::ACCEPTED, "0-999".to_owned())
    );
    assert_eq!([whole, patched, both, unannounced], [StatusCode::CREATED; 4]);
    for content in &contents {
        holds(&registry, content).await;
    }
    assert_eq!(count(&registry, IN_ROWS).await, 5);
    assert_eq!(
        (count(&registry, OBJECTS).await, count(&registry, TOMBSTONES).await),
        (0, 0)
    );
    assert_eq!(files(&registry), 0);
}

#[tokio::test]
async fn the_limit_is_the_last_size_that_is_kept_in_a_row() {
    let registry = TestRegistry::start().await;
    for length in [0, 1, LIMIT - 1, LIMIT] {
        registry.push_blob(REPOSITORY, &bytes(7, length)).await;
        holds(&registry, &bytes(7, length)).await;
    }
    let in_rows = count(&registry, IN_ROWS).await;

    registry.push_blob(REPOSITORY, &bytes(7, LIMIT + 1)).await;
    let upload = registry.open_upload(REPOSITORY).await;
    let longer = bytes(8, LIMIT + 1);
    patch(&registry, &upload, longer[..LIMIT].to_vec()).await;
    let finished = finish(&registry, &upload, sha256(&longer), &longer[LIMIT..]).await;

    assert_eq!((in_rows, count(&registry, IN_ROWS).await), (4, 4));
    assert_eq!(finished, StatusCode::CREATED);
    holds(&registry, &bytes(7, LIMIT + 1)).await;
    holds(&registry, &longer).await;
    assert_eq!(count(&registry, TOMBSTONES).await, 0);
}

#[tokio::test]
async fn an_upload_that_grows_moves_to_the_store_with_what_its_row_has_kept() {
    let registry = TestRegistry::start().await;
    let content = bytes(1, 50_000);
    let upload = registry.open_upload(REPOSITORY).await;

    for range in [0..100, 100..200, 200..49_000] {
        let stored = patch(&registry, &upload, content[range.clone()].to_vec()).await;
        assert_eq!(header(&stored, "range"), format!("0-{}", range.end - 1));
    }
    let registry = registry.restart().await;
    let status = registry.get(&upload).await;

    assert_eq!(header(&status, "range"), "0-48999");
    assert_eq!(
        finish(&registry, &upload, sha256(&content), &content[49_000..]).await,
        StatusCode::CREATED
    );
    holds(&registry, &content).await;
    let kept = "SELECT count(*) FROM upload_sessions WHERE content IS NOT NULL";
    assert_eq!(count(&registry, kept).await, 0);
}

#[tokio::test]
async fn a_small_upload_goes_on_after_a_restart_and_tells_where_it_stands() {
    let registry = TestRegistry::start().await;
    let content = bytes(1, 300);
    let upload = registry.open_upload(REPOSITORY).await;
    let begun = header(&registry.get(&upload).await, "range");
    patch(&registry, &upload, content[..200].to_vec()).await;

    let registry = registry.restart().await;
    let gap = registry
        .request(Method::PATCH, &upload)
        .header("content-range", "250-299")
        .body(content[250..].to_vec())
        .send()
        .await
        .unwrap();
    let refused = registry
        .request(Method::PUT, &format!("{upload}?digest={}", sha256(&content)))
        .header("content-range", "199-298")
        .body(content[200..].to_vec())
        .send()
        .await
        .unwrap();

    assert_eq!(begun, "0-0");
    assert_eq!(
        (gap.status(), header(&gap, "range")),
        (StatusCode::RANGE_NOT_SATISFIABLE, "0-199".to_owned())
    );
    assert_eq!(refused.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(
        finish(&registry, &upload, sha256(&content), &content[200..]).await,
        StatusCode::CREATED
    );
    holds(&registry, &content).await;
    // The client lost the answer, and asks again.
    assert_eq!(
        finish(&registry, &upload, sha256(&content), &content[200..]).await,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn a_wrong_digest_ends_a_small_upload_and_leaves_nothing() {
    let registry = TestRegistry::start().await;
    let upload = registry.open_upload(REPOSITORY).await;
    patch(&registry, &upload, "some").await;

    let path = format!("{upload}?digest={}", sha256(b"others"));
    let wrong = send(&registry, Method::PUT, &path, " more").await;

    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
    assert_eq!(error_code(wrong).await, "DIGEST_INVALID");
    assert_eq!(registry.get(&upload).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(count(&registry, "SELECT count(*) FROM blobs").await, 0);
}

#[tokio::test]
async fn a_cancelled_small_upload_has_no_bytes_left() {
    let registry = TestRegistry::start().await;
    let upload = registry.open_upload(REPOSITORY).await;
    patch(&registry, &upload, "some").await;

    let cancelled = registry.delete(&upload).await;

    assert_eq!(cancelled.status(), StatusCode::NO_CONTENT);
    let kept = "SELECT count(*) FROM upload_sessions WHERE content IS NOT NULL";
    assert_eq!(count(&registry, kept).await, 0);
    assert_eq!(
        finish(&registry, &upload, sha256(b"some"), b"").await,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn a_small_blob_of_another_algorithm_is_compared_by_it() {
    let registry = TestRegistry::start().await;
    let content = bytes(3, 500);
    let digest = Digest::of(Algorithm::Sha512, &content);
    let upload = registry.open_upload(REPOSITORY).await;

    assert_eq!(finish(&registry, &upload, digest, &content).await, StatusCode::CREATED);

    assert!(registry.get(&blob(&digest)).await.bytes().await.unwrap() == content);
    assert_eq!(count(&registry, IN_ROWS).await, 1);
}

#[tokio::test]
async fn many_who_push_the_same_small_blob_share_its_row() {
    let registry = TestRegistry::start().await;
    let content = bytes(5, 800);

    join_all((0..12).map(async |number: usize| {
        let repository = format!("team/{}", number % 3);
        registry.push_blob(&repository, &content).await
    }))
    .await;

    assert_eq!(count(&registry, "SELECT count(*) FROM blobs").await, 1);
    assert_eq!(count(&registry, "SELECT count(*) FROM blob_links").await, 3);
}

#[tokio::test]
async fn parts_of_a_small_blob_are_those_of_any_blob() {
    let registry = TestRegistry::start().await;
    let content = b"0123456789";
    let digest = registry.push_blob(REPOSITORY, content).await;
    let ranged = async |range: &str| {
        let request = registry.request(Method::GET, &blob(&digest)).header("range", range);
        request.send().await.unwrap()
    };

    let middle = ranged("bytes=2-4").await;
    let end = ranged("bytes=-3").await;
    let beyond = ranged("bytes=10-").await;
    let several = ranged("bytes=0-1,8-9").await;
    let head = registry.head(&blob(&digest)).await;

    assert_eq!(header(&middle, "content-range"), "bytes 2-4/10");
    assert_eq!(middle.bytes().await.unwrap(), "234");
    assert_eq!(end.bytes().await.unwrap(), "789");
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    let several = several.text().await.unwrap();
    assert!(
        several.contains("bytes 0-1/10\r\n\r\n01\r\n") && several.contains("bytes 8-9/10\r\n\r\n89\r\n"),
        "{several}"
    );
    assert_eq!(header(&head, "content-length"), "10");
}

#[tokio::test]
async fn a_small_blob_is_served_where_larger_ones_are_redirected() {
    let settings = [
        ("BERTH_STORAGE_REDIRECT_MODE", "always"),
        ("BERTH_STORAGE_INLINE_SIZE", "1KiB"),
    ];
    let registry = TestRegistry::start_on_a_bucket(&settings).await;
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let small = registry.push_blob(REPOSITORY, &bytes(1, 1024)).await;
    let large = registry.push_blob(REPOSITORY, &bytes(1, 1025)).await;
    let asked = async |digest: &Digest| client.get(registry.url(&blob(digest))).send().await.unwrap().status();

    assert_eq!(asked(&small).await, StatusCode::OK);
    assert_eq!(asked(&large).await, StatusCode::TEMPORARY_REDIRECT);
}

/// Gives every blob in a row the bytes of a manifest.
const DAMAGE: &str = "UPDATE blobs SET content = (SELECT payload FROM manifests LIMIT 1) WHERE content IS NOT NULL";
const MARKED: &str = "SELECT count(*) FROM blobs WHERE corrupt_at IS NOT NULL";

#[tokio::test]
async fn damaged_bytes_of_a_row_are_never_served_and_the_next_push_heals_them() {
    let registry = TestRegistry::start().await;
    let layer = bytes(4, 200);
    registry.push_image(REPOSITORY, "v1", &layer).await;
    stores::execute(&registry.config, DAMAGE).await;
    // Nothing that was read before is remembered.
    let registry = registry.restart().await;

    let damaged = registry.get(&blob(&sha256(&layer))).await;
    let (status, code) = (damaged.status(), error_code(damaged).await);
    let config = registry.config.clone();
    let registry = registry.restart().await;
    let marked = stores::count(&config, MARKED).await;
    let to_a_push = registry.head(&blob(&sha256(&layer))).await.status();
    registry.push_blob(REPOSITORY, &layer).await;

    assert_eq!(
        (status, code.as_str()),
        (StatusCode::INTERNAL_SERVER_ERROR, "BLOB_UNKNOWN")
    );
    assert_eq!((marked, to_a_push), (1, StatusCode::NOT_FOUND));
    holds(&registry, &layer).await;
    assert_eq!(
        (count(&registry, MARKED).await, count(&registry, TOMBSTONES).await),
        (0, 0)
    );
}

fn in_rows() -> Limits {
    Limits {
        in_row: LIMIT as u64,
        ..hasty()
    }
}

#[tokio::test]
async fn a_small_blob_goes_with_its_row_and_nothing_is_left_to_reap() {
    let world = World::new(in_rows(), Rules::default()).await;
    let image = world.push_image(REPOSITORY, Some("v1"), "seed").await;
    let kept = world.push_image(REPOSITORY, Some("v2"), "other").await;
    world.delete(REPOSITORY, image.manifest).await;
    world.clock.advance(HOUR);

    let collected = world.collect().await;
    let reaped = world.reap().await;

    assert!(!world.has_blob(REPOSITORY, image.layer).await && !world.has_blob(REPOSITORY, image.config).await);
    assert!(world.has_blob(REPOSITORY, kept.layer).await && world.has_blob(REPOSITORY, kept.config).await);
    assert_eq!(collected.bytes, ("config of seed".len() + "layer of seed".len()) as u64);
    assert_eq!((reaped.claimed, world.count(TOMBSTONES).await), (0, 0));
    assert_eq!(world.count("SELECT count(*) FROM blobs").await, 2);
}

#[tokio::test]
async fn a_small_blob_whose_bytes_were_an_object_stays_one_and_the_other_way_round() {
    let world = World::new(hasty(), Rules::default()).await;
    let object = world.push_image(REPOSITORY, Some("v1"), "object").await;
    let rows = World::replica(&world, in_rows());

    world.push_blob_with(&rows, REPOSITORY, b"layer of object").await;
    let row = world.push_blob_with(&rows, REPOSITORY, b"a row").await;
    world.push_blob(REPOSITORY, b"a row").await;

    assert_eq!(world.count(IN_ROWS).await, 1);
    assert!(world.has_blob(REPOSITORY, object.layer).await && world.has_blob(REPOSITORY, row).await);
    // What the replica that keeps no rows has stored for nothing: in a bucket that may be under either of two keys.
    let keys = if world.store.writes_beside() { 2 } else { 1 };
    assert_eq!(world.count(TOMBSTONES).await, keys);
}
