//! Blobs that come while the same blob goes, or while their session ends.

use super::scene::{Actor, is_consistent, is_empty, is_sqlite, is_whole, later, puts, reaps, reviews, settle, uploads};
use crate::gc::world::{DAY, REPOSITORY, World, name};
use crate::support::content::{image, sha256};
use berth_registry::distribution::{BodyError, Chunk, Error, Reviews};
use berth_registry::staging::{hold, noted};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{StreamExt, stream};
use oci::media_type::OCI_MANIFEST;

const BYTES: &[u8] = b"the bytes";

/// The blob is there and nothing names it, and its promise is over.
fn with_garbage() -> BoxFuture<'static, World> {
    Box::pin(async {
        let world = World::hasty().await;
        world.push_blob(REPOSITORY, BYTES).await;
        later(&world);
        world
    })
}

async fn pulls_as_an_image(world: &World) {
    let body = image(&sha256(BYTES), &[]);
    world.push_manifest(REPOSITORY, Some("v1"), OCI_MANIFEST, &body).await;
    settle(world).await;
    assert!(is_whole(world, "v1").await);
    is_consistent(world).await;
}

/// 1: stat, collect, insert.
#[tokio::test]
async fn a_blob_collected_while_its_next_upload_has_all_bytes_is_the_next_upload_s() {
    let world = with_garbage().await;
    let received = hold("upload.received");
    let upload = uploads(&world, REPOSITORY, BYTES);
    received.arrived().await.unwrap();

    world.collect().await;
    world.reap().await;
    assert_eq!(world.count("SELECT count(*) FROM blobs").await, 0);
    received.release();

    upload.ends().await.unwrap();
    pulls_as_an_image(&world).await;
}

/// 1, the other way round.
#[tokio::test]
async fn a_blob_under_review_is_kept_by_an_upload_that_commits_first() {
    let world = with_garbage().await;
    let commits = hold("upload.commits");
    let upload = uploads(&world, REPOSITORY, BYTES);
    commits.arrived().await.unwrap();

    let mut collector = reviews(&world, Reviews::BlobLink);
    if is_sqlite(&world) {
        collector.is_kept_waiting(&world).await;
    } else {
        assert_eq!(collector.ends().await.deleted, 0, "what a push holds is passed over");
        collector = reviews(&world, Reviews::Blob);
    }
    commits.release();

    upload.ends().await.unwrap();
    assert_eq!(collector.ends().await.deleted, 0);
    assert!(world.has_blob(REPOSITORY, sha256(BYTES)).await);
    pulls_as_an_image(&world).await;
}

/// 1: the row goes while the upload waits for it.
#[tokio::test]
async fn an_upload_that_waits_for_a_collector_brings_the_blob_back() {
    let world = with_garbage().await;
    reviews(&world, Reviews::BlobLink).ends().await;
    let removed = hold("collector.deleted");
    let collector = reviews(&world, Reviews::Blob);
    removed.arrived().await.unwrap();
    let upload = uploads(&world, REPOSITORY, BYTES);
    upload.is_kept_waiting(&world).await;

    removed.release();

    assert_eq!(collector.ends().await.deleted, 1);
    upload.ends().await.unwrap();
    pulls_as_an_image(&world).await;
}

/// 5: duplicate uploads, and the first is rolled back.
#[tokio::test]
async fn of_two_uploads_the_second_makes_the_blob_when_the_first_is_rolled_back() {
    let world = World::hasty().await;
    let commits = hold("upload.commits");
    let first = uploads(&world, REPOSITORY, BYTES);
    commits.arrived().await.unwrap();
    let second = uploads(&world, REPOSITORY, BYTES);
    second.is_kept_waiting(&world).await;

    first.dies().await;

    second.ends().await.unwrap();
    assert!(world.has_blob(REPOSITORY, sha256(BYTES)).await);
    pulls_as_an_image(&world).await;
    world.clock.advance(2 * DAY);
    world.distribution.sweep_uploads().await.unwrap();
    settle(&world).await;
    assert!(
        world.files().is_none_or(|files| files == 1),
        "nothing of the first is left"
    );
}

