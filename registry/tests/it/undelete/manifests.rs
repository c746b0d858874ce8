//! Deleted manifests, and what refers to them.

use super::{
    REPOSITORY, delete, keeping, keeping_with, kept, manifest, pulled, push_index, put, refused, tag, tags, undeleted,
};
use crate::support::content::{artifact, image, sha256};
use crate::support::{TestRegistry, stores};
use oci::{Digest, media_type};
use reqwest::StatusCode;
use serde_json::{Value, json};

async fn rows(registry: &TestRegistry, sql: &'static str) -> i64 {
    stores::count(&registry.config, sql).await
}

const MISSING: &str = "SELECT count(*) FROM missing_references";
const CHILDREN: &str = "SELECT count(*) FROM manifest_children";

async fn attached(registry: &TestRegistry, subject: Digest) -> Vec<Value> {
    let answer = registry.get(&format!("/v2/{REPOSITORY}/referrers/{subject}")).await;
    let body: Value = answer.json().await.unwrap();
    let listed = body["manifests"].as_array().unwrap().iter();
    listed.map(|entry| entry["digest"].clone()).collect()
}

#[tokio::test]
async fn a_deleted_manifest_comes_back_with_the_tags_that_it_lost_and_no_other() {
    let registry = keeping().await;
    let digest = registry.push_image(REPOSITORY, "v1", b"layer").await;
    for name in ["v2", "dropped"] {
        registry.push_image(REPOSITORY, name, b"layer").await;
    }
    delete(&registry, "dropped").await;
    delete(&registry, digest).await;
    assert_eq!(tags(&registry).await, [] as [Value; 0]);
    let listed = kept(&registry, "manifests").await;
    assert_eq!((listed.len(), &listed[0]["digest"]), (1, &json!(digest)));

    let restored = undeleted(&registry, &manifest(digest)).await;

    assert_eq!(restored["tags"], json!(["v1", "v2"]));
    assert_eq!(restored["taken"], json!([]));
    assert_eq!(pulled(&registry, digest).await, Some(digest.to_string()));
    assert_eq!(tags(&registry).await, ["v1", "v2"]);
    assert_eq!(kept(&registry, "tags").await.len(), 1);
    let layer = registry
        .get(&format!("/v2/{REPOSITORY}/blobs/{}", sha256(b"layer")))
        .await;
    assert_eq!(layer.bytes().await.unwrap(), "layer");
}

#[tokio::test]
async fn a_manifest_comes_back_without_the_tags_that_others_took_meanwhile() {
    let registry = keeping().await;
    let digest = registry.push_image(REPOSITORY, "v1", b"layer").await;
    registry.push_image(REPOSITORY, "v2", b"layer").await;
    delete(&registry, digest).await;
    let other = registry.push_image(REPOSITORY, "v2", b"other").await;

    let restored = undeleted(&registry, &manifest(digest)).await;

    assert_eq!(
        (&restored["tags"], &restored["taken"]),
        (&json!(["v1"]), &json!(["v2"]))
    );
    assert_eq!(pulled(&registry, "v2").await, Some(other.to_string()));
    delete(&registry, "v2").await;
    let older = json!({"tag": "v2", "deleted_at": kept(&registry, "tags").await[0]["deleted_at"]});
    undeleted(&registry, &older).await;
    assert_eq!(pulled(&registry, "v2").await, Some(digest.to_string()));
}

#[tokio::test]
async fn what_is_there_needs_no_restoring() {
    let registry = keeping().await;
    let digest = registry.push_image(REPOSITORY, "v1", b"layer").await;

    let (status, words) = refused(&registry, &manifest(digest)).await;

    assert_eq!(status, StatusCode::CONFLICT);
    assert!(words.contains("not deleted"), "{words}");
    let (status, words) = refused(&registry, &manifest(sha256(b"never pushed"))).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(words.contains("push it again") && words.contains("1h"), "{words}");
}

#[tokio::test]
async fn a_manifest_without_tags_that_is_restored_is_reviewed_as_after_a_push() {
    let registry = keeping().await;
    let digest = registry.push_image(REPOSITORY, "v1", b"layer").await;
    delete(&registry, "v1").await;
    delete(&registry, digest).await;
    let asked = "SELECT count(*) FROM reviews WHERE kind = 1 AND reason = 'manifest_upload'";
    assert_eq!(rows(&registry, asked).await, 0);

    undeleted(&registry, &manifest(digest)).await;

    assert_eq!(rows(&registry, asked).await, 1);
}

