//! The end of the retention.

use super::REPOSITORY;
use crate::support::bench::Bench;
use crate::support::content::{image, index, numbered};
use crate::support::stores;
use berth_registry::distribution::{Error, Expired, Limits, NotRestorable, Restorable};
use oci::{RepositoryName, media_type};
use std::time::Duration;

const HOUR: Duration = Duration::from_hours(1);

async fn bench() -> Bench {
    Bench::with(Limits {
        deletion_retention: HOUR,
        ..Limits::default()
    })
    .await
}

fn repository() -> RepositoryName {
    REPOSITORY.parse().unwrap()
}

impl Bench {
    async fn expire(&self) -> (u64, u64) {
        let Expired { tags, manifests } = self.distribution.expire_deleted().await.unwrap();
        (tags, manifests)
    }
}

#[tokio::test]
async fn a_deletion_is_final_when_its_retention_is_over_and_what_it_kept_is_reviewed() {
    let bench = bench().await;
    let digest = bench.push_image(REPOSITORY, "v1").await;
    let (repository, restorable) = (repository(), Restorable::Manifest(&digest));
    bench.delete(REPOSITORY, &digest.to_string()).await;
    let asked = "SELECT count(*) FROM reviews WHERE kind = 2 AND reason = 'manifest_delete'";
    assert_eq!(bench.rows(asked).await, 0, "everything is kept");

    bench.clock.advance(Duration::from_secs(3599));
    assert_eq!(bench.expire().await, (0, 0));
    bench.clock.advance(Duration::from_secs(2));
    let late = bench.distribution.restore(&repository, restorable).await.unwrap_err();
    assert!(
        matches!(late, Error::NotRestorable(NotRestorable::Over { .. })),
        "{late}"
    );

    assert_eq!(bench.expire().await, (1, 1));

    let gone = bench.distribution.restore(&repository, restorable).await.unwrap_err();
    assert!(
        matches!(gone, Error::NotRestorable(NotRestorable::NotKept { .. })),
        "{gone}"
    );
    assert_eq!(bench.rows(asked).await, 2, "config and layer");
    assert_eq!(bench.rows("SELECT count(*) FROM manifests").await, 0);
    assert_eq!(bench.rows("SELECT count(*) FROM manifest_blobs").await, 0);
    assert_eq!(bench.expire().await, (0, 0));
}

#[tokio::test]
async fn the_manifest_of_a_tag_is_reviewed_when_the_tag_is_gone_for_good() {
    let bench = bench().await;
    bench.push_image(REPOSITORY, "v1").await;
    bench.delete(REPOSITORY, "v1").await;
    let asked = "SELECT count(*) FROM reviews WHERE kind = 1 AND reason = 'tag_delete'";
    assert_eq!(bench.rows(asked).await, 0);

    bench.clock.advance(2 * HOUR);
    assert_eq!(bench.expire().await, (1, 0));

    assert_eq!(bench.rows(asked).await, 1);
    assert_eq!(bench.rows("SELECT count(*) FROM manifests").await, 1);
}

#[tokio::test]
async fn an_index_is_sparse_once_its_deleted_child_is_gone_for_good() {
    let bench = bench().await;
    let child = bench.push_image(REPOSITORY, "child").await;
    bench
        .put(REPOSITORY, "list", media_type::OCI_INDEX, &index(&[child]))
        .await;
    bench.delete(REPOSITORY, &child.to_string()).await;
    let missing = "SELECT count(*) FROM missing_references WHERE kind = 4";
    assert_eq!(bench.rows(missing).await, 0);

    bench.clock.advance(2 * HOUR);
    bench.expire().await;

    assert_eq!(bench.rows(missing).await, 1);
    assert_eq!(bench.rows("SELECT count(*) FROM manifest_children").await, 0);
    bench.push_image(REPOSITORY, "child").await;
    assert_eq!(bench.rows(missing).await, 0);
}

#[tokio::test]
async fn what_was_restored_or_pushed_again_in_time_does_not_go() {
    let bench = bench().await;
    let digest = bench.push_image(REPOSITORY, "v1").await;
    bench.delete(REPOSITORY, &digest.to_string()).await;
    let restorable = Restorable::Manifest(&digest);
    bench.distribution.restore(&repository(), restorable).await.unwrap();
    bench.delete(REPOSITORY, &digest.to_string()).await;
    bench.push_image(REPOSITORY, "v2").await;

    bench.clock.advance(2 * HOUR);

    assert_eq!(bench.expire().await, (1, 0), "the tag that was lost with it");
    assert_eq!(bench.rows("SELECT count(*) FROM manifests").await, 1);
}

#[tokio::test]
async fn deletions_at_one_time_of_a_standing_clock_are_told_apart() {
    let bench = bench().await;
    let digest = bench.push_image(REPOSITORY, "v1").await;
    for _ in 0..3 {
        bench.push_image(REPOSITORY, "v1").await;
        bench.delete(REPOSITORY, "v1").await;
    }
    bench.push_image(REPOSITORY, "v2").await;

    bench.delete(REPOSITORY, &digest.to_string()).await;
    let restorable = Restorable::Manifest(&digest);
    let restored = bench.distribution.restore(&repository(), restorable).await.unwrap();

    assert_eq!(restored.tags, ["v2"], "not those that were deleted by themselves");
    assert_eq!(bench.rows("SELECT count(*) FROM deleted_tags").await, 3);
}

#[tokio::test]
async fn many_old_deletions_are_ended_once_by_all_who_end_them_at_once() {
    let bench = bench().await;
    let (config, layer) = (
        bench.push_blob(REPOSITORY, b"{}").await,
        bench.push_blob(REPOSITORY, b"layer").await,
    );
    for number in 0..120 {
        let body = numbered(&image(&config, &[layer]), number);
        let digest = bench
            .put(REPOSITORY, &format!("v{number}"), media_type::OCI_MANIFEST, &body)
            .await;
        bench.delete(REPOSITORY, &digest.to_string()).await;
    }
    bench.clock.advance(2 * HOUR);

    let ended = futures::future::join_all((0..4).map(|_| bench.expire())).await;

    let sum = ended.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    assert_eq!(sum, (120, 120));
    assert_eq!(bench.rows("SELECT count(*) FROM manifests").await, 0);
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
