//! Deleting tags, manifests and blobs: end-9, end-10.

use crate::support::content::{artifact, image, index, sha256};
use crate::support::{TestRegistry, error_code, header, stores};
use futures::{StreamExt, stream};
use oci::{Digest, media_type};
use reqwest::StatusCode;

const REPOSITORY: &str = "team/app";

fn manifest_path(reference: impl std::fmt::Display) -> String {
    format!("/v2/{REPOSITORY}/manifests/{reference}")
}

fn blob_path(digest: &Digest) -> String {
    format!("/v2/{REPOSITORY}/blobs/{digest}")
}

async fn listed(registry: &TestRegistry, path: &str, member: &str) -> Vec<serde_json::Value> {
    let body: serde_json::Value = registry.get(path).await.json().await.unwrap();
    body[member].as_array().unwrap().clone()
}

async fn reviews(registry: &TestRegistry, sql: &'static str) -> i64 {
    stores::count(&registry.config, sql).await
}

#[tokio::test]
async fn a_deleted_tag_is_gone_at_once_and_its_manifest_stays() {
    let registry = TestRegistry::start().await;
    let digest = registry.push_image(REPOSITORY, "v1", b"layer").await;
    registry.push_image(REPOSITORY, "v2", b"layer").await;

    let deleted = registry.delete(&manifest_path("v1")).await;

    assert_eq!(deleted.status(), StatusCode::ACCEPTED);
    assert_eq!(header(&deleted, "content-length"), "0");
    assert_eq!(
        registry.head(&manifest_path("v1")).await.status(),
        StatusCode::NOT_FOUND
    );
    assert_eq!(registry.head(&manifest_path(digest)).await.status(), StatusCode::OK);
    let tags = listed(&registry, &format!("/v2/{REPOSITORY}/tags/list"), "tags").await;
    assert_eq!(tags, ["v2"]);
    let asked = "SELECT count(*) FROM reviews WHERE kind = 1 AND reason = 'tag_delete'";
    assert_eq!(reviews(&registry, asked).await, 1);
}

#[tokio::test]
async fn a_deleted_manifest_takes_all_its_tags_with_it() {
    let registry = TestRegistry::start().await;
    let digest = registry.push_image(REPOSITORY, "v1", b"layer").await;
    registry.push_image(REPOSITORY, "v2", b"layer").await;
    let other = registry.push_image(REPOSITORY, "other", b"another layer").await;

    let deleted = registry.delete(&manifest_path(digest)).await;

    assert_eq!(deleted.status(), StatusCode::ACCEPTED);
    for gone in ["v1", "v2", &digest.to_string()] {
        let head = registry.head(&manifest_path(gone)).await;
        assert_eq!(head.status(), StatusCode::NOT_FOUND, "{gone}");
    }
    let tags = listed(&registry, &format!("/v2/{REPOSITORY}/tags/list"), "tags").await;
    assert_eq!(tags, ["other"]);
    assert_eq!(registry.head(&manifest_path(other)).await.status(), StatusCode::OK);
    // Config and layer.
    let asked = "SELECT count(*) FROM reviews WHERE kind = 2 AND reason = 'manifest_delete'";
    assert_eq!(reviews(&registry, asked).await, 2);
}

#[tokio::test]
async fn what_does_not_exist_cannot_be_deleted() {
    let registry = TestRegistry::start().await;
    registry.push_image(REPOSITORY, "v1", b"layer").await;
    let absent = sha256(b"absent");
    let table = [
        (manifest_path("v9"), "MANIFEST_UNKNOWN"),
        (manifest_path(absent), "MANIFEST_UNKNOWN"),
        (blob_path(&absent), "BLOB_UNKNOWN"),
        ("/v2/nobody/manifests/v1".to_owned(), "NAME_UNKNOWN"),
        (format!("/v2/nobody/blobs/{absent}"), "NAME_UNKNOWN"),
    ];
    for (path, code) in table {
        let refused = registry.delete(&path).await;

        assert_eq!(refused.status(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(error_code(refused).await, code, "{path}");
    }
    let malformed = registry.delete(&format!("/v2/{REPOSITORY}/blobs/sha256:xyz")).await;
    assert_eq!(malformed.status(), StatusCode::BAD_REQUEST);
    assert_eq!(error_code(malformed).await, "DIGEST_INVALID");
}

#[tokio::test]
async fn a_deleted_manifest_leaves_the_list_of_its_subject_and_keeps_its_own_referrers() {
    let registry = TestRegistry::start().await;
    let subject = registry.push_image(REPOSITORY, "v1", b"layer").await;
    let empty = registry.push_blob(REPOSITORY, b"{}").await;
    let first = artifact(&empty, "application/x.first", &subject);
    let second = artifact(&empty, "application/x.second", &subject);
    let mut digests = Vec::new();
    for body in [&first, &second] {
        let digest = sha256(body.as_bytes());
        registry
            .put_manifest(REPOSITORY, &digest.to_string(), media_type::OCI_MANIFEST, body)
            .await;
        digests.push(digest);
    }
    let referrers = format!("/v2/{REPOSITORY}/referrers/{subject}");

    registry.delete(&manifest_path(digests[0])).await;

    let left = listed(&registry, &referrers, "manifests").await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0]["digest"], digests[1].to_string());

    registry.delete(&manifest_path(subject)).await;

    assert_eq!(listed(&registry, &referrers, "manifests").await.len(), 1);
    assert_eq!(registry.head(&manifest_path(digests[1])).await.status(), StatusCode::OK);
    let asked = "SELECT count(*) FROM reviews r JOIN manifests m ON m.digest = r.digest
        WHERE r.kind = 1 AND r.reason = 'manifest_delete'";
    assert_eq!(reviews(&registry, asked).await, 1, "the referrer that is left");
}

