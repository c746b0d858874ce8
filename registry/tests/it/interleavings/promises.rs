//! "You need not upload this", and the collector at the same time.

use super::scene::{asks, deletes, is_consistent, is_empty, is_sqlite, is_whole, later, mounts, puts, reviews, settle};
use crate::gc::world::{HOUR, REPOSITORY, World, hasty};
use crate::support::content::{image, sha256};
use berth_registry::distribution::{Error, Limits, Reviews, Rules};
use berth_registry::staging::hold;
use futures::future::BoxFuture;
use oci::media_type::OCI_MANIFEST;

const BYTES: &[u8] = b"the bytes";
const ELSEWHERE: &str = "other/app";

/// A blob that nothing names, of which nothing is promised any more; promises last an hour.
fn with_garbage() -> BoxFuture<'static, World> {
    Box::pin(async {
        let limits = Limits { lease: HOUR, ..hasty() };
        let world = World::new(limits, Rules::default()).await;
        world.push_blob(REPOSITORY, BYTES).await;
        later(&world);
        later(&world);
        world
    })
}

/// 2: check, commit, delete.
#[tokio::test]
async fn a_manifest_that_comes_between_look_and_deletion_waits_and_is_refused() {
    let world = with_garbage().await;
    let looked = hold("collector.rechecked");
    let collector = reviews(&world, Reviews::BlobLink);
    looked.arrived().await.unwrap();
    let put = puts(&world, "v1", OCI_MANIFEST, &image(&sha256(BYTES), &[]));
    put.is_kept_waiting(&world).await;

    looked.release();

    assert_eq!(collector.ends().await.deleted, 1);
    assert!(
        matches!(put.ends().await, Err(Error::ReferencesUnknown(_))),
        "not stored without its blob"
    );
    assert_eq!(world.count("SELECT count(*) FROM manifests").await, 0);
    settle(&world).await;
    is_consistent(&world).await;
}

/// 2, the other way round.
#[tokio::test]
async fn a_link_under_review_is_kept_by_a_manifest_that_commits_first() {
    let world = with_garbage().await;
    let written = hold("manifest.written");
    let put = puts(&world, "v1", OCI_MANIFEST, &image(&sha256(BYTES), &[]));
    written.arrived().await.unwrap();
    let mut collector = reviews(&world, Reviews::BlobLink);
    if is_sqlite(&world) {
        collector.is_kept_waiting(&world).await;
    } else {
        assert_eq!(collector.ends().await.deleted, 0, "what a push holds is passed over");
        collector = reviews(&world, Reviews::Blob);
    }

    written.release();

    put.ends().await.unwrap();
    assert_eq!(collector.ends().await.deleted, 0);
    settle(&world).await;
    assert!(is_whole(&world, "v1").await);
}

/// 3: HEAD, the last reference goes, collect, PUT.
#[tokio::test]
async fn a_client_that_was_told_of_a_blob_finds_it_after_its_last_manifest_is_collected() {
    let world = with_garbage().await;
    world.push_blob(REPOSITORY, b"{}").await;
    let old = image(&sha256(BYTES), &[]);
    world.push_manifest(REPOSITORY, Some("old"), OCI_MANIFEST, &old).await;
    later(&world);
    assert!(asks(&world, REPOSITORY, sha256(BYTES)).ends().await);

    deletes(&world, &sha256(old.as_bytes())).ends().await.unwrap();
    world.collect().await;
    world.reap().await;
    world.push_blob(REPOSITORY, b"{}").await;
    let new = image(&sha256(b"{}"), &[sha256(BYTES)]);
    let put = puts(&world, "new", OCI_MANIFEST, &new).ends().await;

    put.unwrap();
    settle(&world).await;
    assert!(is_whole(&world, "new").await);
}

/// 3: between the look of a HEAD and its promise.
#[tokio::test]
async fn a_blob_that_goes_between_look_and_promise_is_not_promised() {
    let world = with_garbage().await;
    let found = hold("promise.found");
    let head = asks(&world, REPOSITORY, sha256(BYTES));
    found.arrived().await.unwrap();

    world.collect().await;
    found.release();

    assert!(!head.ends().await);
    assert!(!world.has_blob(REPOSITORY, sha256(BYTES)).await);
}

/// 3: the promise and the review at once, the promise first.
#[tokio::test]
async fn a_promise_that_is_being_made_is_waited_for_or_passed_over() {
    let world = with_garbage().await;
    let kept = hold("promise.kept");
    let head = asks(&world, REPOSITORY, sha256(BYTES));
    kept.arrived().await.unwrap();
    let mut collector = reviews(&world, Reviews::BlobLink);
    if is_sqlite(&world) {
        collector.is_kept_waiting(&world).await;
    } else {
        assert_eq!(collector.ends().await.deleted, 0);
        collector = reviews(&world, Reviews::Blob);
    }

    kept.release();

    assert!(head.ends().await);
    assert_eq!(collector.ends().await.deleted, 0);
    world.clock.advance(HOUR / 2);
    world.collect().await;
    let put = puts(&world, "v1", OCI_MANIFEST, &image(&sha256(BYTES), &[]))
        .ends()
        .await;
    put.unwrap();
    settle(&world).await;
    assert!(is_whole(&world, "v1").await);
}

