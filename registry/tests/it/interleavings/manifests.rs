//! Manifests that are named while they are under review.

use super::scene::{deletes, is_consistent, is_empty, is_sqlite, is_whole, later, puts, reviews, settle};
use crate::gc::world::{REPOSITORY, World, hasty};
use crate::support::content::{artifact, image, index, sha256};
use berth_registry::distribution::{Error, Reviews, Rules, Sparse};
use berth_registry::staging::hold;
use futures::future::BoxFuture;
use oci::Digest;
use oci::media_type::{OCI_INDEX, OCI_MANIFEST};

/// An image that nothing names, and its body.
fn with_untagged() -> BoxFuture<'static, (World, Digest, String)> {
    Box::pin(async {
        let world = World::hasty().await;
        let blob = world.push_blob(REPOSITORY, b"the bytes").await;
        let body = image(&blob, &[]);
        let digest = world.push_manifest(REPOSITORY, None, OCI_MANIFEST, &body).await;
        later(&world);
        (world, digest, body)
    })
}

/// 9: a tag goes from A to B and back during the review of A.
#[tokio::test]
async fn a_tag_that_comes_back_during_the_review_points_to_a_whole_image() {
    let world = World::hasty().await;
    let blob = world.push_blob(REPOSITORY, b"the bytes").await;
    let (a, b) = (image(&blob, &[]), image(&blob, &[blob]));
    world.push_manifest(REPOSITORY, Some("v1"), OCI_MANIFEST, &a).await;
    world.push_manifest(REPOSITORY, Some("v1"), OCI_MANIFEST, &b).await;
    later(&world);
    let looked = hold("collector.rechecked");
    let collector = reviews(&world, Reviews::Manifest);
    looked.arrived().await.unwrap();
    let back = puts(&world, "v1", OCI_MANIFEST, &a);
    back.is_kept_waiting(&world).await;

    looked.release();

    assert_eq!(collector.ends().await.deleted, 1);
    assert_eq!(back.ends().await.unwrap().digest, sha256(a.as_bytes()));
    settle(&world).await;
    assert!(is_whole(&world, "v1").await);
    assert!(world.has_manifest(REPOSITORY, sha256(a.as_bytes())).await);
    is_consistent(&world).await;
}

/// 9, and the tag is back before the collector looks.
#[tokio::test]
async fn a_tag_that_is_back_when_the_collector_looks_keeps_its_image() {
    let world = World::hasty().await;
    let blob = world.push_blob(REPOSITORY, b"the bytes").await;
    let (a, b) = (image(&blob, &[]), image(&blob, &[blob]));
    for body in [&a, &b] {
        world.push_manifest(REPOSITORY, Some("v1"), OCI_MANIFEST, body).await;
    }
    later(&world);
    let begins = hold("transaction.begins");
    let collector = reviews(&world, Reviews::Manifest);
    begins.arrived().await.unwrap();
    world.push_manifest(REPOSITORY, Some("v1"), OCI_MANIFEST, &a).await;

    begins.release();

    collector.ends().await;
    assert!(is_whole(&world, "v1").await);
    settle(&world).await;
    assert!(is_whole(&world, "v1").await);
    assert!(!world.has_manifest(REPOSITORY, sha256(b.as_bytes())).await);
}

/// 10: a tag on an untagged manifest that is under review.
#[tokio::test]
async fn a_tag_on_what_is_being_collected_brings_it_back() {
    let (world, digest, body) = with_untagged().await;
    let looked = hold("collector.rechecked");
    let collector = reviews(&world, Reviews::Manifest);
    looked.arrived().await.unwrap();
    let tag = puts(&world, "v1", OCI_MANIFEST, &body);
    tag.is_kept_waiting(&world).await;

    looked.release();

    assert_eq!(collector.ends().await.deleted, 1);
    tag.ends().await.unwrap();
    settle(&world).await;
    assert!(is_whole(&world, "v1").await && world.has_manifest(REPOSITORY, digest).await);
    is_consistent(&world).await;
}

/// 10, and the tag's transaction is first.
#[tokio::test]
async fn a_tag_that_is_being_made_keeps_its_manifest() {
    let (world, digest, body) = with_untagged().await;
    let written = hold("manifest.written");
    let tag = puts(&world, "v1", OCI_MANIFEST, &body);
    written.arrived().await.unwrap();
    let mut collector = reviews(&world, Reviews::Manifest);
    if is_sqlite(&world) {
        collector.is_kept_waiting(&world).await;
    } else {
        assert_eq!(collector.ends().await.deleted, 0);
        collector = reviews(&world, Reviews::Blob);
    }

    written.release();

    tag.ends().await.unwrap();
    assert_eq!(collector.ends().await.deleted, 0);
    settle(&world).await;
    assert!(is_whole(&world, "v1").await && world.has_manifest(REPOSITORY, digest).await);
}

