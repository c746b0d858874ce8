//! Actors, and waiting for them.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test's tool stops where it fails"
)]

use crate::gc::world::{HOUR, REPOSITORY, World, chunk, name};
use crate::support::content::sha256;
use berth_registry::config::Database;
use berth_registry::distribution::{
    Erased, Error, Expired, ManifestPut, MountSource, Reaped, Restorable, Restored, Reviewed, Reviews, StoredAs,
};
use berth_registry::staging;
use oci::{Digest, Reference};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(2);
const BATCH: u32 = 100;
/// Statements that wait for a lock.
const WAITING: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'";

/// Something under way.
pub(super) struct Actor<T> {
    task: JoinSet<T>,
    ended: Arc<AtomicBool>,
}

impl<T: Send + 'static> Actor<T> {
    pub(super) fn start(work: impl Future<Output = T> + Send + 'static) -> Self {
        let mut task = JoinSet::new();
        let ended = Arc::new(AtomicBool::new(false));
        let tells = Arc::clone(&ended);
        // What was noted before is of others.
        drop(staging::noted());
        task.spawn(async move {
            let end = work.await;
            tells.store(true, Ordering::SeqCst);
            end
        });
        Self { task, ended }
    }

    /// What comes of it.
    pub(super) async fn ends(mut self) -> T {
        let ended = timeout(LIMIT, self.task.join_next()).await;
        ended.expect("an actor ends in time").unwrap().unwrap()
    }

    /// It is gone in the middle of what it does.
    pub(super) async fn dies(mut self) {
        self.task.shutdown().await;
    }

    /// Waits until it waits for the database: for a lock of it, or for the one writer.
    pub(super) async fn is_kept_waiting(&self, world: &World) {
        self.waits_or_ends(world).await;
        assert!(!self.ended.load(Ordering::SeqCst), "it did not wait");
    }

    /// The same, or it ends without.
    pub(super) async fn waits_or_ends(&self, world: &World) {
        let ended = Arc::clone(&self.ended);
        let waiting = async {
            loop {
                let kept = match world.config.database {
                    Database::Sqlite { .. } => staging::noted().contains(&"transaction.begins"),
                    Database::Postgres { .. } => world.count(WAITING).await > 0,
                };
                if kept || ended.load(Ordering::SeqCst) {
                    return;
                }
                sleep(POLL).await;
            }
        };
        timeout(LIMIT, waiting)
            .await
            .expect("somebody waits for the database, or ends");
    }
}

pub(super) fn is_sqlite(world: &World) -> bool {
    matches!(world.config.database, Database::Sqlite { .. })
}

/// Time passes: leases end, what was put off is due.
pub(super) fn later(world: &World) {
    world.clock.advance(HOUR);
}

/// Everything is collected and every object deleted whose time has come, and what is left is whole.
pub(super) async fn settle(world: &World) {
    for _ in 0..3 {
        later(world);
        // What a foreign key has to stop, the collector did not see.
        assert_eq!(world.collect().await.failed, 0);
        assert_eq!(world.reap().await.errors, 0);
    }
}

pub(super) fn uploads(world: &World, repository: &'static str, bytes: &'static [u8]) -> Actor<Result<(), Error>> {
    let distribution = world.distribution.clone();
    Actor::start(async move {
        let repository = name(repository);
        let upload = distribution.start_upload(&repository).await?;
        let digest = sha256(bytes);
        distribution
            .finish_upload(&repository, upload.id, digest, chunk(bytes))
            .await
    })
}

pub(super) fn puts(
    world: &World,
    reference: &(impl ToString + ?Sized),
    media_type: &'static str,
    body: &str,
) -> Actor<Result<StoredAs, Error>> {
    let (distribution, body) = (world.distribution.clone(), body.to_owned());
    let reference: Reference = reference.to_string().parse().unwrap();
    Actor::start(async move {
        let put = ManifestPut {
            reference: &reference,
            tags: &[],
            content_type: Some(media_type),
            payload: body.as_bytes(),
        };
        distribution.put_manifest(&name(REPOSITORY), put).await
    })
}

pub(super) fn deletes(world: &World, reference: &(impl ToString + ?Sized)) -> Actor<Result<(), Error>> {
    let distribution = world.distribution.clone();
    let reference: Reference = reference.to_string().parse().unwrap();
    Actor::start(async move { distribution.delete_manifest(&name(REPOSITORY), &reference).await })
}

pub(super) fn deletes_repository(world: &World) -> Actor<()> {
    let distribution = world.distribution.clone();
    Actor::start(async move {
        let deleted = distribution.delete_repository(&name(REPOSITORY)).await;
        drop(deleted.unwrap());
    })
}

