//! The end of the retention.

use crate::gc::world::{HOUR, REPOSITORY, World, name};
use crate::support::content::{image, index, numbered};
use crate::support::stores;
use berth_registry::distribution::{Error, Expired, Limits, NotRestorable, Restorable, Rules};
use oci::media_type::{OCI_INDEX, OCI_MANIFEST};
use std::time::Duration;

/// What is deleted can be restored for an hour.
async fn keeping() -> World {
    let limits = Limits {
        deletion_retention: HOUR,
        ..Limits::default()
    };
    World::new(limits, Rules::default()).await
}

async fn expire(world: &World) -> (u64, u64) {
    let Expired { tags, manifests } = world.distribution.expire_deleted().await.unwrap();
    (tags, manifests)
}

#[tokio::test]
async fn a_deletion_is_final_when_its_retention_is_over_and_what_it_kept_is_reviewed() {
    let world = keeping().await;
    let digest = world.push_image(REPOSITORY, Some("v1"), "one").await.manifest;
    let (repository, restorable) = (name(REPOSITORY), Restorable::Manifest(&digest));
    world.delete(REPOSITORY, digest).await;
    let asked = "SELECT count(*) FROM reviews WHERE kind = 2 AND reason = 'manifest_delete'";
    assert_eq!(world.count(asked).await, 0, "everything is kept");

    world.clock.advance(Duration::from_secs(3599));
    assert_eq!(expire(&world).await, (0, 0));
    world.clock.advance(Duration::from_secs(2));
    let late = world.distribution.restore(&repository, restorable).await.unwrap_err();
    assert!(
        matches!(late, Error::NotRestorable(NotRestorable::Over { .. })),
        "{late}"
    );

    assert_eq!(expire(&world).await, (0, 1));
    assert_eq!(world.count("SELECT count(*) FROM deleted_tags").await, 0);

    let gone = world.distribution.restore(&repository, restorable).await.unwrap_err();
    assert!(
        matches!(gone, Error::NotRestorable(NotRestorable::NotKept { .. })),
        "{gone}"
    );
    assert_eq!(world.count(asked).await, 2, "config and layer");
    assert_eq!(world.count("SELECT count(*) FROM manifests").await, 0);
    assert_eq!(world.count("SELECT count(*) FROM manifest_blobs").await, 0);
    assert_eq!(expire(&world).await, (0, 0));
}

#[tokio::test]
async fn the_manifest_of_a_tag_is_reviewed_when_the_tag_is_gone_for_good() {
    let world = keeping().await;
    world.push_image(REPOSITORY, Some("v1"), "one").await;
    world.delete(REPOSITORY, "v1").await;
    let asked = "SELECT count(*) FROM reviews WHERE kind = 1 AND reason = 'tag_delete'";
    assert_eq!(world.count(asked).await, 0);

    world.clock.advance(2 * HOUR);
    assert_eq!(expire(&world).await, (1, 0));

    assert_eq!(world.count(asked).await, 1);
    assert_eq!(world.count("SELECT count(*) FROM manifests").await, 1);
}

#[tokio::test]
async fn what_many_deletions_of_one_tag_kept_is_reviewed_however_many_there_were() {
    let world = keeping().await;
    world.push_image(REPOSITORY, Some("v1"), "one").await;
    world.delete(REPOSITORY, "v1").await;
    // A thousand older ones: more than are looked for at a time.
    world
        .execute(
            "INSERT INTO deleted_tags (namespace_id, repository_id, name, deleted_at, manifest_digest, created_at, updated_at)
             WITH RECURSIVE older (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM older WHERE number < 1000)
             SELECT namespace_id, repository_id, name, deleted_at - number, manifest_digest, created_at, updated_at
             FROM deleted_tags CROSS JOIN older",
        )
        .await;
    world.push_image(REPOSITORY, Some("v1"), "two").await;
    world.delete(REPOSITORY, "v1").await;

    world.clock.advance(2 * HOUR);
    expire(&world).await;

    assert_eq!(world.count("SELECT count(*) FROM deleted_tags").await, 0);
    let asked = "SELECT count(*) FROM reviews WHERE kind = 1 AND reason = 'tag_delete'";
    assert_eq!(world.count(asked).await, 2, "both images");
}

