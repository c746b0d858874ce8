//! What is collected, and what keeps an item.

use super::world::{DAY, HOUR, REPOSITORY, World, hasty, name};
use crate::support::content::{artifact, image, index, sha256};
use berth_registry::distribution::{Limits, MountSource, Reviews, Rules, Untagged};
use oci::media_type::{OCI_INDEX, OCI_MANIFEST};

#[tokio::test]
async fn an_image_goes_when_the_grace_of_its_tag_is_over_and_its_objects_after_the_quarantine() {
    let world = World::patient().await;
    let image = world.push_image(REPOSITORY, Some("v1"), "one").await;
    let kept = world.push_image(REPOSITORY, Some("v2"), "two").await;
    world.delete(REPOSITORY, "v1").await;

    world.clock.advance(23 * HOUR);
    assert_eq!(world.collect().await.deleted, 0);
    assert!(world.has_manifest(REPOSITORY, image.manifest).await);

    world.clock.advance(2 * HOUR);
    let collected = world.collect().await;

    assert_eq!(collected.deleted, 5, "a manifest, two links, two blobs");
    assert_eq!(collected.bytes, "config of onelayer of one".len() as u64);
    assert!(!world.has_manifest(REPOSITORY, image.manifest).await);
    assert!(!world.has_blob(REPOSITORY, image.layer).await);
    assert_eq!(world.reap().await.deleted, 0, "in quarantine");

    world.clock.advance(DAY);
    let reaped = world.reap().await;

    assert_eq!((reaped.deleted, reaped.errors, reaped.bytes), (2, 0, collected.bytes));
    assert_eq!(world.count("SELECT count(*) FROM tombstones").await, 0);
    assert!(world.files().is_none_or(|files| files == 2));
    assert!(world.has_manifest(REPOSITORY, kept.manifest).await);
    assert!(world.has_blob(REPOSITORY, kept.layer).await && world.has_blob(REPOSITORY, kept.config).await);
    assert_eq!(world.count("SELECT count(*) FROM reviews").await, 0);
}

#[tokio::test]
async fn a_blob_stays_as_long_as_one_manifest_of_one_repository_names_it() {
    let world = World::hasty().await;
    let shared = world.push_blob(REPOSITORY, b"shared").await;
    let bodies = [b"a", b"b"].map(|config| image(&sha256(config), &[shared]));
    for (config, (repository, body)) in [b"a", b"b"]
        .iter()
        .zip([(REPOSITORY, &bodies[0]), ("other/app", &bodies[1])])
    {
        world.push_blob(repository, *config).await;
        let mounted = world
            .distribution
            .mount(&name(repository), shared, MountSource::Anywhere)
            .await;
        assert!(mounted.unwrap());
        world.push_manifest(repository, Some("v1"), OCI_MANIFEST, body).await;
    }
    world.delete(REPOSITORY, "v1").await;
    world.clock.advance(HOUR);

    world.collect().await;

    assert!(
        !world.has_blob(REPOSITORY, shared).await,
        "no manifest of this repository"
    );
    assert!(world.has_blob("other/app", shared).await);

    world.delete("other/app", sha256(bodies[1].as_bytes())).await;
    world.collect().await;
    world.reap().await;

    assert_eq!(world.count("SELECT count(*) FROM blobs").await, 0);
    assert_eq!(world.count("SELECT count(*) FROM blob_links").await, 0);
    assert!(world.files().is_none_or(|files| files == 0));
}

#[tokio::test]
async fn an_index_keeps_what_it_lists_through_every_level_and_lets_all_of_it_go() {
    let world = World::hasty().await;
    let child = world.push_image(REPOSITORY, None, "child").await;
    let inner = index(&[child.manifest]);
    let inner = world.push_manifest(REPOSITORY, None, OCI_INDEX, &inner).await;
    let outer = index(&[inner]);
    let outer = world.push_manifest(REPOSITORY, Some("list"), OCI_INDEX, &outer).await;
    world.clock.advance(HOUR);

    assert_eq!(world.collect().await.deleted, 0);
    assert!(world.has_manifest(REPOSITORY, child.manifest).await && world.has_manifest(REPOSITORY, inner).await);

    world.delete(REPOSITORY, "list").await;
    world.collect().await;

    for manifest in [outer, inner, child.manifest] {
        assert!(!world.has_manifest(REPOSITORY, manifest).await);
    }
    assert_eq!(world.count("SELECT count(*) FROM blobs").await, 0);
    assert_eq!(world.count("SELECT count(*) FROM reviews").await, 0);
}

#[tokio::test]
async fn an_index_and_its_child_in_one_batch_both_go() {
    let world = World::hasty().await;
    let child = world.push_image(REPOSITORY, None, "child").await;
    world
        .push_manifest(REPOSITORY, None, OCI_INDEX, &index(&[child.manifest]))
        .await;
    world.clock.advance(HOUR);

    let first = world.distribution.review(Reviews::Manifest, 10).await.unwrap();

    assert_eq!((first.reviewed, first.kept, first.deleted), (2, 1, 1));
    world.collect().await;
    assert_eq!(world.count("SELECT count(*) FROM manifests").await, 0);
}

