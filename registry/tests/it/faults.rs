//! A store that goes wrong: what was acknowledged is there, what is there is right, and a client may always try again.
//!
//! Each is tried for a blob of one request, of several parts, and for the bytes between two requests. On our own GCS where
//! the environment names no bucket.

use crate::support::content::{bytes, image, sha256};
use crate::support::proxy::{Call, Fault, Proxy, registry_behind_a_proxy};
use crate::support::{TestRegistry, header};
use oci::{Digest, media_type};
use reqwest::{Method, Response, StatusCode};

const REPOSITORY: &str = "team/app";
const SMALL: usize = 100_000;
const LARGE: usize = 19 * 1024 * 1024;
/// The calls that store something, each with the size of a blob that needs it.
const STORING: [(Call, usize); 3] = [(Call::Put, SMALL), (Call::Part, LARGE), (Call::Complete, LARGE)];
/// More often than any request is repeated.
const ALWAYS: usize = 1000;

async fn push(registry: &TestRegistry, upload: &str, content: &[u8]) -> Response {
    let path = format!("{upload}?digest={}", sha256(content));
    let request = registry.request(Method::PUT, &path).body(content.to_vec());
    request.send().await.unwrap()
}

async fn get(registry: &TestRegistry, digest: &Digest) -> Response {
    registry.get(&format!("/v2/{REPOSITORY}/blobs/{digest}")).await
}

async fn is_there(registry: &TestRegistry, content: &[u8]) {
    let answer = get(registry, &sha256(content)).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.bytes().await.unwrap() == content);
}

/// A push meets a fault once or twice, and succeeds all the same.
async fn succeeds_in_spite_of(fault: Fault, times: usize) {
    let (registry, proxy) = registry_behind_a_proxy().await;
    for (seed, (call, size)) in (0..).zip(STORING) {
        let content = bytes(seed, size);
        let upload = registry.open_upload(REPOSITORY).await;
        proxy.plan(call, fault, times);

        let answer = push(&registry, &upload, &content).await;

        assert_eq!(answer.status(), StatusCode::CREATED, "{call:?} {fault:?}");
        proxy.all_went_wrong();
        is_there(&registry, &content).await;
    }
}

/// A push meets a fault that does not end: 503, nothing there; when it has ended the same session goes on.
async fn fails_and_goes_on_after(fault: Fault, calls: &[(Call, usize)]) {
    let (registry, proxy) = registry_behind_a_proxy().await;
    for (seed, &(call, size)) in (0..).zip(calls) {
        let content = bytes(seed, size);
        let upload = registry.open_upload(REPOSITORY).await;
        proxy.plan(call, fault, ALWAYS);

        let refused = push(&registry, &upload, &content).await;

        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE, "{call:?} {fault:?}");
        assert!(!header(&refused, "retry-after").is_empty());
        let missing = registry
            .head(&format!("/v2/{REPOSITORY}/blobs/{}", sha256(&content)))
            .await;
        assert_eq!(missing.status(), StatusCode::NOT_FOUND);
        proxy.mend();
        let again = push(&registry, &upload, &content).await;
        assert_eq!(again.status(), StatusCode::CREATED, "{call:?} {fault:?}");
        is_there(&registry, &content).await;
    }
}

#[tokio::test]
async fn a_store_that_is_busy_for_a_moment_is_asked_again() {
    succeeds_in_spite_of(Fault::Unavailable, 2).await;
}

#[tokio::test]
async fn a_reply_that_is_lost_after_the_store_obeyed_does_no_harm() {
    succeeds_in_spite_of(Fault::ReplyLost, 1).await;
}

#[tokio::test]
async fn a_store_that_stays_busy_is_503_and_the_session_goes_on_afterwards() {
    fails_and_goes_on_after(Fault::Unavailable, &STORING).await;
}

#[tokio::test]
async fn an_error_that_comes_with_200_is_an_error() {
    // What answers a part or a small object is not looked into by anybody; that the object is not there is.
    fails_and_goes_on_after(Fault::ErrorInSuccess, &STORING).await;
}

#[tokio::test]
async fn a_store_that_only_says_it_stored_something_never_makes_a_blob() {
    fails_and_goes_on_after(Fault::OnlySaidDone, &STORING).await;
}

#[tokio::test]
async fn a_body_that_loses_bytes_on_its_way_never_makes_a_blob() {
    fails_and_goes_on_after(Fault::BodyCut, &STORING[..2]).await;
}

#[tokio::test]
async fn bytes_between_two_requests_are_there_or_are_not_acknowledged() {
    let (registry, proxy) = registry_behind_a_proxy().await;
    let content = bytes(1, SMALL);
    for fault in [Fault::OnlySaidDone, Fault::BodyCut, Fault::Unavailable] {
        let upload = registry.open_upload(REPOSITORY).await;
        proxy.plan(Call::Put, fault, ALWAYS);
        let chunk = registry.request(Method::PATCH, &upload).body(content.clone());

        let refused = chunk.send().await.unwrap();

        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE, "{fault:?}");
        proxy.mend();
        let chunk = registry.request(Method::PATCH, &upload).body(content.clone());
        assert_eq!(chunk.send().await.unwrap().status(), StatusCode::ACCEPTED);
        assert_eq!(
            push(&registry, &upload, b"").await.status(),
            StatusCode::BAD_REQUEST,
            "not these bytes"
        );
    }
}

#[tokio::test]
async fn a_read_that_is_cut_off_goes_on_or_fails_and_never_ends_early() {
    let (registry, proxy) = registry_behind_a_proxy().await;
    let content = bytes(2, 3_000_000);
    let digest = registry.push_blob(REPOSITORY, &content).await;
    for times in [1, ALWAYS] {
        proxy.plan(Call::Read, Fault::AnswerCut, times);

        let answer = get(&registry, &digest).await;

        let (status, whole) = (answer.status(), answer.bytes().await);
        let failed = status == StatusCode::SERVICE_UNAVAILABLE || whole.is_err();
        assert!(failed || whole.unwrap() == content, "{status}, cut {times} times");
        proxy.mend();
    }
    is_there(&registry, &content).await;
}

#[tokio::test]
async fn while_the_store_is_away_manifests_are_served_and_blobs_are_503() {
    let (registry, proxy): (TestRegistry, Proxy) = registry_behind_a_proxy().await;
    let layer = registry.push_blob(REPOSITORY, b"layer").await;
    let manifest = image(&registry.push_blob(REPOSITORY, b"{}").await, &[layer]);
    registry
        .put_manifest(REPOSITORY, "v1", media_type::OCI_MANIFEST, &manifest)
        .await;
    for call in [Call::Put, Call::Read, Call::Head, Call::List, Call::Other] {
        proxy.plan(call, Fault::Unavailable, ALWAYS);
    }

    let tag = registry.get(&format!("/v2/{REPOSITORY}/manifests/v1")).await;
    let blob = get(&registry, &layer).await;

    assert_eq!(tag.status(), StatusCode::OK);
    assert_eq!(tag.text().await.unwrap(), manifest);
    assert_eq!(blob.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(!header(&blob, "retry-after").is_empty());
}
