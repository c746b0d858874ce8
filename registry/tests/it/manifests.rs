//! Pushing and pulling manifests: end-3, end-7.

use crate::support::content::{artifact, image, index, sha256};
use crate::support::{TestRegistry, error_code, header, stores};
use futures::{StreamExt, stream};
use oci::{Algorithm, Digest, media_type};
use reqwest::StatusCode;

const REPOSITORY: &str = "team/app";

#[tokio::test]
async fn a_manifest_is_pulled_by_tag_and_by_digest_as_it_was_pushed() {
    let registry = TestRegistry::start().await;
    let config = registry.push_blob(REPOSITORY, b"{}").await;
    // Spaces and an unknown member: what is served must never be written anew.
    let pushed = image(&config, &[]).replace("{\"config\"", "{ \"unknown\": [1],\n\"config\"");
    let answer = registry
        .put_manifest(REPOSITORY, "v1", media_type::OCI_MANIFEST, &pushed)
        .await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    let digest = header(&answer, "docker-content-digest");
    assert_eq!(
        header(&answer, "location"),
        format!("/v2/{REPOSITORY}/manifests/{digest}")
    );

    for reference in ["v1", &digest] {
        let pulled = registry.get(&format!("/v2/{REPOSITORY}/manifests/{reference}")).await;

        assert_eq!(header(&pulled, "content-type"), media_type::OCI_MANIFEST);
        assert_eq!(header(&pulled, "docker-content-digest"), digest);
        assert_eq!(pulled.text().await.unwrap(), pushed);
    }
}

#[tokio::test]
async fn a_docker_manifest_keeps_its_type() {
    let registry = TestRegistry::start().await;
    let config = registry.push_blob(REPOSITORY, b"{}").await;
    let docker = image(&config, &[]).replace(media_type::OCI_MANIFEST, media_type::DOCKER_MANIFEST);

    registry
        .put_manifest(REPOSITORY, "v1", media_type::DOCKER_MANIFEST, &docker)
        .await;

    let pulled = registry.head(&format!("/v2/{REPOSITORY}/manifests/v1")).await;
    assert_eq!(header(&pulled, "content-type"), media_type::DOCKER_MANIFEST);
}