#[tokio::test]
async fn what_refers_to_an_image_lives_and_goes_with_it_and_does_not_keep_it() {
    let world = World::hasty().await;
    let subject = world.push_image(REPOSITORY, Some("v1"), "subject").await;
    let empty = world.push_blob(REPOSITORY, b"{}").await;
    let signature = artifact(&empty, "application/x.signature", &subject.manifest);
    let signature = world.push_manifest(REPOSITORY, None, OCI_MANIFEST, &signature).await;
    let of_signature = artifact(&empty, "application/x.attestation", &signature);
    let of_signature = world.push_manifest(REPOSITORY, None, OCI_MANIFEST, &of_signature).await;
    world.clock.advance(HOUR);

    world.collect().await;
    assert!(world.has_manifest(REPOSITORY, signature).await && world.has_manifest(REPOSITORY, of_signature).await);

    world.delete(REPOSITORY, "v1").await;
    world.collect().await;

    assert_eq!(world.count("SELECT count(*) FROM manifests").await, 0);
    assert_eq!(world.count("SELECT count(*) FROM blobs").await, 0);
}

#[tokio::test]
async fn untagged_manifests_stay_where_the_settings_say_so() {
    let rules = Rules {
        untagged: Untagged::Keep,
        ..Rules::default()
    };
    let world = World::new(hasty(), rules).await;
    let pinned = world.push_image(REPOSITORY, None, "pinned").await;
    let unused = world.push_blob(REPOSITORY, b"unused").await;
    world.clock.advance(HOUR);

    world.collect().await;

    assert!(world.has_manifest(REPOSITORY, pinned.manifest).await && world.has_blob(REPOSITORY, pinned.layer).await);
    assert!(!world.has_blob(REPOSITORY, unused).await);
}

#[tokio::test]
async fn a_manifest_that_was_pushed_again_has_its_grace_again() {
    let world = World::patient().await;
    let image = world.push_image(REPOSITORY, Some("v1"), "one").await;
    world.delete(REPOSITORY, "v1").await;
    world.clock.advance(23 * HOUR);
    world.push_image(REPOSITORY, Some("v1"), "one").await;
    world.execute("DELETE FROM tags").await;
    world.clock.advance(2 * HOUR);

    let collected = world.collect().await;

    assert_eq!(collected.postponed, 1);
    assert!(world.has_manifest(REPOSITORY, image.manifest).await);

    world.clock.advance(DAY);
    world.collect().await;

    assert!(!world.has_manifest(REPOSITORY, image.manifest).await);
}

#[tokio::test]
async fn an_upload_that_nothing_came_of_goes_after_its_grace() {
    let world = World::patient().await;
    let blob = world.push_blob(REPOSITORY, b"never named").await;

    world.clock.advance(23 * HOUR);
    world.collect().await;
    assert!(world.has_blob(REPOSITORY, blob).await);

    world.clock.advance(2 * HOUR);
    world.collect().await;

    assert!(!world.has_blob(REPOSITORY, blob).await);
    assert_eq!(
        world
            .count("SELECT count(*) FROM tombstones WHERE reason = 'unreferenced' AND size = 11 AND digest IS NOT NULL")
            .await,
        1
    );
}

#[tokio::test]
async fn a_blob_that_comes_back_while_its_old_object_waits_has_an_object_of_its_own() {
    let world = World::new(
        Limits {
            quarantine: DAY,
            ..hasty()
        },
        Rules::default(),
    )
    .await;
    let blob = world.push_blob(REPOSITORY, b"bytes").await;
    world.clock.advance(HOUR);
    world.collect().await;
    assert!(!world.has_blob(REPOSITORY, blob).await);

    world.push_blob(REPOSITORY, b"bytes").await;
    world.clock.advance(2 * DAY);
    assert_eq!(world.reap().await.deleted, 1);

    assert!(world.has_blob(REPOSITORY, blob).await);
}

#[tokio::test]
async fn any_number_of_collectors_at_once_delete_each_item_once() {
    let world = World::hasty().await;
    for number in 0..40 {
        world.push_image(REPOSITORY, None, &number.to_string()).await;
    }
    world.clock.advance(HOUR);

    let work = (0..4).map(|_| world.collect());
    let done = futures::future::join_all(work).await;
    let left = world.collect().await;

    let deleted: u64 = done.iter().map(|done| done.deleted).sum::<u64>() + left.deleted;
    assert_eq!(deleted, 40 * 5);
    assert_eq!(world.count("SELECT count(*) FROM tombstones").await, 80);
    assert_eq!(world.count("SELECT count(*) FROM reviews").await, 0);
}

#[tokio::test]
async fn manifests_that_keep_only_each_other_go() {
    let world = World::hasty().await;
    let image = world.push_image(REPOSITORY, Some("v1"), "image").await;
    let list = index(&[image.manifest]);
    let mut ring: serde_json::Value = serde_json::from_str(&list).unwrap();
    ring["subject"] = ring["manifests"][0].clone();
    let ring = world
        .push_manifest(REPOSITORY, None, OCI_INDEX, &ring.to_string())
        .await;
    world.clock.advance(HOUR);
    world.collect().await;
    assert!(world.has_manifest(REPOSITORY, ring).await, "its subject is tagged");

    world.delete(REPOSITORY, "v1").await;
    world.collect().await;

    assert_eq!(world.count("SELECT count(*) FROM manifests").await, 0);
    assert_eq!(world.count("SELECT count(*) FROM blobs").await, 0);
    assert_eq!(world.count("SELECT count(*) FROM reviews").await, 0);
}
