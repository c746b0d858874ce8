//! Deleted repositories and restored manifests, while others push and what is over goes for good.

use super::scene::{
    deletes_repository, erases, erases_all, expires, is_consistent, is_empty, is_sqlite, is_whole, later, puts,
    restores, settle,
};
use crate::gc::world::{HOUR, REPOSITORY, World, hasty};
use crate::support::content::image;
use berth_registry::distribution::{Erased, Error, Limits, Rules};
use berth_registry::staging::hold;
use oci::media_type::OCI_MANIFEST;

/// 20: a repository is deleted while an image is pushed to it, and made again by another push.
#[tokio::test]
async fn a_push_that_a_repositorys_deletion_overtakes_goes_with_it_and_not_into_the_next_one() {
    for point in ["manifest.looked", "manifest.written"] {
        let world = World::hasty().await;
        let old = world.push_blob(REPOSITORY, b"the old bytes").await;
        world.push_image(REPOSITORY, Some("v1"), "old").await;
        let held = hold(point);
        let push = puts(&world, "late", OCI_MANIFEST, &image(&old, &[]));
        held.arrived().await.unwrap();
        let deletion = deletes_repository(&world);
        // A push that has set its tag is about to end, and is waited for.
        if is_sqlite(&world) || point == "manifest.written" {
            deletion.is_kept_waiting(&world).await;
            held.release();
            deletion.ends().await;
        } else {
            deletion.ends().await;
            assert_eq!(world.distribution.erase_some().await.unwrap(), Erased::Held);
            world.push_image(REPOSITORY, Some("new"), "new").await;
            held.release();
        }
        push.ends().await.unwrap();
        world.push_image(REPOSITORY, Some("new"), "new").await;

        erases_all(&world).await;
        settle(&world).await;

        assert!(is_whole(&world, "new").await, "{point}");
        assert!(
            !is_whole(&world, "late").await && !is_whole(&world, "v1").await,
            "{point}"
        );
        assert_eq!(world.count("SELECT count(*) FROM blobs").await, 2, "{point}");
        assert_eq!(world.count("SELECT count(*) FROM repositories").await, 1, "{point}");
        is_consistent(&world).await;
    }
}

/// 20, and the deletion comes between the blobs and the manifest.
#[tokio::test]
async fn an_image_whose_repository_goes_before_its_manifest_comes_is_refused_and_can_be_pushed_again() {
    let world = World::hasty().await;
    let blob = world.push_blob(REPOSITORY, b"the bytes").await;
    let body = image(&blob, &[]);
    let held = hold("eraser.taken");
    deletes_repository(&world).ends().await;
    let erasing = erases(&world);
    held.arrived().await.unwrap();

    let push = puts(&world, "v1", OCI_MANIFEST, &body);
    let pushed = if is_sqlite(&world) {
        push.is_kept_waiting(&world).await;
        held.release();
        push.ends().await
    } else {
        let pushed = push.ends().await;
        held.release();
        pushed
    };

    assert!(matches!(pushed, Err(Error::ReferencesUnknown(_))), "{pushed:?}");
    erasing.ends().await;
    world.push_blob(REPOSITORY, b"the bytes").await;
    world.push_manifest(REPOSITORY, Some("v1"), OCI_MANIFEST, &body).await;
    erases_all(&world).await;
    settle(&world).await;
    assert!(is_whole(&world, "v1").await);
    is_consistent(&world).await;
}

/// An eraser that dies in the middle of a batch.
#[tokio::test]
async fn an_eraser_that_dies_leaves_the_rest_to_the_next_one() {
    let world = World::hasty().await;
    world.push_image(REPOSITORY, Some("v1"), "one").await;
    deletes_repository(&world).ends().await;
    let held = hold("eraser.taken");
    let erasing = erases(&world);
    held.arrived().await.unwrap();

    erasing.dies().await;
    drop(held);

    erases_all(&world).await;
    settle(&world).await;
    is_empty(&world).await;
}

/// A manifest is restored at the moment at which its time is over.
#[tokio::test]
async fn what_is_being_restored_when_its_time_is_over_stays() {
    let limits = Limits {
        deletion_retention: HOUR,
        ..hasty()
    };
    let world = World::new(limits, Rules::default()).await;
    let image = world.push_image(REPOSITORY, Some("v1"), "one").await;
    world.delete(REPOSITORY, image.manifest).await;
    let held = hold("restore.held");
    let restoring = restores(&world, image.manifest);
    held.arrived().await.unwrap();
    later(&world);
    let expiring = expires(&world);
    if is_sqlite(&world) {
        expiring.is_kept_waiting(&world).await;
        held.release();
    } else {
        // It waits for nobody.
        expiring.ends().await;
        held.release();
    }

    restoring.ends().await.unwrap();

    settle(&world).await;
    assert!(is_whole(&world, "v1").await, "with its tag");
    is_consistent(&world).await;
}

/// And the other way round: it is about to go when somebody wants it back, or pushes it.
#[tokio::test]
async fn what_is_about_to_go_for_good_is_pushed_again_behind_that() {
    let limits = Limits {
        deletion_retention: HOUR,
        ..hasty()
    };
    let world = World::new(limits, Rules::default()).await;
    let blob = world.push_blob(REPOSITORY, b"the bytes").await;
    let body = image(&blob, &[]);
    let digest = world.push_manifest(REPOSITORY, Some("v1"), OCI_MANIFEST, &body).await;
    world.delete(REPOSITORY, digest).await;
    later(&world);
    let held = hold("expiry.held");
    let expiring = expires(&world);
    held.arrived().await.unwrap();
    let push = puts(&world, "v2", OCI_MANIFEST, &body);
    push.is_kept_waiting(&world).await;

    held.release();

    expiring.ends().await;
    push.ends().await.unwrap();
    settle(&world).await;
    assert!(is_whole(&world, "v2").await);
    is_consistent(&world).await;
}
