//! Uploads that several requests began, on an object store: what one of them left behind is never what a blob is made of.
#![expect(clippy::unwrap_used, reason = "a test's tool stops where it fails")]

use crate::support::content::{bytes, sha256};
use crate::support::proxy::{Call, Fault, registry_behind_a_proxy};
use crate::support::serve::LIMIT;
use crate::support::{TestRegistry, stores};
use reqwest::{Method, Response, StatusCode};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

const REPOSITORY: &str = "team/app";
const MIB: usize = 1024 * 1024;
/// More often than any request is repeated.
const ALWAYS: usize = 1000;
/// Blobs whose bytes will be deleted.
const DOOMED: &str = "SELECT count(*) FROM blobs b JOIN tombstones t ON t.object_key = b.object_key";

async fn send(registry: &TestRegistry, method: Method, path: &str, body: &[u8]) -> Response {
    registry.request(method, path).body(body.to_vec()).send().await.unwrap()
}

async fn push(registry: &TestRegistry, upload: &str, digest_of: &[u8], body: &[u8]) -> StatusCode {
    let path = format!("{upload}?digest={}", sha256(digest_of));
    send(registry, Method::PUT, &path, body).await.status()
}

async fn becomes(registry: &TestRegistry, wanted: i64, sql: &'static str) {
    let waiting = async {
        while stores::count(&registry.config, sql).await != wanted {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, waiting).await.unwrap();
}

async fn is_there(registry: &TestRegistry, content: &[u8]) {
    let answer = registry
        .get(&format!("/v2/{REPOSITORY}/blobs/{}", sha256(content)))
        .await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.bytes().await.unwrap() == content);
    assert_eq!(stores::count(&registry.config, DOOMED).await, 0);
}

/// Announces 20 MB, sends more than a part, and is gone as soon as the database says so.
async fn cut_off_in_the_second_part(registry: &TestRegistry, upload: &str, begun: &'static str) {
    let mut cut = TcpStream::connect(registry.server().http).await.unwrap();
    let head = format!("PATCH {upload} HTTP/1.1\r\nhost: h\r\ncontent-length: 20000000\r\n\r\n");
    cut.write_all(head.as_bytes()).await.unwrap();
    cut.write_all(&bytes(9, 9 * MIB)).await.unwrap();
    becomes(registry, 1, begun).await;
    drop(cut);
    becomes(
        registry,
        0,
        "SELECT count(*) FROM upload_sessions WHERE claim IS NOT NULL",
    )
    .await;
}

/// An upload of 5 MiB that two requests went on with and were cut off, so that it got another key.
async fn moved(registry: &TestRegistry, content: &[u8]) -> String {
    let upload = registry.open_upload(REPOSITORY).await;
    let stored = send(registry, Method::PATCH, &upload, content).await;
    assert_eq!(stored.status(), StatusCode::ACCEPTED);
    let begun = "SELECT count(*) FROM upload_sessions WHERE multipart_id IS NOT NULL";
    cut_off_in_the_second_part(registry, &upload, begun).await;
    let moved = "SELECT count(*) FROM upload_sessions WHERE object_key LIKE '%-3'";
    cut_off_in_the_second_part(registry, &upload, moved).await;
    upload
}

#[tokio::test]
async fn stored_bytes_stay_when_the_upload_gets_another_key() {
    let registry = TestRegistry::start_on_a_bucket(&[]).await;
    let content = bytes(1, 5 * MIB);

    let upload = moved(&registry, &content).await;

    let doomed = "SELECT count(*) FROM upload_sessions s JOIN tombstones t ON t.object_key = s.tail_key";
    assert_eq!(stores::count(&registry.config, doomed).await, 0);
    assert_eq!(push(&registry, &upload, &content, b"").await, StatusCode::CREATED);
    is_there(&registry, &content).await;
}

#[tokio::test]
async fn stored_bytes_go_with_an_upload_that_got_another_key() {
    let registry = TestRegistry::start_on_a_bucket(&[]).await;
    let upload = moved(&registry, &bytes(1, 5 * MIB)).await;

    let cancelled = registry.delete(&upload).await;

    assert_eq!(cancelled.status(), StatusCode::NO_CONTENT);
    let buried = "SELECT count(*) FROM upload_sessions s JOIN tombstones t ON t.object_key = s.tail_key";
    assert_eq!(stores::count(&registry.config, buried).await, 1);
    let aborted = "SELECT count(*) FROM tombstones WHERE multipart_id IS NOT NULL";
    assert_eq!(stores::count(&registry.config, aborted).await, 2);
}

#[tokio::test]
async fn what_an_earlier_request_completed_is_not_taken_from_a_key_that_was_left() {
    let (registry, proxy) = registry_behind_a_proxy().await;
    let content = bytes(2, 19 * MIB);
    let upload = registry.open_upload(REPOSITORY).await;
    proxy.plan(Call::Complete, Fault::ReplyHeld, 1);
    tokio::select! {
        status = push(&registry, &upload, &content, &content) => panic!("answered with {status}"),
        () = proxy.holds_a_reply() => {}
    }
    proxy.plan(Call::Complete, Fault::Unavailable, ALWAYS);

    let refused = push(&registry, &upload, &content, &content).await;

    assert_eq!(refused, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(stores::count(&registry.config, "SELECT count(*) FROM blobs").await, 0);
    proxy.mend();
    assert_eq!(push(&registry, &upload, &content, &content).await, StatusCode::CREATED);
    is_there(&registry, &content).await;
}

/// Bury the tail of the only upload behind the server's back.
async fn with_its_tail_buried(bury: &'static str) -> (TestRegistry, StatusCode) {
    // A collector would take the tombstone for its own.
    let registry = TestRegistry::start_on_a_bucket(&[("BERTH_GC_ENABLED", "false")]).await;
    let content = bytes(3, MIB);
    let upload = registry.open_upload(REPOSITORY).await;
    let stored = send(&registry, Method::PATCH, &upload, &content).await;
    assert_eq!(stored.status(), StatusCode::ACCEPTED);
    stores::execute(&registry.config, bury).await;
    let status = push(&registry, &upload, &content, b"").await;
    (registry, status)
}

#[tokio::test]
async fn a_blob_takes_the_tombstone_of_its_object_away() {
    let (registry, status) = with_its_tail_buried(
        "INSERT INTO tombstones SELECT tail_key, NULL, NULL, 0, 'x', 0, 9000000000000000, 0 FROM upload_sessions",
    )
    .await;

    assert_eq!(status, StatusCode::CREATED);
    is_there(&registry, &bytes(3, MIB)).await;
}

#[tokio::test]
async fn an_object_that_may_be_deleted_already_becomes_no_blob() {
    let (registry, status) = with_its_tail_buried(
        "INSERT INTO tombstones SELECT tail_key, NULL, NULL, 0, 'x', 0, 1, 0 FROM upload_sessions",
    )
    .await;

    assert_eq!(status, StatusCode::NOT_FOUND, "the client starts again");
    assert_eq!(stores::count(&registry.config, "SELECT count(*) FROM blobs").await, 0);
    let open = "SELECT count(*) FROM upload_sessions WHERE state = 0";
    assert_eq!(stores::count(&registry.config, open).await, 0);
}