#[tokio::test]
async fn referrers_and_their_subject_find_each_other_again() {
    let registry = keeping().await;
    let subject = registry.push_image(REPOSITORY, "v1", b"layer").await;
    let empty = registry.push_blob(REPOSITORY, b"{}").await;
    let body = artifact(&empty, "application/x.first", &subject);
    let referrer = sha256(body.as_bytes());
    put(&registry, referrer, media_type::OCI_MANIFEST, &body).await;
    delete(&registry, referrer).await;
    delete(&registry, subject).await;
    assert_eq!(attached(&registry, subject).await, [] as [Value; 0]);

    undeleted(&registry, &manifest(referrer)).await;

    assert_eq!(attached(&registry, subject).await, [json!(referrer)]);
    undeleted(&registry, &manifest(subject)).await;
    assert_eq!(pulled(&registry, "v1").await, Some(subject.to_string()));
    assert_eq!(attached(&registry, subject).await, [json!(referrer)]);
}

#[tokio::test]
async fn an_index_has_its_child_again() {
    let registry = keeping().await;
    let child = registry.push_image(REPOSITORY, "child", b"layer").await;
    let (_, list) = push_index(&registry, "list", &[child]).await;
    delete(&registry, child).await;
    delete(&registry, list).await;
    assert_eq!(
        push_index(&registry, "list", &[child]).await.0,
        StatusCode::BAD_REQUEST,
        "the child is not there"
    );

    undeleted(&registry, &manifest(list)).await;
    undeleted(&registry, &manifest(child)).await;

    assert_eq!(
        (rows(&registry, CHILDREN).await, rows(&registry, MISSING).await),
        (1, 0)
    );
    assert_eq!(pulled(&registry, "list").await, Some(list.to_string()));
    assert_eq!(pulled(&registry, "child").await, Some(child.to_string()));
}

#[tokio::test]
async fn an_index_that_was_pushed_without_its_child_has_it_when_that_is_restored() {
    let registry = keeping_with(&[("BERTH_MANIFESTS_SPARSE", "index")]).await;
    let child = registry.push_image(REPOSITORY, "child", b"layer").await;
    delete(&registry, child).await;
    let (pushed, _) = push_index(&registry, "list", &[child]).await;
    assert_eq!(pushed, StatusCode::CREATED);
    assert_eq!(
        (rows(&registry, CHILDREN).await, rows(&registry, MISSING).await),
        (0, 1)
    );

    undeleted(&registry, &tag("child")).await;

    assert_eq!(
        (rows(&registry, CHILDREN).await, rows(&registry, MISSING).await),
        (1, 0)
    );
}

#[tokio::test]
async fn a_deleted_manifest_that_is_pushed_again_is_there_and_keeps_its_lost_tags_restorable() {
    let registry = keeping().await;
    let digest = registry.push_image(REPOSITORY, "v1", b"layer").await;
    delete(&registry, digest).await;

    registry.push_image(REPOSITORY, "v2", b"layer").await;

    assert_eq!(pulled(&registry, digest).await, Some(digest.to_string()));
    assert_eq!(tags(&registry).await, ["v2"]);
    assert_eq!(kept(&registry, "manifests").await, [] as [Value; 0]);
    undeleted(&registry, &tag("v1")).await;
    assert_eq!(tags(&registry).await, ["v1", "v2"]);
}

#[tokio::test]
async fn a_blob_of_a_deleted_manifest_stays_for_it_and_the_refusal_says_why() {
    let registry = keeping().await;
    let config = registry.push_blob(REPOSITORY, b"{}").await;
    let layer = registry.push_blob(REPOSITORY, b"layer").await;
    let body = image(&config, &[layer]);
    put(&registry, "v1", media_type::OCI_MANIFEST, &body).await;
    delete(&registry, sha256(body.as_bytes())).await;

    let blob = registry.delete(&format!("/v2/{REPOSITORY}/blobs/{layer}")).await;

    assert_eq!(blob.status(), StatusCode::METHOD_NOT_ALLOWED);
    let told = blob.text().await.unwrap();
    assert!(told.contains("can still be restored"), "{told}");
}
