//! Blobs that clients fetch from the store themselves. On our own GCS where the environment names no bucket.

use crate::support::content::{bytes, image};
use crate::support::{TestRegistry, header};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE;
use hmac::{Hmac, KeyInit, Mac};
use oci::{Digest, media_type};
use reqwest::{Client, Method, Response, StatusCode, redirect};
use sha1::Sha1;
use url::Url;

const REPOSITORY: &str = "team/app";
const ALWAYS: (&str, &str) = ("BERTH_STORAGE_REDIRECT_MODE", "always");
const MATCHING: (&str, &str) = ("BERTH_STORAGE_REDIRECT_MODE", "matching");

/// Asks without following where it is sent.
async fn ask(registry: &TestRegistry, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
    let client = Client::builder().redirect(redirect::Policy::none()).build().unwrap();
    let mut request = client.request(method, registry.url(path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

fn path_of(digest: &Digest) -> String {
    format!("/v2/{REPOSITORY}/blobs/{digest}")
}

async fn location(registry: &TestRegistry, digest: &Digest) -> Url {
    let answer = ask(registry, Method::GET, &path_of(digest), &[]).await;
    assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
    header(&answer, "location").parse().unwrap()
}

#[tokio::test]
async fn a_blob_is_fetched_from_the_store_whole_and_in_part() {
    let registry = TestRegistry::start_on_a_bucket(&[ALWAYS]).await;
    for size in [0, 1, 100_000, 9 * 1024 * 1024] {
        let content = bytes(size as u64, size);
        let digest = registry.push_blob(REPOSITORY, &content).await;

        let sent = ask(&registry, Method::GET, &path_of(&digest), &[("range", "bytes=1-3")]).await;

        assert_eq!(sent.status(), StatusCode::TEMPORARY_REDIRECT);
        assert_eq!(header(&sent, "docker-content-digest"), digest.to_string());
        assert_eq!(header(&sent, "cache-control"), "no-store");
        let url = header(&sent, "location");
        let whole = Client::new().get(&url).send().await.unwrap();
        assert_eq!(whole.status(), StatusCode::OK, "{size} bytes");
        assert!(whole.bytes().await.unwrap() == content, "{size} bytes");
        if size > 3 {
            let part = Client::new()
                .get(&url)
                .header("range", "bytes=1-3")
                .send()
                .await
                .unwrap();
            assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
            assert_eq!(part.bytes().await.unwrap(), content[1..=3]);
        }
    }
}

#[tokio::test]
async fn several_ranges_are_answered_here_because_no_store_does() {
    let registry = TestRegistry::start_on_a_bucket(&[ALWAYS]).await;
    let digest = registry.push_blob(REPOSITORY, &bytes(1, 100_000)).await;

    let several = [("range", "bytes=0-9,50000-50009")];
    let answer = ask(&registry, Method::GET, &path_of(&digest), &several).await;

    assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT);
    assert!(header(&answer, "content-type").starts_with("multipart/byteranges"));
}

#[tokio::test]
async fn what_is_not_a_get_of_a_blob_is_never_redirected() {
    let registry = TestRegistry::start_on_a_bucket(&[ALWAYS]).await;
    let layer = registry.push_blob(REPOSITORY, b"layer").await;
    let manifest = image(&registry.push_blob(REPOSITORY, b"{}").await, &[layer]);
    registry
        .put_manifest(REPOSITORY, "v1", media_type::OCI_MANIFEST, &manifest)
        .await;
    let tag = format!("/v2/{REPOSITORY}/manifests/v1");
    let etag = format!("\"{layer}\"");

    let head = ask(&registry, Method::HEAD, &path_of(&layer), &[]).await;
    let known = ask(&registry, Method::GET, &path_of(&layer), &[("if-none-match", &etag)]).await;

    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(header(&head, "content-length"), "5");
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    for method in [Method::GET, Method::HEAD] {
        assert_eq!(ask(&registry, method, &tag, &[]).await.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_url_that_was_changed_is_refused_by_the_store() {
    let registry = TestRegistry::start_on_a_bucket(&[ALWAYS]).await;
    let (one, other) = (
        registry.push_blob(REPOSITORY, b"one").await,
        registry.push_blob(REPOSITORY, b"other").await,
    );
    let (one, other) = (location(&registry, &one).await, location(&registry, &other).await);
    let mut of_other_object = other.clone();
    of_other_object.set_query(one.query());

    let refused = Client::new().get(of_other_object).send().await.unwrap();

    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let good = Client::new().get(other).send().await.unwrap();
    assert_eq!(good.bytes().await.unwrap(), "other");
}

#[tokio::test]
async fn only_the_clients_that_are_named_are_redirected() {
    let (agents, networks) = ("BERTH_STORAGE_REDIRECT_USER_AGENTS", "BERTH_STORAGE_REDIRECT_NETWORKS");
    for (setting, agent, status) in [
        (
            (agents, "containerd/, docker/"),
            "docker/27.1",
            StatusCode::TEMPORARY_REDIRECT,
        ),
        ((agents, "containerd/, docker/"), "renovate/40", StatusCode::OK),
        (
            (networks, "10.0.0.0/8, 127.0.0.0/8"),
            "renovate/40",
            StatusCode::TEMPORARY_REDIRECT,
        ),
        ((networks, "10.0.0.0/8"), "docker/27.1", StatusCode::OK),
    ] {
        let registry = TestRegistry::start_on_a_bucket(&[MATCHING, setting]).await;
        let digest = registry.push_blob(REPOSITORY, b"content").await;

        let answer = ask(&registry, Method::GET, &path_of(&digest), &[("user-agent", agent)]).await;

        assert_eq!(answer.status(), status, "{setting:?} {agent}");
        registry.stop().await;
    }
}

#[tokio::test]
async fn nobody_is_redirected_unless_the_settings_say_so() {
    let registry = TestRegistry::start_on_a_bucket(&[]).await;
    let digest = registry.push_blob(REPOSITORY, b"content").await;

    assert_eq!(
        ask(&registry, Method::GET, &path_of(&digest), &[]).await.status(),
        StatusCode::OK
    );
}

/// What an edge does: all before the signature is what was signed.
fn edge_allows(key: &[u8], url: &str, now: i64) -> bool {
    let (signed, signature) = url.split_once("&Signature=").unwrap();
    let mac = Hmac::<Sha1>::new_from_slice(key).unwrap().chain_update(signed);
    let query: Url = signed.parse().unwrap();
    let expires = query.query_pairs().find(|(name, _)| name == "Expires").unwrap().1;
    let in_time = now < expires.parse().unwrap();
    in_time && mac.verify_slice(&BASE64_URL_SAFE.decode(signature).unwrap()).is_ok()
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "an edge reads its own clock")]
async fn a_url_of_an_edge_is_allowed_by_its_key_until_its_time_is_over() {
    let key = b"sixteen bytes!!!";
    let registry = TestRegistry::start_on_a_bucket(&[
        ALWAYS,
        ("BERTH_STORAGE_REDIRECT_BASE_URL", "https://cdn.example.com/images"),
        ("BERTH_STORAGE_REDIRECT_KEY_NAME", "k1"),
        ("BERTH_STORAGE_REDIRECT_KEY", &BASE64_URL_SAFE.encode(key)),
        ("BERTH_STORAGE_REDIRECT_LIFETIME", "5m"),
    ])
    .await;
    let digest = registry.push_blob(REPOSITORY, b"content").await;
    let now = jiff::Timestamp::now().as_second();

    let url = location(&registry, &digest).await;

    assert!(url.as_str().starts_with("https://cdn.example.com/images/"));
    assert!(url.path().contains("/blobs/"), "{url}");
    assert!(edge_allows(key, url.as_str(), now));
    assert!(!edge_allows(b"another key.....", url.as_str(), now));
    assert!(!edge_allows(key, &url.as_str().replace("/blobs/", "/blobs/x"), now));
    assert!(!edge_allows(key, url.as_str(), now + 301));
}
