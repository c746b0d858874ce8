//! The workflows of the distribution specification: pull, push, content discovery.
//!
//! Invariants, in this order in every flow: bytes, then rows, then the answer. No call to the store while a transaction
//! is open. A manifest PUT is one transaction. Existence is answered by the primary database.
//!
//! It must not know HTTP or SQL.

mod audit;
mod claim;
pub mod collect;
mod discovery;
mod erase;
mod error;
mod in_row;
mod integrity;
mod manifests;
mod mount;
mod promises;
mod pull;
mod removals;
mod restore;
mod retention;
mod rules;
pub mod scrub;
mod sweep;
mod uploads;

pub use crate::metadata::reviews::Subject as Reviews;
pub use collect::{Budget, CollectorStatus, Delays, Queue, Reaped, Reviewed, Untagged};
pub use discovery::{Listing, ReferrerCursor, ReferrerEntry, Referrers, ReferrersPage};
pub use erase::{Erased, Removed, RepositoryDeletion};
pub use error::{BodyError, Error, Switch};
pub use integrity::Integrity;
pub use manifests::{ManifestPut, StoredAs, WrongSize};
pub use mount::MountSource;
pub use restore::{DeletedManifest, DeletedTag, NotRestorable, Restorable, Restored};
pub use retention::Expired;
pub use rules::{Deletion, Rules, Sparse};
pub use sweep::Swept;
pub use uploads::{Chunk, OpenUpload};

use crate::blobs::BlobStore;
use crate::clock::{Clock, micros_of};
use crate::metadata::reviews::{Due, Reason};
use crate::metadata::{Metadata, Micros};
use promises::Promises;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

/// Bounds and times of the workflows.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How long an upload session lives after its last use.
    pub upload_expiry: Duration,
    /// How long the end of a session is remembered, for clients whose answer was lost.
    pub upload_memory: Duration,
    /// The largest blob, in bytes; absent: any.
    pub blob_size: Option<u64>,
    /// The largest blob that the database keeps with its row, in bytes.
    pub in_row: u64,
    /// The largest manifest, in bytes.
    pub manifest_size: usize,
    /// The most blobs and manifests that a manifest may name.
    pub references: usize,
    /// The most tags that one push may set beside its reference.
    pub tags: usize,
    /// How long a request may go without renewing its claim on a session: as long as a crash blocks an upload.
    pub claim: Duration,
    /// How long another request waits for a claim to be given back.
    pub claim_wait: Duration,
    /// How long what clients deleted can be restored; zero: not at all.
    pub deletion_retention: Duration,
    /// How long what may have become garbage is left alone.
    pub delays: Delays,
    /// How long an object outlives its row: see `gc.quarantine`.
    pub quarantine: Duration,
    /// What may be deleted in an hour.
    pub budget: Budget,
    /// How long a client may rely on "you need not upload this".
    pub lease: Duration,
    /// The most entries of one page, and of a listing that names no number.
    pub page: u32,
}

impl Default for Limits {
    fn default() -> Self {
        let day = Duration::from_hours(24);
        Self {
            upload_expiry: day,
            upload_memory: Duration::from_hours(1),
            blob_size: None,
            in_row: 0,
            manifest_size: 4 * 1024 * 1024,
            references: oci::MAX_REFERENCES,
            tags: 50,
            claim: Duration::from_secs(20),
            claim_wait: Duration::from_secs(5),
            deletion_retention: Duration::ZERO,
            delays: Delays::all(day),
            quarantine: day,
            budget: Budget::default(),
            lease: Duration::from_hours(1),
            page: 10_000,
        }
    }
}

/// The workflows and what they work on. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Distribution {
    metadata: Metadata,
    blobs: BlobStore,
    clock: Clock,
    limits: Limits,
    rules: Rules,
    integrity: Integrity,
    promises: Promises,
    /// What must still be done for requests that were dropped; a stop waits for it.
    afterwards: TaskTracker,
    /// Told when a repository was deleted: its rows are to be removed.
    deletions: Arc<Notify>,
}

/// How often a transaction is tried again after it met a concurrent one.
const ATTEMPTS: u64 = 6;

impl Distribution {
    /// Assembles the workflows.
    pub fn new(metadata: Metadata, blobs: BlobStore, clock: Clock, limits: Limits, rules: Rules) -> Self {
        Self {
            metadata,
            blobs,
            clock,
            limits,
            rules,
            integrity: Integrity::default(),
            promises: Promises::default(),
            afterwards: TaskTracker::new(),
            deletions: Arc::default(),
        }
    }

    /// Its bounds, for whoever reads requests.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Waits for what dropped requests have left to do.
    pub async fn settle(&self) {
        self.afterwards.close();
        self.afterwards.wait().await;
    }

    fn now(&self) -> Micros {
        self.clock.now()
    }

    fn after(&self, length: Duration) -> Micros {
        self.now().saturating_add(micros_of(length))
    }

    /// The end of a lease that begins now, rounded up so that repeated promises are one row.
    fn lease_end(&self) -> Micros {
        let length = micros_of(self.limits.lease).max(1);
        let period = (length / 4).max(1);
        let end = self.now().saturating_add(length);
        end.saturating_add(period - end.rem_euclid(period))
    }
}

/// Runs a transaction again, from its start, when it met a concurrent change; a little later each time, by chance, so
/// that two that met do not meet again.
async fn retried<T, F, Fut>(mut attempt: F) -> Result<T, Error>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, Error>>,
{
    let mut attempts = 1;
    loop {
        match attempt().await {
            Err(met) if met.is_conflict() && attempts < ATTEMPTS => attempts += 1,
            done => return done,
        }
        let pause = rand::random_range(1..=10 * attempts);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

/// A review of what something left or brought, due when clients have had their time.
fn due(distribution: &Distribution, reason: Reason) -> Due {
    let delays = &distribution.limits.delays;
    let delay = match reason {
        Reason::BlobUpload => delays.blob_upload,
        Reason::ManifestUpload => delays.manifest_upload,
        Reason::TagSwitch => delays.tag_switch,
        Reason::TagDelete => delays.tag_delete,
        Reason::ManifestDelete => delays.manifest_delete,
        Reason::ManifestListDelete => delays.manifest_list_delete,
        Reason::BlobUnlink => delays.blob_unlink,
    };
    Due {
        at: distribution.after(delay),
        reason,
        now: distribution.now(),
    }
}
