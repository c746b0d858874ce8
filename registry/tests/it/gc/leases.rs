//! "You need not upload this": who was told so finds the blob.

use super::world::{DAY, HOUR, REPOSITORY, World, chunk, hasty, name};
use crate::support::content::{image, sha256};
use berth_registry::distribution::{Limits, MountSource, Rules};
use oci::media_type::OCI_MANIFEST;

async fn with_leases() -> World {
    let limits = Limits { lease: HOUR, ..hasty() };
    World::new(limits, Rules::default()).await
}

#[tokio::test]
async fn a_head_keeps_a_blob_that_nothing_names_for_the_length_of_a_lease() {
    let world = with_leases().await;
    let blob = world.push_blob(REPOSITORY, b"bytes").await;
    world.clock.advance(3 * HOUR);
    world
        .distribution
        .promised_blob(&name(REPOSITORY), &blob)
        .await
        .unwrap();

    let first = world.collect().await;
    assert_eq!((first.deleted, first.postponed), (0, 1));
    world.clock.advance(59 * HOUR / 60);
    world.collect().await;
    let body = image(&blob, &[]);
    world.push_manifest(REPOSITORY, Some("v1"), OCI_MANIFEST, &body).await;
    world.clock.advance(DAY);
    world.collect().await;

    assert!(world.has_blob(REPOSITORY, blob).await);
}

#[tokio::test]
async fn to_ask_again_and_again_does_not_keep_a_blob_that_nothing_names() {
    let world = with_leases().await;
    let blob = world.push_blob(REPOSITORY, b"bytes").await;
    let mut asked = 0;
    while world.distribution.promised_blob(&name(REPOSITORY), &blob).await.is_ok() {
        world.clock.advance(HOUR / 2);
        world.collect().await;
        asked += 1;
        assert!(asked < 20, "it is kept for ever");
    }
    assert!(asked >= 8, "four leases long it is there, it was {asked} half ones");

    world.clock.advance(2 * HOUR);
    world.collect().await;

    assert!(!world.has_blob(REPOSITORY, blob).await);
    world.push_blob(REPOSITORY, b"bytes").await;
    let again = world.distribution.promised_blob(&name(REPOSITORY), &blob).await;
    assert!(again.is_ok(), "who uploads it has it");
}

#[tokio::test]
async fn a_promise_that_nobody_made_use_of_ends_and_the_blob_goes() {
    let world = with_leases().await;
    let blob = world.push_blob(REPOSITORY, b"bytes").await;
    world
        .distribution
        .promised_blob(&name(REPOSITORY), &blob)
        .await
        .unwrap();

    world.clock.advance(2 * HOUR);
    world.collect().await;

    assert!(!world.has_blob(REPOSITORY, blob).await);
    assert!(world.distribution.sweep_leases(10).await.unwrap() > 0);
    assert_eq!(world.count("SELECT count(*) FROM blob_leases").await, 0);
}

#[tokio::test]
async fn the_end_of_an_upload_that_is_repeated_is_a_promise_like_the_first_one() {
    let world = with_leases().await;
    let repository = name(REPOSITORY);
    let digest = sha256(b"bytes");
    let upload = world.distribution.start_upload(&repository).await.unwrap().id;
    let end = || {
        world
            .distribution
            .finish_upload(&repository, upload, digest, chunk(b"bytes"))
    };
    end().await.unwrap();
    world.clock.advance(HOUR / 2);

    end().await.unwrap();
    world.clock.advance(59 * HOUR / 60);
    world.collect().await;
    assert!(world.has_blob(REPOSITORY, digest).await);

    world.execute("DELETE FROM blob_leases").await;
    world.execute("UPDATE reviews SET due_at = 0").await;
    world.collect().await;
    assert!(!world.has_blob(REPOSITORY, digest).await);
    assert!(end().await.is_err(), "the blob is gone: it has to be uploaded again");
}

#[tokio::test]
async fn a_mounted_blob_stays_while_the_manifest_is_on_its_way() {
    let world = with_leases().await;
    let blob = world.push_blob("source/app", b"bytes").await;
    world.clock.advance(HOUR / 2);
    let from = name("source/app");
    let mounted = world
        .distribution
        .mount(&name(REPOSITORY), blob, MountSource::Repository(&from))
        .await;
    assert!(mounted.unwrap());
    world.clock.advance(59 * HOUR / 60);

    world.collect().await;

    assert!(world.has_blob(REPOSITORY, blob).await);
    assert!(!world.has_blob("source/app", blob).await, "its own lease is over");
}

#[tokio::test]
async fn a_blob_that_many_ask_for_is_promised_once_a_quarter_of_a_lease() {
    let world = with_leases().await;
    let blob = world.push_blob(REPOSITORY, b"bytes").await;
    world.execute("DELETE FROM blob_leases").await;
    let count = "SELECT count(*) FROM blob_leases";
    let ask = async |times| {
        for _ in 0..times {
            world
                .distribution
                .promised_blob(&name(REPOSITORY), &blob)
                .await
                .unwrap();
        }
    };

    ask(20).await;
    assert_eq!(world.count(count).await, 1);
    world.execute("DELETE FROM blob_leases").await;
    ask(20).await;
    assert_eq!(world.count(count).await, 0, "no second write in the same quarter");

    world.clock.advance(HOUR / 4);
    ask(20).await;
    assert_eq!(world.count(count).await, 1);
}

#[tokio::test]
async fn a_blob_that_is_not_there_is_not_promised() {
    let world = with_leases().await;
    let blob = world.push_blob(REPOSITORY, b"bytes").await;
    world.execute("DELETE FROM blob_leases").await;

    let elsewhere = world.distribution.promised_blob(&name("other/app"), &blob).await;

    assert!(elsewhere.is_err());
    assert_eq!(world.count("SELECT count(*) FROM blob_leases").await, 0);
}