#[tokio::test]
async fn a_manifest_that_names_unknown_content_is_refused_with_every_digest() {
    let registry = TestRegistry::start().await;
    let config = registry.push_blob(REPOSITORY, b"{}").await;
    let absent = [sha256(b"one"), sha256(b"two")];

    let refused = registry
        .put_manifest(REPOSITORY, "v1", media_type::OCI_MANIFEST, &image(&config, &absent))
        .await;

    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    let body: serde_json::Value = refused.json().await.unwrap();
    let told: Vec<&str> = body["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["detail"]["digest"].as_str().unwrap())
        .collect();
    assert_eq!(told, absent.map(|digest| digest.to_string()));
    assert_eq!(body["errors"][0]["code"], "MANIFEST_BLOB_UNKNOWN");
    assert_eq!(
        registry.get(&format!("/v2/{REPOSITORY}/manifests/v1")).await.status(),
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn an_index_needs_its_children_and_nested_indexes_work() {
    let registry = TestRegistry::start().await;
    let child = registry.push_image(REPOSITORY, "child", b"layer").await;
    let inner = index(&[child]);
    let absent = registry
        .put_manifest(REPOSITORY, "x", media_type::OCI_INDEX, &index(&[sha256(b"absent")]))
        .await;
    assert_eq!(error_code(absent).await, "MANIFEST_BLOB_UNKNOWN");

    let stored = registry
        .put_manifest(REPOSITORY, "inner", media_type::OCI_INDEX, &inner)
        .await;
    assert_eq!(stored.status(), StatusCode::CREATED);

    let outer = index(&[sha256(inner.as_bytes())]).replace(
        &format!("\"mediaType\":\"{}\"", media_type::OCI_MANIFEST),
        &format!("\"mediaType\":\"{}\"", media_type::OCI_INDEX),
    );
    let stored = registry
        .put_manifest(REPOSITORY, "outer", media_type::OCI_INDEX, &outer)
        .await;
    assert_eq!(stored.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn a_manifest_put_by_a_digest_must_be_that_digest() {
    let registry = TestRegistry::start().await;
    let config = registry.push_blob(REPOSITORY, b"{}").await;
    let body = image(&config, &[]);

    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let digest = Digest::of(algorithm, body.as_bytes());
        let stored = registry
            .put_manifest(REPOSITORY, &digest.to_string(), media_type::OCI_MANIFEST, &body)
            .await;
        assert_eq!(stored.status(), StatusCode::CREATED);
        assert_eq!(header(&stored, "docker-content-digest"), digest.to_string());
        let pulled = registry.get(&format!("/v2/{REPOSITORY}/manifests/{digest}")).await;
        assert_eq!(header(&pulled, "docker-content-digest"), digest.to_string());
    }

    let other = sha256(b"other").to_string();
    let refused = registry
        .put_manifest(REPOSITORY, &other, media_type::OCI_MANIFEST, &body)
        .await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    assert_eq!(error_code(refused).await, "DIGEST_INVALID");
}

#[tokio::test]
async fn a_tag_moves_to_what_was_pushed_last() {
    let registry = TestRegistry::start().await;
    let first = registry.push_image(REPOSITORY, "latest", b"one").await;
    let second = registry.push_image(REPOSITORY, "latest", b"two").await;

    let pulled = registry.head(&format!("/v2/{REPOSITORY}/manifests/latest")).await;

    assert_eq!(header(&pulled, "docker-content-digest"), second.to_string());
    assert_eq!(
        registry
            .head(&format!("/v2/{REPOSITORY}/manifests/{first}"))
            .await
            .status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn what_is_no_manifest_is_refused_and_a_large_one_too() {
    let registry = TestRegistry::start().await;
    let table = [
        ("", "MANIFEST_INVALID"),
        ("[]", "MANIFEST_INVALID"),
        ("{\"schemaVersion\":1}", "MANIFEST_INVALID"),
    ];
    for (body, code) in table {
        let refused = registry
            .put_manifest(REPOSITORY, "v1", media_type::OCI_MANIFEST, body)
            .await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{body}");
        assert_eq!(error_code(refused).await, code);
    }

    let large = " ".repeat(4 * 1024 * 1024 + 1);
    let refused = registry
        .put_manifest(REPOSITORY, "v1", media_type::OCI_MANIFEST, &large)
        .await;

    assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(error_code(refused).await, "SIZE_INVALID");
}

#[tokio::test]
async fn a_manifest_with_a_subject_says_so_and_is_listed_as_its_referrer() {
    let registry = TestRegistry::start().await;
    let subject = registry.push_image(REPOSITORY, "v1", b"layer").await;
    let empty = registry.push_blob(REPOSITORY, b"{}").await;
    let signature = artifact(&empty, "application/x.signature", &subject);

    let stored = registry
        .put_manifest(REPOSITORY, "sig", media_type::OCI_MANIFEST, &signature)
        .await;

    assert_eq!(header(&stored, "oci-subject"), subject.to_string());
    let listed = registry
        .get(&format!(
            "/v2/{REPOSITORY}/referrers/{subject}?artifactType=application/x.signature"
        ))
        .await;
    assert_eq!(header(&listed, "content-type"), media_type::OCI_INDEX);
    assert_eq!(header(&listed, "oci-filters-applied"), "artifactType");
    let body: serde_json::Value = listed.json().await.unwrap();
    assert_eq!(body["manifests"][0]["digest"], sha256(signature.as_bytes()).to_string());
    assert_eq!(body["manifests"][0]["annotations"]["made-by"], "a test");
    let none = registry.get(&format!("/v2/nobody/referrers/{subject}")).await;
    assert_eq!(none.status(), StatusCode::OK);
}

#[tokio::test]
async fn many_clients_pushing_one_image_at_once_all_succeed() {
    let registry = TestRegistry::start().await;
    let config = registry.push_blob(REPOSITORY, b"{}").await;
    let registry_ref = &registry;
    let layers: Vec<Digest> = stream::iter(0..5)
        .then(|n| async move { registry_ref.push_blob(REPOSITORY, &[n; 10]).await })
        .collect()
        .await;
    let body = image(&config, &layers);
    let pushes = (0..16).map(|client| {
        let (registry, body) = (&registry, &body);
        let tag = format!("v{}", client % 4);
        async move {
            registry
                .put_manifest(REPOSITORY, &tag, media_type::OCI_MANIFEST, body)
                .await
                .status()
        }
    });

    let statuses: Vec<StatusCode> = stream::iter(pushes).buffer_unordered(16).collect().await;

    assert!(
        statuses.iter().all(|status| *status == StatusCode::CREATED),
        "{statuses:?}"
    );
}

#[tokio::test]
async fn every_manifest_that_a_tag_moved_away_from_is_up_for_review() {
    let registry = TestRegistry::start().await;
    let config = registry.push_blob(REPOSITORY, b"{}").await;
    let pushes = (0..48).map(|push| {
        let (registry, tag) = (&registry, format!("new{}", push / 4));
        let body = image(&config, &[]).replace(
            "\"layers\"",
            &format!("\"annotations\":{{\"n\":\"{push}\"}},\"layers\""),
        );
        async move {
            registry
                .put_manifest(REPOSITORY, &tag, media_type::OCI_MANIFEST, &body)
                .await
                .status()
        }
    });

    let statuses: Vec<StatusCode> = stream::iter(pushes).buffer_unordered(16).collect().await;

    assert!(
        statuses.iter().all(|status| *status == StatusCode::CREATED),
        "{statuses:?}"
    );
    let forgotten = "SELECT count(*) FROM manifests m
        WHERE NOT EXISTS (SELECT 1 FROM tags t WHERE t.manifest_digest = m.digest)
        AND NOT EXISTS (SELECT 1 FROM reviews r WHERE r.digest = m.digest AND r.kind = 1)";
    assert_eq!(stores::count(&registry.config, forgotten).await, 0);
}