/// 3: the promise and the review at once, the review first.
#[tokio::test]
async fn a_promise_waits_for_a_collector_that_holds_the_link_and_is_not_made() {
    let world = with_garbage().await;
    let looked = hold("collector.rechecked");
    let collector = reviews(&world, Reviews::BlobLink);
    looked.arrived().await.unwrap();
    let head = asks(&world, REPOSITORY, sha256(BYTES));
    head.is_kept_waiting(&world).await;

    looked.release();

    assert_eq!(collector.ends().await.deleted, 1);
    assert!(!head.ends().await, "told to upload");
}

/// 4: mount and collect, the mount's look first.
#[tokio::test]
async fn a_blob_that_goes_between_look_and_mount_is_not_mounted() {
    let world = with_garbage().await;
    let found = hold("mount.found");
    let mount = mounts(&world, ELSEWHERE, sha256(BYTES));
    found.arrived().await.unwrap();

    world.collect().await;
    world.reap().await;
    found.release();

    assert!(!mount.ends().await);
    is_consistent(&world).await;
}

/// 4: mount and collect, the mount's lock first.
#[tokio::test]
async fn a_blob_that_is_being_mounted_stays_for_who_mounts_it() {
    let world = with_garbage().await;
    reviews(&world, Reviews::BlobLink).ends().await;
    let elsewhere = world.push_blob("third/app", BYTES).await;
    let kept = hold("mount.kept");
    let mount = mounts(&world, ELSEWHERE, elsewhere);
    kept.arrived().await.unwrap();
    let mut collector = reviews(&world, Reviews::Blob);
    if is_sqlite(&world) {
        collector.is_kept_waiting(&world).await;
    } else {
        assert_eq!(collector.ends().await.deleted, 0);
        collector = reviews(&world, Reviews::Manifest);
    }

    kept.release();

    assert!(mount.ends().await);
    collector.ends().await;
    world.clock.advance(HOUR / 2);
    world.collect().await;
    world.reap().await;
    assert!(world.has_blob(ELSEWHERE, elsewhere).await);
}

/// 4: the link that a mount finds there is under review.
#[tokio::test]
async fn a_mount_of_what_the_repository_has_waits_for_a_collector_that_takes_it() {
    let world = with_garbage().await;
    world.push_blob(ELSEWHERE, BYTES).await;
    let looked = hold("collector.rechecked");
    let collector = reviews(&world, Reviews::BlobLink);
    looked.arrived().await.unwrap();
    let mount = mounts(&world, REPOSITORY, sha256(BYTES));
    mount.is_kept_waiting(&world).await;

    looked.release();

    assert_eq!(collector.ends().await.deleted, 1);
    assert!(mount.ends().await, "from the other repository");
    world.clock.advance(HOUR / 2);
    world.collect().await;
    let put = puts(&world, "v1", OCI_MANIFEST, &image(&sha256(BYTES), &[]))
        .ends()
        .await;
    put.unwrap();
    settle(&world).await;
    assert!(is_whole(&world, "v1").await);
}

/// 3: the promise is made between the collector's start and its lock.
#[tokio::test]
async fn a_promise_made_before_the_lock_is_seen_after_it() {
    let world = with_garbage().await;
    let locks = hold("collector.locks");
    let collector = reviews(&world, Reviews::BlobLink);
    locks.arrived().await.unwrap();
    let head = asks(&world, REPOSITORY, sha256(BYTES));
    head.waits_or_ends(&world).await;

    locks.release();

    let deleted = collector.ends().await.deleted;
    let promised = head.ends().await;
    assert_eq!(promised, deleted == 0, "promised and collected");
    assert_eq!(
        promised,
        !is_sqlite(&world),
        "on SQLite the collector is the one writer"
    );
    assert_eq!(world.has_blob(REPOSITORY, sha256(BYTES)).await, promised);
}

/// 3, and the client never comes back.
#[tokio::test]
async fn a_promise_that_is_forgotten_lets_the_blob_go() {
    let world = with_garbage().await;
    assert!(asks(&world, REPOSITORY, sha256(BYTES)).ends().await);
    world.collect().await;
    assert!(world.has_blob(REPOSITORY, sha256(BYTES)).await);

    settle(&world).await;

    is_empty(&world).await;
}
