//! Tags in the query of a manifest pushed by its digest: end-7b.

use crate::support::content::image;
use crate::support::{TestRegistry, error_code, header};
use futures::{StreamExt, stream};
use oci::{Algorithm, Digest, media_type};
use reqwest::{Response, StatusCode};

const REPOSITORY: &str = "team/app";

async fn put(registry: &TestRegistry, algorithm: Algorithm, query: &str) -> (Digest, Response) {
    let config = registry.push_blob(REPOSITORY, b"{}").await;
    let body = image(&config, &[]);
    let digest = Digest::of(algorithm, body.as_bytes());
    let reference = format!("{digest}?{query}");
    let answer = registry
        .put_manifest(REPOSITORY, &reference, media_type::OCI_MANIFEST, &body)
        .await;
    (digest, answer)
}

fn tags_of(answer: &Response) -> Vec<String> {
    let lines = answer.headers().get_all("oci-tag").iter();
    lines.map(|line| line.to_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn every_tag_of_the_query_is_set_and_told() {
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let registry = TestRegistry::start().await;
        let (digest, answer) = put(&registry, algorithm, "tag=v2&tag=v1&tag=v2&ns=x").await;

        assert_eq!(answer.status(), StatusCode::CREATED);
        assert_eq!(tags_of(&answer), ["v2", "v1"]);
        for tag in ["v1", "v2"] {
            let head = registry.head(&format!("/v2/{REPOSITORY}/manifests/{tag}")).await;
            assert_eq!(header(&head, "docker-content-digest"), digest.to_string());
        }
    }
}

#[tokio::test]
async fn without_tags_in_the_query_none_is_told() {
    let registry = TestRegistry::start().await;

    let (_, answer) = put(&registry, Algorithm::Sha256, "").await;

    assert_eq!(answer.status(), StatusCode::CREATED);
    assert_eq!(tags_of(&answer), [""; 0]);
}

#[tokio::test]
async fn a_wrong_tag_in_the_query_sets_none() {
    let registry = TestRegistry::start().await;
    for wrong in ["tag=v1&tag=-no", "tag=v1&tag=", "tag=v1&tag=a%2Fb"] {
        let (digest, refused) = put(&registry, Algorithm::Sha256, wrong).await;

        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{wrong}");
        for reference in ["v1", &digest.to_string()] {
            let head = registry.head(&format!("/v2/{REPOSITORY}/manifests/{reference}")).await;
            assert_eq!(head.status(), StatusCode::NOT_FOUND);
        }
    }
}

#[tokio::test]
async fn as_many_tags_as_the_setting_says_are_taken() {
    let registry = TestRegistry::start_with(&[("BERTH_MANIFESTS_MAX_TAGS", "10")]).await;
    let query = |count: usize| (0..count).map(|n| format!("tag=t{n}")).collect::<Vec<_>>().join("&");

    let (_, taken) = put(&registry, Algorithm::Sha256, &query(10)).await;
    assert_eq!((taken.status(), tags_of(&taken).len()), (StatusCode::CREATED, 10));

    let (_, refused) = put(&registry, Algorithm::Sha256, &query(11)).await;
    assert_eq!(refused.status(), StatusCode::URI_TOO_LONG);
    assert_eq!(error_code(refused).await, "SIZE_INVALID");
}

#[tokio::test]
async fn tags_in_the_query_go_with_a_digest_only() {
    let registry = TestRegistry::start().await;
    let config = registry.push_blob(REPOSITORY, b"{}").await;

    let refused = registry
        .put_manifest(REPOSITORY, "v1?tag=v2", media_type::OCI_MANIFEST, &image(&config, &[]))
        .await;

    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    assert_eq!(error_code(refused).await, "MANIFEST_INVALID");
}

#[tokio::test]
async fn pushes_that_move_each_others_tags_do_not_stand_in_each_others_way() {
    let registry = TestRegistry::start().await;
    let config = registry.push_blob(REPOSITORY, b"{}").await;
    let registry = &registry;
    let pushes = (0..48).map(|push: u8| async move {
        let layer = registry.push_blob(REPOSITORY, &[push % 16]).await;
        let body = image(&config, &[layer]);
        let digest = Digest::of(Algorithm::Sha256, body.as_bytes());
        // Each begins with another tag, and has most in common with its neighbours.
        let first = push % 16;
        let tags = (first..first + 10).map(|n| format!("tag=t{n:02}"));
        let query = tags.collect::<Vec<_>>().join("&");
        let reference = format!("{digest}?{query}");
        let answer = registry.put_manifest(REPOSITORY, &reference, media_type::OCI_MANIFEST, &body);
        answer.await.status()
    });

    let statuses: Vec<StatusCode> = stream::iter(pushes).buffer_unordered(16).collect().await;

    assert_eq!(statuses, [StatusCode::CREATED; 48]);
}
