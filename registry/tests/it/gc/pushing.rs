//! Pushes while everything that nothing refers to goes at once.

use super::world::{REPOSITORY, World, hasty, name};
use crate::support::content::{image, sha256};
use berth_registry::distribution::{Limits, Reviews, Rules};
use oci::media_type::OCI_MANIFEST;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const PUSHERS: usize = 6;
const ROUNDS: usize = 12;
const CONTENTS: usize = 5;

/// As a client does it: asks for each blob, uploads those that are not there, pushes the manifest.
async fn push(world: &World, pusher: usize, round: usize) {
    let tag = format!("p{pusher}");
    let contents: Vec<String> = (0..3)
        .map(|n| format!("layer {}", (pusher + round + n) % CONTENTS))
        .collect();
    let mut layers = Vec::new();
    for content in &contents {
        let digest = sha256(content.as_bytes());
        if world
            .distribution
            .promised_blob(&name(REPOSITORY), &digest)
            .await
            .is_err()
        {
            world.push_blob(REPOSITORY, content.as_bytes()).await;
        }
        layers.push(digest);
    }
    let body = image(&layers[0], &layers);
    // Panics when a blob is not there that this client was promised.
    let manifest = world.push_manifest(REPOSITORY, Some(&tag), OCI_MANIFEST, &body).await;
    assert!(world.has_manifest(REPOSITORY, manifest).await);
    for layer in &layers {
        assert!(
            world.has_blob(REPOSITORY, *layer).await,
            "{layer} of an image that is tagged"
        );
    }
    world.delete(REPOSITORY, &tag).await;
    // Others' promises end while this one's last: see the length of a lease below.
    world.clock.advance(Duration::from_secs(10));
}

#[tokio::test]
async fn no_push_misses_a_blob_that_it_was_promised_and_in_the_end_everything_goes() {
    let limits = Limits {
        // Longer than all others move the clock while one push is under way.
        lease: Duration::from_secs(10 * (PUSHERS as u64 + 1) * 4),
        ..hasty()
    };
    let world = World::new(limits, Rules::default()).await;
    let stop = AtomicBool::new(false);
    let (mut collected, mut rounds) = (0, 0);
    let collecting = async {
        while !stop.load(Ordering::SeqCst) {
            for kind in Reviews::ALL {
                collected += world.distribution.review(kind, 7).await.unwrap().deleted;
            }
            world.distribution.reap(7).await.unwrap();
            rounds += 1;
            tokio::task::yield_now().await;
        }
    };
    let pushing = async {
        let world = &world;
        let pushers = (0..PUSHERS).map(|pusher| async move {
            for round in 0..ROUNDS {
                push(world, pusher, round).await;
            }
        });
        futures::future::join_all(pushers).await;
        stop.store(true, Ordering::SeqCst);
    };
    tokio::join!(pushing, collecting);

    assert!(rounds > 0 && collected > 0, "{collected} in {rounds} rounds");
    world.clock.advance(Duration::from_hours(1));
    world.collect().await;
    world.reap().await;
    world.clock.advance(Duration::from_hours(1));
    world.reap().await;
    for count in [
        "SELECT count(*) FROM manifests",
        "SELECT count(*) FROM blob_links",
        "SELECT count(*) FROM blobs",
        "SELECT count(*) FROM tombstones",
        "SELECT count(*) FROM reviews",
    ] {
        assert_eq!(world.count(count).await, 0, "{count}");
    }
    assert!(world.files().is_none_or(|files| files == 0));
}