/// 5, and the first commits.
#[tokio::test]
async fn of_two_uploads_the_second_keeps_the_blob_of_the_first_and_buries_its_own() {
    let world = World::hasty().await;
    let commits = hold("upload.commits");
    let first = uploads(&world, REPOSITORY, BYTES);
    commits.arrived().await.unwrap();
    let second = uploads(&world, REPOSITORY, BYTES);
    second.is_kept_waiting(&world).await;

    commits.release();

    first.ends().await.unwrap();
    second.ends().await.unwrap();
    assert_eq!(
        world
            .count("SELECT count(*) FROM tombstones WHERE reason = 'duplicate'")
            .await,
        1
    );
    pulls_as_an_image(&world).await;
    assert!(world.files().is_none_or(|files| files == 1));
}

/// 6: the session expires between the last byte and the end.
#[tokio::test]
async fn an_upload_whose_session_expires_before_it_is_committed_becomes_no_blob() {
    let world = World::hasty().await;
    let received = hold("upload.received");
    let upload = uploads(&world, REPOSITORY, BYTES);
    received.arrived().await.unwrap();
    world.clock.advance(2 * DAY);

    let swept = world.distribution.sweep_uploads().await.unwrap();
    received.release();

    assert_eq!(swept.expired, 1);
    assert!(upload.ends().await.is_err());
    assert_eq!(world.count("SELECT count(*) FROM blobs").await, 0);
    settle(&world).await;
    is_empty(&world).await;
    world.push_blob(REPOSITORY, BYTES).await;
    pulls_as_an_image(&world).await;
}

/// 7: the bytes come after the session's end.
#[tokio::test]
async fn bytes_that_come_after_the_session_expired_are_no_blob_and_do_not_stay() {
    let world = World::hasty().await;
    let upload = world.distribution.start_upload(&name(REPOSITORY)).await.unwrap();
    let (send, receive) = tokio::sync::oneshot::channel::<()>();
    let (begun, has_begun) = tokio::sync::oneshot::channel::<()>();
    let distribution = world.distribution.clone();
    let writer = Actor::start(async move {
        let late = async move {
            begun.send(()).ok();
            receive.await.ok();
            Ok::<Bytes, BodyError>(Bytes::from_static(BYTES))
        };
        let chunk = Chunk {
            range: None,
            length: None,
            body: stream::once(late).boxed(),
        };
        let repository = name(REPOSITORY);
        let end = distribution.finish_upload(&repository, upload.id, sha256(BYTES), chunk);
        end.await
    });
    has_begun.await.unwrap();
    world.clock.advance(2 * DAY);
    assert_eq!(world.distribution.sweep_uploads().await.unwrap().expired, 1);
    world.reap().await;

    send.send(()).unwrap();

    assert!(writer.ends().await.is_err());
    assert_eq!(world.count("SELECT count(*) FROM blobs").await, 0);
    settle(&world).await;
    is_empty(&world).await;
}

/// 8: the reaper deletes late, after the blob came back.
#[tokio::test]
async fn a_late_deletion_of_the_old_object_leaves_the_blob_that_came_back() {
    let world = with_garbage().await;
    world.collect().await;
    let claimed = hold("reaper.claimed");
    let reaper = reaps(&world);
    claimed.arrived().await.unwrap();

    world.push_blob(REPOSITORY, BYTES).await;
    claimed.release();

    assert_eq!(reaper.ends().await.deleted, 1);
    assert!(world.has_blob(REPOSITORY, sha256(BYTES)).await);
    pulls_as_an_image(&world).await;
}

/// 8: the reaper dies with its claim, and comes back after another has done its work and the blob is back.
#[tokio::test]
async fn a_reaper_that_was_frozen_harms_no_blob_that_came_back() {
    let world = with_garbage().await;
    world.collect().await;
    let claimed = hold("reaper.claimed");
    let frozen = reaps(&world);
    claimed.arrived().await.unwrap();
    later(&world);
    assert_eq!(world.reap().await.deleted, 1, "another takes it over");
    world.push_blob(REPOSITORY, BYTES).await;

    claimed.release();

    frozen.ends().await;
    assert!(world.has_blob(REPOSITORY, sha256(BYTES)).await);
    pulls_as_an_image(&world).await;
}