/// 11: an index of a child that is under review.
#[tokio::test]
async fn an_index_of_what_is_being_collected_waits_and_is_refused() {
    let (world, child, _) = with_untagged().await;
    let looked = hold("collector.rechecked");
    let collector = reviews(&world, Reviews::Manifest);
    looked.arrived().await.unwrap();
    let push = puts(&world, "list", OCI_INDEX, &index(&[child]));
    push.is_kept_waiting(&world).await;

    looked.release();

    assert_eq!(collector.ends().await.deleted, 1);
    assert!(matches!(push.ends().await, Err(Error::ReferencesUnknown(_))));
    settle(&world).await;
    is_empty(&world).await;
}

/// 11, and the index has looked first.
#[tokio::test]
async fn an_index_that_has_seen_its_child_keeps_it() {
    let (world, child, _) = with_untagged().await;
    let looked = hold("manifest.looked");
    let push = puts(&world, "list", OCI_INDEX, &index(&[child]));
    looked.arrived().await.unwrap();
    let mut collector = reviews(&world, Reviews::Manifest);
    if is_sqlite(&world) {
        collector.is_kept_waiting(&world).await;
    } else {
        assert_eq!(collector.ends().await.deleted, 0);
        collector = reviews(&world, Reviews::Blob);
    }

    looked.release();

    push.ends().await.unwrap();
    assert_eq!(collector.ends().await.deleted, 0);
    settle(&world).await;
    assert!(is_whole(&world, "list").await);
}

/// 12: the index is deleted and its child tagged at once, the deletion first.
#[tokio::test]
async fn a_child_that_is_tagged_while_its_index_is_deleted_stays() {
    let (world, child, body) = with_untagged().await;
    let list = index(&[child]);
    world.push_manifest(REPOSITORY, Some("list"), OCI_INDEX, &list).await;
    let held = hold("removal.held");
    let deletion = deletes(&world, &sha256(list.as_bytes()));
    held.arrived().await.unwrap();
    let tag = puts(&world, "v1", OCI_MANIFEST, &body);
    tag.waits_or_ends(&world).await;

    held.release();

    deletion.ends().await.unwrap();
    tag.ends().await.unwrap();
    settle(&world).await;
    assert!(is_whole(&world, "v1").await);
    assert!(!world.has_manifest(REPOSITORY, sha256(list.as_bytes())).await);
    world.delete(REPOSITORY, "v1").await;
    settle(&world).await;
    is_empty(&world).await;
}

/// 12, and the tag's transaction is first.
#[tokio::test]
async fn a_child_whose_tag_is_being_made_survives_the_deletion_of_its_index() {
    let (world, child, body) = with_untagged().await;
    let list = index(&[child]);
    world.push_manifest(REPOSITORY, Some("list"), OCI_INDEX, &list).await;
    let written = hold("manifest.written");
    let tag = puts(&world, "v1", OCI_MANIFEST, &body);
    written.arrived().await.unwrap();
    let deletion = deletes(&world, &sha256(list.as_bytes()));
    deletion.waits_or_ends(&world).await;

    written.release();

    tag.ends().await.unwrap();
    deletion.ends().await.unwrap();
    settle(&world).await;
    assert!(is_whole(&world, "v1").await);
}

/// 13: what refers to a subject comes before it, and the subject goes.
#[tokio::test]
async fn a_referrer_pushed_before_its_subject_lives_with_it_and_goes_with_it() {
    let world = World::hasty().await;
    let empty = world.push_blob(REPOSITORY, b"{}").await;
    let subject = image(&empty, &[]);
    let signature = artifact(&empty, "application/x.signature", &sha256(subject.as_bytes()));
    let written = hold("manifest.written");
    let early = puts(&world, &sha256(signature.as_bytes()), OCI_MANIFEST, &signature);
    written.arrived().await.unwrap();
    let late = puts(&world, "v1", OCI_MANIFEST, &subject);
    late.waits_or_ends(&world).await;
    written.release();
    early.ends().await.unwrap();
    late.ends().await.unwrap();

    settle(&world).await;
    assert!(
        is_whole(&world, sha256(signature.as_bytes())).await,
        "lives with its subject"
    );

    world.delete(REPOSITORY, "v1").await;
    later(&world);
    let looked = hold("collector.rechecked");
    let collector = reviews(&world, Reviews::Manifest);
    looked.arrived().await.unwrap();
    let again = puts(&world, &sha256(signature.as_bytes()), OCI_MANIFEST, &signature);
    again.waits_or_ends(&world).await;
    looked.release();
    collector.ends().await;
    again.ends().await.unwrap();

    settle(&world).await;
    is_empty(&world).await;
}

