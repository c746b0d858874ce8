//! A database that is not what it was: a copy that lagged behind took its place, or a backup was restored.

use super::scene::{Actor, is_consistent, is_whole, later, mounts, settle};
use crate::gc::world::{DAY, REPOSITORY, World, hasty};
use crate::support::content::image;
use berth_registry::distribution::{Limits, Rules};
use berth_registry::staging::hold;
use oci::media_type::OCI_MANIFEST;

/// Keeps what the database has.
const COPY: &str = "
    CREATE TABLE copy_reviews AS SELECT * FROM reviews;
    CREATE TABLE copy_tombstones AS SELECT * FROM tombstones;
    CREATE TABLE copy_leases AS SELECT * FROM blob_leases;
    CREATE TABLE copy_sessions AS SELECT * FROM upload_sessions;
    CREATE TABLE copy_blobs AS SELECT * FROM blobs;
    CREATE TABLE copy_links AS SELECT * FROM blob_links;
    CREATE TABLE copy_manifests AS SELECT * FROM manifests;
    CREATE TABLE copy_manifest_blobs AS SELECT * FROM manifest_blobs;
    CREATE TABLE copy_tags AS SELECT * FROM tags;";
/// What was kept is all there is.
const RESTORE: &str = "
    DELETE FROM tags;
    DELETE FROM manifest_blobs;
    DELETE FROM manifests;
    DELETE FROM blob_links;
    DELETE FROM blobs;
    DELETE FROM upload_sessions;
    DELETE FROM blob_leases;
    DELETE FROM tombstones;
    DELETE FROM reviews;
    INSERT INTO reviews SELECT * FROM copy_reviews;
    INSERT INTO tombstones SELECT * FROM copy_tombstones;
    INSERT INTO blob_leases SELECT * FROM copy_leases;
    INSERT INTO upload_sessions SELECT * FROM copy_sessions;
    INSERT INTO blobs SELECT * FROM copy_blobs;
    INSERT INTO blob_links SELECT * FROM copy_links;
    INSERT INTO manifests SELECT * FROM copy_manifests;
    INSERT INTO manifest_blobs SELECT * FROM copy_manifest_blobs;
    INSERT INTO tags SELECT * FROM copy_tags;";

/// 21: a copy takes the database's place between the collector's commit and the reaper.
#[tokio::test]
async fn rows_that_come_back_with_a_lagging_copy_still_have_their_objects() {
    let limits = Limits {
        quarantine: DAY,
        ..hasty()
    };
    let world = World::new(limits, Rules::default()).await;
    let image = world.push_image(REPOSITORY, Some("v1"), "x").await;
    world.execute(COPY).await;
    world.delete(REPOSITORY, "v1").await;
    later(&world);
    world.collect().await;
    assert_eq!(world.count("SELECT count(*) FROM blobs").await, 0);
    for _ in 0..20 {
        later(&world);
        assert_eq!(world.reap().await.deleted, 0, "as long as a copy may lag behind");
    }

    world.execute(RESTORE).await;
    settle(&world).await;

    assert!(is_whole(&world, "v1").await);
    assert!(world.has_blob(REPOSITORY, image.layer).await);
    world.clock.advance(2 * DAY);
    settle(&world).await;
    assert!(is_whole(&world, "v1").await);
    is_consistent(&world).await;
}

