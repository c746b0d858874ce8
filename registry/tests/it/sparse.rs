//! Manifests that name what is not there: the setting `manifests.sparse`.

use crate::support::content::{image, index, sha256};
use crate::support::serve::LIMIT;
use crate::support::{TestRegistry, error_code, header, stores};
use futures::future::join_all;
use oci::media_type;
use reqwest::StatusCode;
use tokio::time::timeout;

const REPOSITORY: &str = "team/app";

/// The statuses of an image that lacks a layer and of an index that lacks a child.
async fn pushed(policy: &str) -> (StatusCode, StatusCode) {
    let registry = TestRegistry::start_with(&[("BERTH_MANIFESTS_SPARSE", policy)]).await;
    let config = registry.push_blob(REPOSITORY, b"{}").await;
    let without_layer = image(&config, &[sha256(b"absent")]);
    let without_child = index(&[sha256(b"absent")]);
    let image = registry
        .put_manifest(REPOSITORY, "image", media_type::OCI_MANIFEST, &without_layer)
        .await;
    let list = registry
        .put_manifest(REPOSITORY, "list", media_type::OCI_INDEX, &without_child)
        .await;
    (image.status(), list.status())
}

#[tokio::test]
async fn the_policy_says_what_may_be_missing() {
    let (no, yes) = (StatusCode::BAD_REQUEST, StatusCode::CREATED);

    assert_eq!(pushed("strict").await, (no, no));
    assert_eq!(pushed("index").await, (no, yes));
    assert_eq!(pushed("all").await, (yes, yes));
}

#[tokio::test]
async fn what_was_missing_is_tied_to_its_manifest_when_it_comes() {
    let registry = TestRegistry::start_with(&[("BERTH_MANIFESTS_SPARSE", "all")]).await;
    let config = registry.push_blob(REPOSITORY, b"{}").await;
    let body = image(&config, &[sha256(b"late")]);
    registry
        .put_manifest(REPOSITORY, "v1", media_type::OCI_MANIFEST, &body)
        .await;

    let late = registry.push_blob(REPOSITORY, b"late").await;

    let refused = registry.delete(&format!("/v2/{REPOSITORY}/blobs/{late}")).await;
    assert_eq!(error_code(refused).await, "UNSUPPORTED", "the manifest holds it now");
    let missing = "SELECT count(*) FROM missing_references";
    assert_eq!(stores::count(&registry.config, missing).await, 0);
}

#[tokio::test]
async fn a_sparse_manifest_can_be_deleted() {
    let registry = TestRegistry::start_with(&[("BERTH_MANIFESTS_SPARSE", "all")]).await;
    let list = index(&[sha256(b"absent")]);
    registry
        .put_manifest(REPOSITORY, "list", media_type::OCI_INDEX, &list)
        .await;

    let path = format!("/v2/{REPOSITORY}/manifests/{}", sha256(list.as_bytes()));
    let deleted = registry.delete(&path).await;

    assert_eq!(deleted.status(), StatusCode::ACCEPTED);
    assert_eq!(registry.head(&path).await.status(), StatusCode::NOT_FOUND);
    let missing = "SELECT count(*) FROM missing_references";
    assert_eq!(stores::count(&registry.config, missing).await, 0);
}

#[tokio::test]
async fn a_size_that_is_not_the_stored_one_is_warned_of_and_taken() {
    let registry = TestRegistry::start().await;
    let config = registry.push_blob(REPOSITORY, b"{}").await;
    let layer = registry.push_blob(REPOSITORY, b"not two bytes").await;
    let right = image(&config, &[]);
    let wrong = image(&config, &[layer]);

    let taken = registry
        .put_manifest(REPOSITORY, "v1", media_type::OCI_MANIFEST, &right)
        .await;
    assert_eq!(header(&taken, "warning"), "");
    let taken = registry
        .put_manifest(REPOSITORY, "v2", media_type::OCI_MANIFEST, &wrong)
        .await;

    assert_eq!(taken.status(), StatusCode::CREATED);
    assert_eq!(
        header(&taken, "warning"),
        format!("299 - \"{layer} has 13 bytes, not 2 as the manifest says\"")
    );
}

#[tokio::test]
async fn a_manifest_that_names_too_much_is_refused_with_the_limit() {
    let registry = TestRegistry::start_with(&[("BERTH_MANIFESTS_MAX_REFERENCES", "2")]).await;
    let config = registry.push_blob(REPOSITORY, b"{}").await;
    let layers = [
        registry.push_blob(REPOSITORY, b"one").await,
        registry.push_blob(REPOSITORY, b"two").await,
    ];

    let refused = registry
        .put_manifest(REPOSITORY, "v1", media_type::OCI_MANIFEST, &image(&config, &layers))
        .await;

    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    let body: serde_json::Value = refused.json().await.unwrap();
    assert_eq!(body["errors"][0]["code"], "MANIFEST_INVALID");
    let told = body["errors"][0]["message"].as_str().unwrap();
    assert!(told.contains("manifests.max_references"), "{told}");
}

/// The statuses of images that lack a layer of this type, pushed to a repository at once.
async fn pushed_at_once(registry: &TestRegistry, layer_type: &str) -> Vec<StatusCode> {
    let config = registry.push_blob(REPOSITORY, b"{}").await;
    let pushes = (0..12).map(|number: u8| async move {
        let body = image(&config, &[sha256(b"absent"), sha256(&[number])]).replace(OCI_LAYER, layer_type);
        let tag = format!("v{number}");
        let pushed = registry.put_manifest(REPOSITORY, &tag, media_type::OCI_MANIFEST, &body);
        pushed.await.status()
    });
    timeout(LIMIT, join_all(pushes)).await.unwrap()
}

const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

#[tokio::test]
async fn images_that_lack_layers_can_be_pushed_at_once() {
    let registry = TestRegistry::start_with(&[("BERTH_MANIFESTS_SPARSE", "all")]).await;

    assert_eq!(pushed_at_once(&registry, OCI_LAYER).await, [StatusCode::CREATED; 12]);
}

#[tokio::test]
async fn images_with_layers_that_live_elsewhere_can_be_pushed_at_once() {
    let registry = TestRegistry::start().await;
    let elsewhere = "application/vnd.oci.image.layer.nondistributable.v1.tar";

    assert_eq!(pushed_at_once(&registry, elsewhere).await, [StatusCode::CREATED; 12]);
    let missing = "SELECT count(*) FROM missing_references";
    assert_eq!(stores::count(&registry.config, missing).await, 24);
}

#[tokio::test]
async fn sparse_images_that_make_their_repository_at_once_are_all_taken() {
    let registry = TestRegistry::start_with(&[("BERTH_MANIFESTS_SPARSE", "all")]).await;
    let registry = &registry;
    let pushes = (0..8).map(|number: u8| async move {
        let list = index(&[sha256(&[number])]);
        let tag = format!("v{number}");
        let pushed = registry.put_manifest("new/app", &tag, media_type::OCI_INDEX, &list);
        pushed.await.status()
    });

    let statuses = timeout(LIMIT, join_all(pushes)).await.unwrap();

    assert_eq!(statuses, [StatusCode::CREATED; 8]);
}
