//! Budgets, pauses and items that cannot be reviewed.

use super::world::{HOUR, REPOSITORY, World, hasty};
use berth_registry::distribution::{Budget, Limits, Rules};
use std::time::Duration;

#[tokio::test]
async fn the_budget_of_an_hour_stops_all_replicas_and_the_next_hour_goes_on() {
    let limits = Limits {
        budget: Budget {
            objects: Some(10),
            bytes: None,
        },
        ..hasty()
    };
    let world = World::new(limits, Rules::default()).await;
    for number in 0..8 {
        world.push_blob(REPOSITORY, format!("blob {number}").as_bytes()).await;
    }
    world.push_image(REPOSITORY, None, "a").await;
    world.push_image(REPOSITORY, None, "b").await;
    world.clock.advance(2 * HOUR);

    let collected = world.collect().await;

    assert!(collected.exhausted_until.is_some());
    let gone =
        2 + 12 - world.count("SELECT count(*) FROM manifests").await - world.count("SELECT count(*) FROM blobs").await;
    assert_eq!(gone, 10);
    let status = world.distribution.collector_status().await.unwrap();
    assert_eq!(
        (status.window_objects, status.exhausted_until),
        (10, collected.exhausted_until)
    );
    assert_eq!(world.collect().await.deleted, 0);

    world.clock.advance(HOUR);
    world.collect().await;

    assert_eq!(world.count("SELECT count(*) FROM blobs").await, 0);
}

#[tokio::test]
async fn a_pause_holds_for_every_replica_and_is_kept_in_the_database() {
    let world = World::hasty().await;
    let other = world.replica(hasty());

    assert!(world.distribution.pause_collection("an incident").await.unwrap());
    assert!(!other.pause_collection("again").await.unwrap());

    assert!(other.collection_is_paused().await.unwrap());
    let status = other.collector_status().await.unwrap();
    assert_eq!(status.paused_by.as_deref(), Some("an incident"));
    assert!(other.resume_collection().await.unwrap());
    assert!(!world.distribution.collection_is_paused().await.unwrap());
    assert!(!world.distribution.resume_collection().await.unwrap());
}

/// A kind of reference that the collector does not know: the foreign key refuses the deletion.
const UNKNOWN_REFERENCE: &str = "
    CREATE TABLE unknown_references (
        namespace_id bigint NOT NULL, repository_id bigint NOT NULL, digest bytea NOT NULL,
        FOREIGN KEY (namespace_id, repository_id, digest) REFERENCES manifests (namespace_id, repository_id, digest)
    );
    INSERT INTO unknown_references SELECT namespace_id, repository_id, digest FROM manifests WHERE payload_size =
        (SELECT max(payload_size) FROM manifests);";

#[tokio::test]
async fn an_item_that_cannot_be_deleted_is_put_off_and_parked_while_the_rest_goes() {
    let world = World::hasty().await;
    let config = world.push_blob(REPOSITORY, b"{}").await;
    let largest = crate::support::content::image(&config, &[config, config, config]);
    let poisoned = world
        .push_manifest(REPOSITORY, None, oci::media_type::OCI_MANIFEST, &largest)
        .await;
    for number in 0..5 {
        world.push_image(REPOSITORY, None, &number.to_string()).await;
    }
    world.execute(UNKNOWN_REFERENCE).await;
    world.clock.advance(HOUR);

    let collected = world.collect().await;

    assert_eq!(collected.failed, 1);
    assert_eq!(world.count("SELECT count(*) FROM manifests").await, 1);
    assert!(world.has_manifest(REPOSITORY, poisoned).await && world.has_blob(REPOSITORY, config).await);
    assert_eq!(world.collect().await.reviewed, 0, "not at once");

    for _ in 0..9 {
        world.clock.advance(Duration::from_hours(24));
        assert_eq!(world.collect().await.failed, 1);
    }
    let status = world.distribution.collector_status().await.unwrap();
    let manifests = status.queues.iter().find(|queue| queue.kind == "manifest").unwrap();
    assert_eq!(manifests.parked, 1);

    world.execute("DROP TABLE unknown_references").await;
    world.clock.advance(Duration::from_hours(24));
    world.collect().await;
    assert!(!world.has_manifest(REPOSITORY, poisoned).await);
}