/// One batch of rows of deleted repositories.
pub(super) fn erases(world: &World) -> Actor<Erased> {
    let distribution = world.distribution.clone();
    Actor::start(async move { distribution.erase_some().await.unwrap() })
}

/// Every row of deleted repositories.
pub(super) async fn erases_all(world: &World) {
    while world.distribution.erase_some().await.unwrap() != Erased::Nothing {}
}

pub(super) fn restores(world: &World, manifest: Digest) -> Actor<Result<Restored, Error>> {
    let distribution = world.distribution.clone();
    Actor::start(async move {
        let what = Restorable::Manifest(&manifest);
        distribution.restore(&name(REPOSITORY), what).await
    })
}

/// Everything that can no longer be restored goes for good.
pub(super) fn expires(world: &World) -> Actor<Expired> {
    let distribution = world.distribution.clone();
    Actor::start(async move { distribution.expire_deleted().await.unwrap() })
}

/// HEAD by a client that will not upload what is there.
pub(super) fn asks(world: &World, repository: &'static str, digest: Digest) -> Actor<bool> {
    let distribution = world.distribution.clone();
    Actor::start(async move {
        match distribution.promised_blob(&name(repository), &digest).await {
            Ok(_) => true,
            Err(Error::BlobUnknown(_) | Error::NameUnknown) => false,
            Err(other) => panic!("{other}"),
        }
    })
}

pub(super) fn mounts(world: &World, into: &'static str, digest: Digest) -> Actor<bool> {
    let distribution = world.distribution.clone();
    Actor::start(async move {
        let mounted = distribution.mount(&name(into), digest, MountSource::Anywhere).await;
        mounted.unwrap()
    })
}

/// One batch of reviews of a kind.
pub(super) fn reviews(world: &World, kind: Reviews) -> Actor<Reviewed> {
    let distribution = world.distribution.clone();
    Actor::start(async move { distribution.review(kind, BATCH).await.unwrap() })
}

/// One batch of objects.
pub(super) fn reaps(world: &World) -> Actor<Reaped> {
    let distribution = world.distribution.clone();
    Actor::start(async move { distribution.reap(BATCH).await.unwrap() })
}

/// The manifest can be pulled with everything that it names, bytes and all.
pub(super) async fn is_whole(world: &World, reference: impl ToString) -> bool {
    let repository = name(REPOSITORY);
    let reference: Reference = reference.to_string().parse().unwrap();
    let Ok(stored) = world.distribution.manifest(&repository, &reference).await else {
        return false;
    };
    let manifest = oci::Manifest::parse(Some(&stored.media_type), &stored.payload).unwrap();
    for referred in manifest.references() {
        let there = if referred.kind == oci::ReferenceKind::Child {
            Box::pin(is_whole(world, referred.digest)).await
        } else {
            world.has_blob(REPOSITORY, referred.digest).await
        };
        if !there {
            return false;
        }
    }
    true
}

/// No row without what it refers to, no object without a row.
pub(super) async fn is_consistent(world: &World) {
    const DANGLING: [&str; 3] = [
        "SELECT count(*) FROM tags t WHERE NOT EXISTS (SELECT 1 FROM manifests m WHERE m.digest = t.manifest_digest)",
        "SELECT count(*) FROM manifest_blobs n WHERE NOT EXISTS (SELECT 1 FROM blobs b WHERE b.digest = n.blob_digest)",
        "SELECT count(*) FROM blobs b JOIN tombstones t ON t.object_key = b.object_key",
    ];
    for dangling in DANGLING {
        assert_eq!(world.count(dangling).await, 0, "{dangling}");
    }
    if let Some(files) = world.files() {
        let blobs = world.count("SELECT count(*) FROM blobs").await;
        let buried = world.count("SELECT count(*) FROM tombstones").await;
        let open = world
            .count("SELECT count(*) FROM upload_sessions WHERE state = 0")
            .await;
        let files = i64::try_from(files).unwrap();
        assert!(
            (blobs..=blobs + buried + open).contains(&files),
            "{files} files, {blobs} blobs"
        );
    }
}

/// Nothing at all is left.
pub(super) async fn is_empty(world: &World) {
    for rows in [
        "SELECT count(*) FROM blobs",
        "SELECT count(*) FROM blob_links",
        "SELECT count(*) FROM manifests",
        "SELECT count(*) FROM reviews",
        "SELECT count(*) FROM tombstones",
    ] {
        assert_eq!(world.count(rows).await, 0, "{rows}");
    }
    assert!(world.files().is_none_or(|files| files == 0));
}