/// 14: the subject is deleted, and what refers to it goes, unless somebody names it at that moment.
#[tokio::test]
async fn a_referrer_that_is_tagged_while_it_follows_its_subject_stays() {
    let world = World::hasty().await;
    let empty = world.push_blob(REPOSITORY, b"{}").await;
    let subject = image(&empty, &[]);
    world
        .push_manifest(REPOSITORY, Some("v1"), OCI_MANIFEST, &subject)
        .await;
    let kinds = ["application/x.signature", "application/x.attestation"];
    let [saved, lost] = kinds.map(|kind| artifact(&empty, kind, &sha256(subject.as_bytes())));
    for body in [&saved, &lost] {
        world.push_manifest(REPOSITORY, None, OCI_MANIFEST, body).await;
    }
    let upon = artifact(&empty, "application/x.upon", &sha256(saved.as_bytes()));
    world.push_manifest(REPOSITORY, None, OCI_MANIFEST, &upon).await;
    settle(&world).await;
    assert_eq!(world.count("SELECT count(*) FROM manifests").await, 4);
    deletes(&world, &sha256(subject.as_bytes())).ends().await.unwrap();
    later(&world);
    let looked = hold("collector.rechecked");
    let collector = reviews(&world, Reviews::Manifest);
    looked.arrived().await.unwrap();
    let tag = puts(&world, "kept", OCI_MANIFEST, &saved);
    tag.is_kept_waiting(&world).await;

    looked.release();

    assert_eq!(collector.ends().await.deleted, 2);
    tag.ends().await.unwrap();
    assert!(is_whole(&world, "kept").await);
    settle(&world).await;
    assert!(is_whole(&world, "kept").await);
    assert!(!world.has_manifest(REPOSITORY, sha256(lost.as_bytes())).await);
}

/// 15: one blob as config and as layer.
#[tokio::test]
async fn a_blob_that_an_image_names_twice_goes_once_and_stays_for_the_next() {
    let world = World::hasty().await;
    let blob = world.push_blob(REPOSITORY, b"both").await;
    let twice = image(&blob, &[blob, blob]);
    let once = image(&blob, &[]);
    world
        .push_manifest(REPOSITORY, Some("twice"), OCI_MANIFEST, &twice)
        .await;
    later(&world);
    let held = hold("removal.held");
    let deletion = deletes(&world, &sha256(twice.as_bytes()));
    held.arrived().await.unwrap();
    let push = puts(&world, "once", OCI_MANIFEST, &once);
    push.waits_or_ends(&world).await;
    held.release();
    deletion.ends().await.unwrap();
    push.ends().await.unwrap();

    settle(&world).await;
    assert!(is_whole(&world, "once").await);
    world.delete(REPOSITORY, "once").await;
    settle(&world).await;

    is_empty(&world).await;
}

/// 16: a manifest whose bytes are a blob too.
#[tokio::test]
async fn a_manifest_and_a_blob_of_one_digest_do_not_keep_or_take_each_other() {
    let (world, digest, body) = with_untagged().await;
    world.push_blob(REPOSITORY, body.as_bytes()).await;
    let user = image(&digest, &[]);
    world.push_manifest(REPOSITORY, Some("user"), OCI_MANIFEST, &user).await;
    later(&world);

    world.collect().await;
    world.reap().await;

    assert!(
        !world.has_manifest(REPOSITORY, digest).await,
        "a layer's name is no reference to a manifest"
    );
    assert!(world.has_blob(REPOSITORY, digest).await);
    let blob = world.push_blob(REPOSITORY, b"the bytes").await;
    world
        .push_manifest(REPOSITORY, Some("v1"), OCI_MANIFEST, &image(&blob, &[]))
        .await;
    world.delete(REPOSITORY, "user").await;
    settle(&world).await;
    assert!(world.has_manifest(REPOSITORY, digest).await, "the same image, tagged");
    assert!(!world.has_blob(REPOSITORY, digest).await, "no blob any more");
    assert!(is_whole(&world, "v1").await);
}

/// 19: an index that lists itself, or what lists it.
#[tokio::test]
async fn an_index_cannot_list_itself_and_a_cycle_behind_our_back_stops_nobody() {
    let rules = Rules {
        sparse: Sparse::Index,
        ..Rules::default()
    };
    let world = World::new(hasty(), rules).await;
    let own = sha256(b"a guess");
    let wrong = puts(&world, &own, OCI_INDEX, &index(&[own])).ends().await;
    assert!(matches!(wrong, Err(Error::DigestMismatch(_))));
    let image = world.push_image(REPOSITORY, None, "x").await;
    let inner = world
        .push_manifest(REPOSITORY, None, OCI_INDEX, &index(&[image.manifest]))
        .await;
    world
        .push_manifest(REPOSITORY, Some("list"), OCI_INDEX, &index(&[inner]))
        .await;
    // The outer one lists the inner one; now the inner one lists the outer one too.
    world
        .execute(
            "INSERT INTO manifest_children (namespace_id, repository_id, parent_digest, child_digest)
             SELECT namespace_id, repository_id, child_digest, parent_digest FROM manifest_children
             WHERE parent_digest IN (SELECT manifest_digest FROM tags)",
        )
        .await;
    let loose = world.push_image(REPOSITORY, None, "loose").await;
    world.delete(REPOSITORY, "list").await;

    settle(&world).await;

    assert!(
        !world.has_manifest(REPOSITORY, loose.manifest).await,
        "the rest is collected"
    );
    assert!(is_whole(&world, inner).await || !world.has_manifest(REPOSITORY, inner).await);
    is_consistent(&world).await;
}