#[tokio::test]
async fn an_index_is_sparse_once_its_deleted_child_is_gone_for_good() {
    let world = keeping().await;
    let child = world.push_image(REPOSITORY, Some("child"), "one").await.manifest;
    world
        .push_manifest(REPOSITORY, Some("list"), OCI_INDEX, &index(&[child]))
        .await;
    world.delete(REPOSITORY, child).await;
    let missing = "SELECT count(*) FROM missing_references WHERE kind = 4";
    assert_eq!(world.count(missing).await, 0);

    world.clock.advance(2 * HOUR);
    expire(&world).await;

    assert_eq!(world.count(missing).await, 1);
    assert_eq!(world.count("SELECT count(*) FROM manifest_children").await, 0);
    world.push_image(REPOSITORY, Some("child"), "one").await;
    assert_eq!(world.count(missing).await, 0);
}

#[tokio::test]
async fn what_was_restored_or_pushed_again_in_time_does_not_go() {
    let world = keeping().await;
    let digest = world.push_image(REPOSITORY, Some("v1"), "one").await.manifest;
    world.delete(REPOSITORY, digest).await;
    let restorable = Restorable::Manifest(&digest);
    world.distribution.restore(&name(REPOSITORY), restorable).await.unwrap();
    world.delete(REPOSITORY, digest).await;
    world.push_image(REPOSITORY, Some("v2"), "one").await;

    world.clock.advance(2 * HOUR);

    assert_eq!(expire(&world).await, (1, 0), "the tag that was lost with it");
    assert_eq!(world.count("SELECT count(*) FROM manifests").await, 1);
}

#[tokio::test]
async fn deletions_at_one_time_of_a_standing_clock_are_told_apart() {
    let world = keeping().await;
    let digest = world.push_image(REPOSITORY, Some("v1"), "one").await.manifest;
    for _ in 0..3 {
        world.push_image(REPOSITORY, Some("v1"), "one").await;
        world.delete(REPOSITORY, "v1").await;
    }
    world.push_image(REPOSITORY, Some("v2"), "one").await;

    world.delete(REPOSITORY, digest).await;
    let restorable = Restorable::Manifest(&digest);
    let restored = world.distribution.restore(&name(REPOSITORY), restorable).await.unwrap();

    assert_eq!(restored.tags, ["v2"], "not those that were deleted by themselves");
    assert_eq!(world.count("SELECT count(*) FROM deleted_tags").await, 3);
}

#[tokio::test]
async fn many_old_deletions_are_ended_once_by_all_who_end_them_at_once() {
    let world = keeping().await;
    let (config, layer) = (
        world.push_blob(REPOSITORY, b"{}").await,
        world.push_blob(REPOSITORY, b"layer").await,
    );
    for number in 0..120 {
        let body = numbered(&image(&config, &[layer]), number);
        let tag = format!("v{number}");
        let digest = world.push_manifest(REPOSITORY, Some(&tag), OCI_MANIFEST, &body).await;
        world.delete(REPOSITORY, digest).await;
    }
    world.clock.advance(2 * HOUR);

    let ended = futures::future::join_all((0..4).map(|_| expire(&world))).await;

    let sum = ended.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    assert_eq!(sum, (0, 120));
    assert_eq!(world.count("SELECT count(*) FROM deleted_tags").await, 0);
    assert_eq!(world.count("SELECT count(*) FROM manifests").await, 0);
}

#[tokio::test]
async fn a_registry_that_keeps_nothing_any_more_deletes_what_deleted_tags_still_keep() {
    let mut registry = super::keeping().await;
    let digest = registry.push_image(REPOSITORY, "v1", b"layer").await;
    super::delete(&registry, "v1").await;
    registry.config.deletion.retention = Duration::ZERO;
    let registry = registry.restart().await;

    super::delete(&registry, digest).await;

    assert_eq!(
        stores::count(&registry.config, "SELECT count(*) FROM manifests").await,
        0
    );
}
