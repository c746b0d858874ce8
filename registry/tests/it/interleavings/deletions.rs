//! Deletions by clients while others push.

use super::scene::{
    Actor, deletes, is_consistent, is_empty, is_sqlite, is_whole, later, puts, reviews, settle, uploads,
};
use crate::gc::world::{REPOSITORY, World, name};
use crate::support::content::{image, sha256};
use berth_registry::distribution::{Erased, Reviews};
use berth_registry::staging::hold;
use oci::media_type::OCI_MANIFEST;

/// 24: a tag is made while its manifest is deleted by digest, the deletion first.
#[tokio::test]
async fn a_tag_made_while_its_manifest_is_deleted_brings_the_manifest_back() {
    let world = World::hasty().await;
    let blob = world.push_blob(REPOSITORY, b"the bytes").await;
    let body = image(&blob, &[]);
    world.push_manifest(REPOSITORY, Some("v1"), OCI_MANIFEST, &body).await;
    let held = hold("removal.held");
    let deletion = deletes(&world, &sha256(body.as_bytes()));
    held.arrived().await.unwrap();
    let tag = puts(&world, "v2", OCI_MANIFEST, &body);
    tag.is_kept_waiting(&world).await;

    held.release();

    deletion.ends().await.unwrap();
    tag.ends().await.unwrap();
    settle(&world).await;
    assert!(is_whole(&world, "v2").await);
    assert!(!is_whole(&world, "v1").await);
    is_consistent(&world).await;
}

/// 24, and the tag's transaction is first: the deletion takes it with it.
#[tokio::test]
async fn a_deletion_by_digest_takes_the_tag_that_was_made_before_it() {
    let world = World::hasty().await;
    let blob = world.push_blob(REPOSITORY, b"the bytes").await;
    let body = image(&blob, &[]);
    world.push_manifest(REPOSITORY, Some("v1"), OCI_MANIFEST, &body).await;
    let written = hold("manifest.written");
    let tag = puts(&world, "v2", OCI_MANIFEST, &body);
    written.arrived().await.unwrap();
    let deletion = deletes(&world, &sha256(body.as_bytes()));
    deletion.is_kept_waiting(&world).await;

    written.release();

    tag.ends().await.unwrap();
    deletion.ends().await.unwrap();
    assert_eq!(world.count("SELECT count(*) FROM tags").await, 0);
    settle(&world).await;
    is_empty(&world).await;
}

/// 23: two collectors, and one freezes in the middle.
#[tokio::test]
async fn a_frozen_collector_stops_no_other_and_finishes_or_dies_without_harm() {
    let world = World::hasty().await;
    for seed in ["a", "b"] {
        world.push_image(REPOSITORY, Some(seed), seed).await;
        world.delete(REPOSITORY, seed).await;
    }
    let kept = world.push_image(REPOSITORY, Some("kept"), "kept").await;
    later(&world);
    let looked = hold("collector.rechecked");
    let frozen = reviews(&world, Reviews::Manifest);
    looked.arrived().await.unwrap();
    world_goes_on(&world).await;

    frozen.dies().await;
    drop(looked);

    // PostgreSQL hears of the death a little later.
    let mut deleted = 0;
    for _ in 0..500 {
        deleted += reviews(&world, Reviews::Manifest).ends().await.deleted;
        if deleted == 2 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(deleted, 2, "what it held is free again");
    settle(&world).await;
    assert!(world.has_manifest(REPOSITORY, kept.manifest).await && world.has_blob(REPOSITORY, kept.layer).await);
    let meanwhile = i64::from(!is_sqlite(&world));
    assert_eq!(world.count("SELECT count(*) FROM manifests").await, 1 + meanwhile);
    is_consistent(&world).await;
}

/// On SQLite the one writer is the frozen one's; on PostgreSQL everybody else goes on.
async fn world_goes_on(world: &World) {
    let other = reviews(world, Reviews::Manifest);
    if is_sqlite(world) {
        other.is_kept_waiting(world).await;
        other.dies().await;
        return;
    }
    assert_eq!(other.ends().await.reviewed, 0, "another does not take the same");
    let image = world.push_image("other/app", Some("v1"), "meanwhile").await;
    assert!(world.has_manifest("other/app", image.manifest).await);
}

/// Removes what is left of deleted repositories, as far as it can.
async fn erase(world: &World) {
    for _ in 0..100 {
        match world.distribution.erase_some().await.unwrap() {
            Erased::Nothing | Erased::Held => return,
            Erased::Some | Erased::Last(_) => {}
        }
    }
}

/// 20: a repository is deleted while somebody pushes to it, and is there again.
#[tokio::test]
async fn a_push_into_a_repository_that_is_being_deleted_is_whole_or_refused() {
    let world = World::hasty().await;
    let blob = world.push_blob(REPOSITORY, b"the bytes").await;
    let old = image(&blob, &[]);
    world.push_manifest(REPOSITORY, Some("old"), OCI_MANIFEST, &old).await;
    let written = hold("manifest.written");
    let push = puts(&world, "v1", OCI_MANIFEST, &image(&blob, &[blob]));
    written.arrived().await.unwrap();
    let distribution = world.distribution.clone();
    let deletion = Actor::start(async move { distribution.delete_repository(&name(REPOSITORY)).await.map(drop) });
    deletion.is_kept_waiting(&world).await;

    written.release();

    push.ends().await.unwrap();
    deletion.ends().await.unwrap();
    assert!(
        !is_whole(&world, "v1").await && !is_whole(&world, "old").await,
        "deleted after the push"
    );
    erase(&world).await;
    let again = puts(&world, "v1", OCI_MANIFEST, &image(&blob, &[])).ends().await;
    assert!(again.is_err(), "the new repository does not have the old one's blobs");
    world.push_blob(REPOSITORY, b"the bytes").await;
    world.push_manifest(REPOSITORY, Some("v1"), OCI_MANIFEST, &old).await;
    erase(&world).await;
    settle(&world).await;
    assert!(is_whole(&world, "v1").await);
    assert_eq!(world.count("SELECT count(*) FROM repositories").await, 1);
    is_consistent(&world).await;
}

/// 20: the repository is made again while the old one's rows go.
#[tokio::test]
async fn a_repository_made_again_while_the_old_one_goes_keeps_all_of_its_own() {
    let world = World::hasty().await;
    let old = world.push_image(REPOSITORY, Some("v1"), "shared").await;
    world.distribution.delete_repository(&name(REPOSITORY)).await.unwrap();
    let taken = hold("eraser.taken");
    let distribution = world.distribution.clone();
    let eraser = Actor::start(async move { distribution.erase_some().await.map(drop) });
    taken.arrived().await.unwrap();
    let upload = uploads(&world, REPOSITORY, b"layer of shared");
    upload.waits_or_ends(&world).await;

    taken.release();

    eraser.ends().await.unwrap();
    upload.ends().await.unwrap();
    let body = image(&old.layer, &[]);
    world.push_manifest(REPOSITORY, Some("v2"), OCI_MANIFEST, &body).await;
    erase(&world).await;
    settle(&world).await;
    assert!(is_whole(&world, "v2").await);
    assert!(!world.has_manifest(REPOSITORY, old.manifest).await);
    is_consistent(&world).await;
    world.distribution.delete_repository(&name(REPOSITORY)).await.unwrap();
    erase(&world).await;
    settle(&world).await;
    is_empty(&world).await;
}
