//! Objects that no row names any more.

use super::world::{DAY, HOUR, REPOSITORY, World, hasty, name};
use berth_registry::distribution::{Limits, Rules};
use std::time::Duration;

#[tokio::test]
async fn what_a_cancelled_or_expired_upload_left_is_deleted_from_the_store() {
    let world = World::patient().await;
    let upload = world.distribution.start_upload(&name(REPOSITORY)).await.unwrap();
    let part = super::world::chunk(b"some bytes");
    world
        .distribution
        .append(&name(REPOSITORY), upload.id, part)
        .await
        .unwrap();
    world.clock.advance(2 * DAY);
    world.distribution.sweep_uploads().await.unwrap();
    assert_eq!(world.reap().await.deleted, 0, "somebody may still write");

    world.clock.advance(2 * DAY);
    let reaped = world.reap().await;

    assert!(reaped.deleted > 0 && reaped.errors == 0);
    assert!(world.files().is_none_or(|files| files == 0));
    assert_eq!(world.count("SELECT count(*) FROM tombstones").await, 0);
}

#[tokio::test]
async fn the_object_of_an_ended_upload_waits_for_late_writers_whatever_the_settings_say() {
    let world = World::hasty().await;
    let upload = world.distribution.start_upload(&name(REPOSITORY)).await.unwrap();
    world
        .distribution
        .cancel_upload(&name(REPOSITORY), upload.id)
        .await
        .unwrap();

    world.clock.advance(Duration::from_secs(59));
    assert_eq!(world.reap().await.claimed, 0);
    world.clock.advance(Duration::from_secs(2));
    assert_eq!(world.reap().await.deleted, 1);
}

#[tokio::test]
async fn an_object_that_is_gone_already_counts_as_deleted() {
    let world = World::hasty().await;
    world
        .execute(
            "INSERT INTO tombstones (object_key, size, reason, attempts, not_before, created_at)
             VALUES ('blobs/00/nothing', 0, 'duplicate', 0, 1, 1)",
        )
        .await;

    let reaped = world.reap().await;

    assert_eq!((reaped.deleted, reaped.errors), (1, 0));
}

#[tokio::test]
async fn an_object_that_the_store_does_not_delete_is_tried_again_later_and_the_others_go() {
    let world = World::hasty().await;
    let Some(_) = world.files() else {
        // What a folder refuses, no bucket does.
        return;
    };
    let blob = world.push_blob(REPOSITORY, b"bytes").await;
    world.clock.advance(HOUR);
    world.collect().await;
    // A folder where the file should be cannot be unlinked.
    let berth_registry::config::Storage::Filesystem { root } = &world.config.storage else {
        return;
    };
    std::fs::create_dir_all(root.join("blobs/00/stuck/inside")).unwrap();
    world
        .execute(
            "INSERT INTO tombstones (object_key, size, reason, attempts, not_before, created_at)
             VALUES ('blobs/00/stuck', 0, 'duplicate', 0, 1, 1)",
        )
        .await;

    let reaped = world.reap().await;

    assert_eq!((reaped.deleted, reaped.errors), (1, 1));
    assert!(!world.has_blob(REPOSITORY, blob).await);
    assert_eq!(world.reap().await.claimed, 0, "not at once");

    std::fs::remove_dir_all(root.join("blobs/00/stuck")).unwrap();
    world.clock.advance(Duration::from_secs(10));
    assert_eq!(world.reap().await.deleted, 1);
}

#[tokio::test]
async fn a_reaper_that_died_in_the_middle_leaves_its_objects_to_the_next() {
    let world = World::new(
        Limits {
            quarantine: Duration::ZERO,
            ..hasty()
        },
        Rules::default(),
    )
    .await;
    world.push_blob(REPOSITORY, b"bytes").await;
    world.clock.advance(HOUR);
    world.collect().await;
    let now = world.clock.now();
    let mut tx = world.metadata.begin().await.unwrap();
    let claimed = berth_registry::metadata::tombstones::claim(&mut tx, now, now + 600_000_000, 10).await;
    assert_eq!(claimed.unwrap().len(), 1);
    tx.commit().await.unwrap();

    assert_eq!(world.reap().await.claimed, 0, "it is another's");
    world.clock.advance(Duration::from_mins(11));

    assert_eq!(world.reap().await.deleted, 1);
}

#[tokio::test]
async fn an_object_that_a_reaper_has_set_out_for_never_becomes_a_blob_whatever_the_clocks_say() {
    use berth_registry::metadata::tombstones;
    let world = World::hasty().await;
    world
        .execute(
            "INSERT INTO tombstones (object_key, size, reason, attempts, not_before, created_at)
             VALUES ('blobs/00/key', 0, 'superseded_upload', 0, 500, 1)",
        )
        .await;
    let remove = async |now| {
        let mut tx = world.metadata.begin().await.unwrap();
        let removed = tombstones::remove(&mut tx, "blobs/00/key", now).await.unwrap();
        if removed {
            tx.commit().await.unwrap();
        }
        removed
    };
    assert!(!remove(500).await, "a reaper may be at it");
    while world.distribution.reap(10).await.unwrap().claimed == 0 {
        // The transaction that was given up is being taken back.
        tokio::task::yield_now().await;
    }
    world
        .execute(
            "INSERT INTO tombstones (object_key, size, reason, attempts, not_before, created_at)
             VALUES ('blobs/00/key', 0, 'superseded_upload', 0, 500, 1)",
        )
        .await;
    let mut tx = world.metadata.begin().await.unwrap();
    tombstones::claim(&mut tx, 1000, 2000, 10).await.unwrap();
    tx.commit().await.unwrap();

    assert!(!remove(0).await, "a clock that is behind the reaper's");
}

#[tokio::test]
async fn an_object_that_no_reaper_has_set_out_for_can_become_a_blob() {
    use berth_registry::metadata::tombstones;
    let world = World::hasty().await;
    world
        .execute(
            "INSERT INTO tombstones (object_key, size, reason, attempts, not_before, created_at)
             VALUES ('blobs/00/key', 0, 'superseded_upload', 0, 500, 1)",
        )
        .await;

    let mut tx = world.metadata.begin().await.unwrap();
    assert!(tombstones::remove(&mut tx, "blobs/00/key", 499).await.unwrap());
    tx.commit().await.unwrap();

    assert_eq!(world.reap().await.claimed, 0);
}
