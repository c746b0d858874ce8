//! Pulling blobs: end-2.

use crate::support::content::{bytes, sha256};
use crate::support::{TestRegistry, error_code, header};
use reqwest::{Method, StatusCode};

const REPOSITORY: &str = "team/app";

#[tokio::test]
async fn head_says_what_get_would_give() {
    let registry = TestRegistry::start().await;
    let digest = registry.push_blob(REPOSITORY, b"0123456789").await;

    let answer = registry.head(&format!("/v2/{REPOSITORY}/blobs/{digest}")).await;

    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(header(&answer, "content-length"), "10");
    assert_eq!(header(&answer, "content-type"), "application/octet-stream");
    assert_eq!(header(&answer, "docker-content-digest"), digest.to_string());
    assert_eq!(header(&answer, "etag"), format!("\"{digest}\""));
    assert_eq!(header(&answer, "accept-ranges"), "bytes");
    assert_eq!(header(&answer, "docker-distribution-api-version"), "registry/2.0");
}

#[tokio::test]
async fn a_range_gives_exactly_its_bytes() {
    let registry = TestRegistry::start().await;
    let blob = bytes(5, 3_000_000);
    let digest = registry.push_blob(REPOSITORY, &blob).await;
    let path = format!("/v2/{REPOSITORY}/blobs/{digest}");
    let size = blob.len();
    let table = [
        ("bytes=0-0", 0, 1),
        ("bytes=262143-262144", 262_143, 262_145),
        ("bytes=1000000-", 1_000_000, size),
        ("bytes=-7", size - 7, size),
        ("bytes=2999999-9999999", 2_999_999, size),
    ];

    for (range, start, end) in table {
        let answer = registry
            .request(Method::GET, &path)
            .header("range", range)
            .send()
            .await
            .unwrap();

        assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT, "{range}");
        assert_eq!(
            header(&answer, "content-range"),
            format!("bytes {start}-{}/{size}", end - 1)
        );
        assert!(answer.bytes().await.unwrap() == blob[start..end], "{range}");
    }
}

#[tokio::test]
async fn a_range_that_the_blob_does_not_have_is_refused_with_its_size() {
    let registry = TestRegistry::start().await;
    let digest = registry.push_blob(REPOSITORY, b"0123456789").await;
    let path = format!("/v2/{REPOSITORY}/blobs/{digest}");

    for range in ["bytes=10-", "bytes=5-4", "bytes=-0", "bytes=x"] {
        let answer = registry
            .request(Method::GET, &path)
            .header("range", range)
            .send()
            .await
            .unwrap();

        assert_eq!(answer.status(), StatusCode::RANGE_NOT_SATISFIABLE, "{range}");
        assert_eq!(header(&answer, "content-range"), "bytes */10");
    }
}

#[tokio::test]
async fn a_copy_that_the_client_has_is_not_sent_again() {
    let registry = TestRegistry::start().await;
    let digest = registry.push_blob(REPOSITORY, b"0123456789").await;
    let path = format!("/v2/{REPOSITORY}/blobs/{digest}");

    let fresh = registry
        .request(Method::GET, &path)
        .header("if-none-match", format!("\"{digest}\""));
    assert_eq!(fresh.send().await.unwrap().status(), StatusCode::NOT_MODIFIED);

    let stale = registry
        .request(Method::GET, &path)
        .header("range", "bytes=0-1")
        .header("if-range", "\"other\"");
    assert_eq!(stale.send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_blob_of_another_repository_is_unknown_here() {
    let registry = TestRegistry::start().await;
    let digest = registry.push_blob("other/app", b"theirs").await;
    registry.push_blob(REPOSITORY, b"ours").await;

    let unknown_blob = registry.get(&format!("/v2/{REPOSITORY}/blobs/{digest}")).await;
    assert_eq!(unknown_blob.status(), StatusCode::NOT_FOUND);
    assert_eq!(error_code(unknown_blob).await, "BLOB_UNKNOWN");

    let unknown_name = registry.get(&format!("/v2/nobody/blobs/{digest}")).await;
    assert_eq!(error_code(unknown_name).await, "NAME_UNKNOWN");
}

#[tokio::test]
async fn what_breaks_the_grammar_is_a_bad_request() {
    let registry = TestRegistry::start().await;
    let digest = sha256(b"x").to_string();
    let table = [
        ("/v2/UPPER/tags/list".to_owned(), "NAME_INVALID"),
        (format!("/v2/{REPOSITORY}/blobs/sha256:abc"), "DIGEST_INVALID"),
        (
            format!("/v2/{REPOSITORY}/blobs/{}", digest.to_uppercase()),
            "DIGEST_INVALID",
        ),
        (format!("/v2/{REPOSITORY}/tags/list?n=-1"), "PAGINATION_NUMBER_INVALID"),
    ];

    for (path, code) in table {
        let answer = registry.get(&path).await;

        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{path}");
        assert_eq!(error_code(answer).await, code, "{path}");
    }
}

#[tokio::test]
async fn what_cannot_be_a_tag_is_not_there() {
    let registry = TestRegistry::start().await;

    let answer = registry.get(&format!("/v2/{REPOSITORY}/manifests/-no-tag")).await;

    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    assert_eq!(error_code(answer).await, "MANIFEST_UNKNOWN");
}

#[tokio::test]
async fn an_escaped_colon_in_a_digest_is_a_colon() {
    let registry = TestRegistry::start().await;
    let digest = registry
        .push_blob(REPOSITORY, b"x")
        .await
        .to_string()
        .replace(':', "%3A");

    assert_eq!(
        registry
            .head(&format!("/v2/{REPOSITORY}/blobs/{digest}"))
            .await
            .status(),
        StatusCode::OK
    );
}