/// 17: nothing as a blob.
#[tokio::test]
async fn the_empty_blob_goes_and_comes_back_like_any_other() {
    let world = World::hasty().await;
    let empty = world.push_blob(REPOSITORY, b"").await;
    later(&world);
    let received = hold("upload.received");
    let upload = uploads(&world, REPOSITORY, b"");
    received.arrived().await.unwrap();
    world.collect().await;
    world.reap().await;
    assert_eq!(world.count("SELECT count(*) FROM blobs").await, 0);
    received.release();
    upload.ends().await.unwrap();

    let body = image(&empty, &[empty]);
    world.push_manifest(REPOSITORY, Some("v1"), OCI_MANIFEST, &body).await;
    settle(&world).await;

    assert!(is_whole(&world, "v1").await);
    world.delete(REPOSITORY, "v1").await;
    settle(&world).await;
    is_empty(&world).await;
}

/// 18: the empty JSON that everybody has.
#[tokio::test]
async fn a_blob_that_everybody_shares_survives_all_but_the_last_of_its_users() {
    let world = World::hasty().await;
    let repositories = ["a/app", "b/app", "c/app"];
    let empty = sha256(b"{}");
    let body = image(&empty, &[]);
    for repository in repositories {
        world.push_blob(repository, b"{}").await;
        world.push_manifest(repository, Some("v1"), OCI_MANIFEST, &body).await;
    }
    for repository in &repositories[1..] {
        world.delete(repository, "v1").await;
    }
    later(&world);
    let looked = hold("collector.rechecked");
    let collector = reviews(&world, Reviews::Manifest);
    looked.arrived().await.unwrap();
    let push = uploads(&world, "d/app", b"{}");
    push.waits_or_ends(&world).await;
    looked.release();
    collector.ends().await;
    push.ends().await.unwrap();

    world.collect().await;
    world.reap().await;

    assert!(world.has_blob("a/app", empty).await);
    assert!(!world.has_blob("b/app", empty).await);
    world.delete("a/app", "v1").await;
    settle(&world).await;
    is_empty(&world).await;
}

/// A tag for what was never uploaded is refused, whatever is under way.
#[tokio::test]
async fn a_manifest_of_a_blob_whose_upload_has_not_committed_is_refused() {
    let world = World::hasty().await;
    let received = hold("upload.received");
    let upload = uploads(&world, REPOSITORY, BYTES);
    received.arrived().await.unwrap();

    let refused = puts(&world, "v1", OCI_MANIFEST, &image(&sha256(BYTES), &[]))
        .ends()
        .await;

    assert!(matches!(refused, Err(Error::ReferencesUnknown(_))));
    received.release();
    upload.ends().await.unwrap();
    is_consistent(&world).await;
}

/// The bytes are durable, and so is the name of their file, before a row says that they are there.
#[tokio::test]
async fn file_and_folder_are_synced_before_the_commit() {
    let world = World::hasty().await;
    drop(noted());

    uploads(&world, REPOSITORY, BYTES).ends().await.unwrap();

    let notes = noted();
    let at = |wanted: &str| notes.iter().position(|note| *note == wanted);
    let commits = at("upload.commits").unwrap();
    if world.files().is_some() {
        assert!(at("file.synced").is_some_and(|synced| synced < commits), "{notes:?}");
        assert!(at("folder.synced").is_some_and(|synced| synced < commits), "{notes:?}");
    }
    pulls_as_an_image(&world).await;
}

/// A reaper dies between its claim and the store.
#[tokio::test]
async fn an_object_whose_reaper_died_is_deleted_by_the_next() {
    let world = with_garbage().await;
    world.collect().await;
    let claimed = hold("reaper.claimed");
    let reaper = reaps(&world);
    claimed.arrived().await.unwrap();

    reaper.dies().await;
    drop(claimed);
    settle(&world).await;

    is_empty(&world).await;
}

/// A collector dies between its last statement and its commit.
#[tokio::test]
async fn a_collector_that_dies_before_its_commit_leaves_the_blob_whole() {
    let world = with_garbage().await;
    reviews(&world, Reviews::BlobLink).ends().await;
    let deleted = hold("collector.deleted");
    let collector = reviews(&world, Reviews::Blob);
    deleted.arrived().await.unwrap();

    collector.dies().await;
    drop(deleted);

    world.push_blob(REPOSITORY, BYTES).await;
    assert!(world.has_blob(REPOSITORY, sha256(BYTES)).await);
    pulls_as_an_image(&world).await;
}