/// 22: a backup with a tombstone whose object went after it.
#[tokio::test]
async fn a_backup_with_tombstones_of_objects_that_are_gone_harms_nothing() {
    let world = World::hasty().await;
    let blob = world.push_blob(REPOSITORY, b"the bytes").await;
    later(&world);
    world.collect().await;
    assert_eq!(world.count("SELECT count(*) FROM tombstones").await, 1);
    world.execute(COPY).await;
    assert_eq!(world.reap().await.deleted, 1);
    let body = image(&world.push_blob(REPOSITORY, b"the bytes").await, &[]);
    world.push_manifest(REPOSITORY, Some("lost"), OCI_MANIFEST, &body).await;

    world.execute(RESTORE).await;
    let reaped = world.reap().await;

    assert_eq!((reaped.deleted, reaped.errors), (1, 0), "gone already is done");
    assert!(!world.has_blob(REPOSITORY, blob).await);
    world.push_blob(REPOSITORY, b"the bytes").await;
    world.push_manifest(REPOSITORY, Some("v1"), OCI_MANIFEST, &body).await;
    settle(&world).await;
    assert!(is_whole(&world, "v1").await);
    assert!(
        world.files().is_none_or(|files| files == 2),
        "and one that no row knows"
    );
}

/// 22: the reaper is in the middle when the backup is restored.
#[tokio::test]
async fn a_reaper_that_works_across_a_restore_deletes_no_object_of_a_row() {
    let world = World::hasty().await;
    world.push_blob(REPOSITORY, b"the bytes").await;
    later(&world);
    world.collect().await;
    world.execute(COPY).await;
    let claimed = hold("reaper.claimed");
    let distribution = world.distribution.clone();
    let reaper = Actor::start(async move { distribution.reap(10).await.unwrap() });
    claimed.arrived().await.unwrap();
    world.execute(RESTORE).await;
    let body = image(&world.push_blob(REPOSITORY, b"the bytes").await, &[]);
    world.push_manifest(REPOSITORY, Some("v1"), OCI_MANIFEST, &body).await;

    claimed.release();

    reaper.ends().await;
    settle(&world).await;
    assert!(is_whole(&world, "v1").await);
    is_consistent(&world).await;
}

/// Ten thousand repositories that have the largest blob there is.
const EVERYBODY: &str = "
    WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 10000)
    INSERT INTO repositories (namespace_id, path, created_at, updated_at)
    SELECT r.namespace_id, 'team/r' || number.n, 0, 0 FROM repositories r CROSS JOIN number WHERE r.path = 'team/app';
    INSERT INTO blob_links (digest, namespace_id, repository_id, created_at)
    SELECT b.digest, r.namespace_id, r.id, 0 FROM repositories r
    CROSS JOIN (SELECT digest FROM blobs WHERE size = (SELECT max(size) FROM blobs)) AS b
    WHERE r.path LIKE 'team/r%';
    INSERT INTO reviews (kind, namespace_id, repository_id, digest, due_at, attempts, reason, created_at)
    SELECT 2, l.namespace_id, l.repository_id, l.digest, 0, 0, 'blob_upload', 0 FROM blob_links l
    JOIN repositories r ON r.namespace_id = l.namespace_id AND r.id = l.repository_id
    WHERE r.path LIKE 'team/r%';";

/// 25: one blob in ten thousand repositories.
#[tokio::test]
async fn a_blob_of_ten_thousand_repositories_stays_until_the_last_one_gives_it_up() {
    let world = World::hasty().await;
    let blob = world.push_blob(REPOSITORY, b"the largest of all blobs").await;
    let body = image(&blob, &[]);
    world.push_manifest(REPOSITORY, Some("v1"), OCI_MANIFEST, &body).await;
    world.execute(EVERYBODY).await;
    let links = "SELECT count(*) FROM blob_links";
    assert_eq!(world.count(links).await, 10_001);
    later(&world);
    let found = hold("mount.found");
    let mount = mounts(&world, "late/app", blob);
    found.arrived().await.unwrap();

    world.collect().await;
    found.release();

    assert!(mount.ends().await);
    assert_eq!(world.count(links).await, 2);
    assert!(is_whole(&world, "v1").await);
    world.delete(REPOSITORY, "v1").await;
    world.collect().await;
    assert!(world.has_blob("late/app", blob).await, "promised to who mounted it");
    settle(&world).await;
    assert_eq!(
        world.count(links).await + world.count("SELECT count(*) FROM blobs").await,
        0
    );
}