#[tokio::test]
async fn a_child_of_an_index_can_be_deleted_and_pushed_again() {
    let registry = TestRegistry::start().await;
    let child = registry.push_image(REPOSITORY, "child", b"layer").await;
    let list = index(&[child]);
    let parent = sha256(list.as_bytes());
    registry
        .put_manifest(REPOSITORY, "list", media_type::OCI_INDEX, &list)
        .await;

    let deleted = registry.delete(&manifest_path(child)).await;

    assert_eq!(deleted.status(), StatusCode::ACCEPTED);
    assert_eq!(
        registry.head(&manifest_path(child)).await.status(),
        StatusCode::NOT_FOUND
    );
    assert_eq!(registry.head(&manifest_path(parent)).await.status(), StatusCode::OK);
    let missing = "SELECT count(*) FROM missing_references WHERE kind = 4";
    assert_eq!(reviews(&registry, missing).await, 1);

    registry.push_image(REPOSITORY, "child", b"layer").await;

    assert_eq!(reviews(&registry, missing).await, 0);
    let children = "SELECT count(*) FROM manifest_children";
    assert_eq!(reviews(&registry, children).await, 1, "the index has its child again");
}

#[tokio::test]
async fn a_child_that_was_noted_as_missing_before_can_be_deleted() {
    let registry = TestRegistry::start().await;
    let child = registry.push_image(REPOSITORY, "child", b"layer").await;
    registry
        .put_manifest(REPOSITORY, "list", media_type::OCI_INDEX, &index(&[child]))
        .await;
    let note = "INSERT INTO missing_references
            (namespace_id, repository_id, manifest_digest, digest, kind, size, media_type)
        SELECT namespace_id, repository_id, parent_digest, child_digest, 4, 2, 'x' FROM manifest_children";
    stores::execute(&registry.config, note).await;

    let deleted = registry.delete(&manifest_path(child)).await;

    assert_eq!(deleted.status(), StatusCode::ACCEPTED);
    let gone = registry.head(&manifest_path(child)).await;
    assert_eq!(gone.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_deleted_index_puts_its_children_up_for_review() {
    let registry = TestRegistry::start().await;
    let children = [
        registry.push_image(REPOSITORY, "a", b"one").await,
        registry.push_image(REPOSITORY, "b", b"two").await,
    ];
    let list = index(&children);
    registry
        .put_manifest(REPOSITORY, "list", media_type::OCI_INDEX, &list)
        .await;

    let deleted = registry.delete(&manifest_path(sha256(list.as_bytes()))).await;

    assert_eq!(deleted.status(), StatusCode::ACCEPTED);
    let asked = "SELECT count(*) FROM reviews WHERE kind = 1 AND reason = 'manifest_list_delete'";
    assert_eq!(reviews(&registry, asked).await, 2);
    for child in children {
        assert_eq!(registry.head(&manifest_path(child)).await.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_blob_is_deleted_from_one_repository_only_and_can_come_back() {
    let registry = TestRegistry::start().await;
    let blob = registry.push_blob(REPOSITORY, b"{}").await;
    registry.push_blob("another/app", b"{}").await;

    let deleted = registry.delete(&blob_path(&blob)).await;

    assert_eq!(deleted.status(), StatusCode::ACCEPTED);
    assert_eq!(registry.head(&blob_path(&blob)).await.status(), StatusCode::NOT_FOUND);
    let elsewhere = registry.get(&format!("/v2/another/app/blobs/{blob}")).await;
    assert_eq!(elsewhere.bytes().await.unwrap(), "{}");
    let asked = "SELECT count(*) FROM reviews WHERE kind = 3 AND namespace_id = 0 AND reason = 'blob_unlink'";
    assert_eq!(reviews(&registry, asked).await, 1);

    registry.push_blob(REPOSITORY, b"{}").await;
    assert_eq!(registry.head(&blob_path(&blob)).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_blob_that_a_manifest_names_stays_until_the_manifest_is_deleted() {
    let registry = TestRegistry::start().await;
    let manifest = registry.push_image(REPOSITORY, "v1", b"layer").await;
    let layer = sha256(b"layer");

    let refused = registry.delete(&blob_path(&layer)).await;

    assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(header(&refused, "allow"), "GET, HEAD");
    let body: serde_json::Value = refused.json().await.unwrap();
    assert_eq!(body["errors"][0]["code"], "UNSUPPORTED");
    let told = body["errors"][0]["message"].as_str().unwrap();
    assert!(
        told.contains("named by a manifest") && told.contains("delete the manifest first"),
        "{told}"
    );
    assert_eq!(registry.head(&blob_path(&layer)).await.status(), StatusCode::OK);

    registry.delete(&manifest_path(manifest)).await;
    assert_eq!(registry.delete(&blob_path(&layer)).await.status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn what_is_switched_off_is_not_allowed_and_nothing_is_deleted() {
    let registry = TestRegistry::start_with(&[
        ("BERTH_DELETION_TAGS", "false"),
        ("BERTH_DELETION_MANIFESTS", "false"),
        ("BERTH_DELETION_BLOBS", "false"),
        ("BERTH_CATALOG_ENABLED", "false"),
    ])
    .await;
    let manifest = registry.push_image(REPOSITORY, "v1", b"layer").await;
    let unused = registry.push_blob(REPOSITORY, b"unused").await;
    for path in [manifest_path("v1"), manifest_path(manifest), blob_path(&unused)] {
        let refused = registry.delete(&path).await;

        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert!(!header(&refused, "allow").contains("DELETE"));
        assert_eq!(error_code(refused).await, "UNSUPPORTED");
        assert_eq!(registry.head(&path).await.status(), StatusCode::OK);
    }
    let catalog = registry.get("/v2/_catalog").await;
    assert_eq!(catalog.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(error_code(catalog).await, "UNSUPPORTED");
}

#[tokio::test]
async fn pushes_and_deletions_of_one_image_at_once_leave_it_whole_or_gone() {
    let registry = TestRegistry::start().await;
    let config = registry.push_blob(REPOSITORY, b"{}").await;
    let layer = registry.push_blob(REPOSITORY, b"layer").await;
    let body = image(&config, &[layer]);
    let list = index(&[sha256(body.as_bytes())]);
    let requests = (0..60).map(|n| {
        let (registry, body, list) = (&registry, &body, &list);
        async move {
            let answer = match n % 6 {
                0 | 1 => {
                    registry
                        .put_manifest(REPOSITORY, "v1", media_type::OCI_MANIFEST, body)
                        .await
                }
                2 => {
                    registry
                        .put_manifest(REPOSITORY, "list", media_type::OCI_INDEX, list)
                        .await
                }
                3 => registry.delete(&manifest_path(sha256(body.as_bytes()))).await,
                4 => registry.delete(&manifest_path(sha256(list.as_bytes()))).await,
                _ => registry.delete(&manifest_path("v1")).await,
            };
            (n % 6, answer.status().as_u16())
        }
    });

    let answers: Vec<(u32, u16)> = stream::iter(requests).buffer_unordered(8).collect().await;

    for (request, status) in &answers {
        let expected: &[u16] = match request {
            0 | 1 => &[201],
            2 => &[201, 400],
            _ => &[202, 404],
        };
        assert!(expected.contains(status), "{answers:?}");
    }
    let image_path = manifest_path(sha256(body.as_bytes()));
    let tagged = registry.head(&manifest_path("v1")).await.status();
    let there = registry.head(&image_path).await.status();
    assert!(there == StatusCode::OK || tagged == StatusCode::NOT_FOUND);
    let dangling = "SELECT count(*) FROM tags t WHERE NOT EXISTS
        (SELECT 1 FROM manifests m WHERE m.digest = t.manifest_digest)";
    assert_eq!(stores::count(&registry.config, dangling).await, 0);
}

#[tokio::test]
async fn a_blob_deleted_while_manifests_that_name_it_are_pushed_is_never_missing_from_one() {
    let registry = TestRegistry::start().await;
    let config = registry.push_blob(REPOSITORY, b"{}").await;
    let requests = (0..24).map(|n| {
        let registry = &registry;
        async move {
            let layer = registry.push_blob(REPOSITORY, &[n / 2; 10]).await;
            if n % 2 == 0 {
                let body = image(&config, &[layer]);
                let put = registry
                    .put_manifest(REPOSITORY, &format!("v{n}"), media_type::OCI_MANIFEST, &body)
                    .await;
                assert!([201, 400].contains(&put.status().as_u16()), "{}", put.status());
            } else {
                let deleted = registry.delete(&blob_path(&layer)).await;
                assert!(
                    [202, 404, 405].contains(&deleted.status().as_u16()),
                    "{}",
                    deleted.status()
                );
            }
        }
    });

    stream::iter(requests).buffer_unordered(8).collect::<Vec<()>>().await;

    let tags = listed(&registry, &format!("/v2/{REPOSITORY}/tags/list"), "tags").await;
    for tag in tags {
        let pulled = registry.get(&manifest_path(tag.as_str().unwrap())).await;
        let manifest: serde_json::Value = pulled.json().await.unwrap();
        let layer = manifest["layers"][0]["digest"].as_str().unwrap().parse().unwrap();
        assert_eq!(
            registry.head(&blob_path(&layer)).await.status(),
            StatusCode::OK,
            "{tag}"
        );
    }
}
