//! Collecting garbage while everybody works.
//!
//! Why it loses nothing, whatever happens and however short the grace:
//!
//! 1. A transaction that drops a reference, or makes something that nothing refers to yet, asks for a *review* in the same
//!    commit. So garbage is found without ever listing the store, and nothing is garbage without a review.
//! 2. A review *locks* the item's row and then looks, in a new statement, for every kind of reference and for valid
//!    leases. Whoever refers to the item takes a key-share lock on that row first: either they committed before, and
//!    are seen, or they come later, find the row gone and say so.
//! 3. Rows go first. With a blob's row its object becomes a *tombstone* in the same commit; no new row ever names that
//!    object's key again, because every upload has a key of its own. Deleting the object later harms nobody.
//! 4. The *reaper* deletes objects at their `not_before` or later, outside of any transaction. It counts its attempt in a
//!    commit of its own first, so that whoever might still want the object knows that it is lost.
//! 5. A client that was told "you need not upload this" holds a *lease*, written under the same lock.
//!
//! A crash between any two steps leaves a review or a tombstone that the next round takes up.

mod audit;
mod backoff;
mod budget;
mod drain;
mod dry_run;
mod events;
mod pacer;
mod reaper;
mod roots;
mod rounds;
mod status;
mod verdict;

pub use budget::Budget;
pub use drain::CollectError;
pub use events::{Candidate, Event, Totals, Wanted};
pub use pacer::Pacer;
pub use reaper::Reaped;
pub use status::{CollectorStatus, Queue};

use super::Distribution;
use super::error::Error;
use crate::clock::micros_of;
use crate::metadata::reviews::Subject;
use crate::metadata::{Micros, leases};
use crate::staging;
use std::time::Duration;

/// What becomes of a manifest that has neither a tag nor an index that lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untagged {
    /// It is garbage when its grace is over.
    Collect,
    /// It stays: clients may know its digest.
    Keep,
}

/// How long what may have become garbage is left alone, by what happened.
#[derive(Debug, Clone, Copy)]
pub struct Delays {
    /// A blob was uploaded or mounted.
    pub blob_upload: Duration,
    /// A manifest was pushed by its digest. No manifest is collected earlier after its push, whatever else happened.
    pub manifest_upload: Duration,
    /// A tag moved to another manifest.
    pub tag_switch: Duration,
    /// A tag was deleted.
    pub tag_delete: Duration,
    /// A client deleted a manifest: what it named, and what refers to it.
    pub manifest_delete: Duration,
    /// A client deleted an index: what it listed.
    pub manifest_list_delete: Duration,
    /// A client took a blob from a repository.
    pub blob_unlink: Duration,
}

impl Delays {
    /// The same for everything.
    pub fn all(delay: Duration) -> Self {
        Self {
            blob_upload: delay,
            manifest_upload: delay,
            tag_switch: delay,
            tag_delete: delay,
            manifest_delete: delay,
            manifest_list_delete: delay,
            blob_unlink: delay,
        }
    }
}

/// What one round did with one kind of item.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reviewed {
    /// Reviews that were taken.
    pub reviewed: u64,
    /// Items that something refers to.
    pub kept: u64,
    /// Items that are to be looked at again: in use, leased, too young, or over the budget.
    pub postponed: u64,
    /// Reviews that failed, and are to be tried again.
    pub failed: u64,
    /// Items whose rows went.
    pub deleted: u64,
    /// Bytes of blobs whose rows went: the reaper frees them.
    pub bytes: u64,
    /// The end of the hour whose budget is spent.
    pub exhausted_until: Option<Micros>,
}

impl Reviewed {
    /// Adds what another round did.
    pub fn add(&mut self, other: &Self) {
        self.reviewed += other.reviewed;
        self.kept += other.kept;
        self.postponed += other.postponed;
        self.failed += other.failed;
        self.deleted += other.deleted;
        self.bytes += other.bytes;
        self.exhausted_until = self.exhausted_until.max(other.exhausted_until);
    }
}

impl Distribution {
    /// Reviews at most `limit` items of a kind that are due, and deletes those that are garbage. Any number of replicas may
    /// do this at once.
    ///
    /// # Errors
    /// `Database`, when it cannot be reached; nothing is changed then.
    pub async fn review(&self, subject: Subject, limit: u32) -> Result<Reviewed, Error> {
        rounds::review(self, subject, limit).await
    }

    /// Deletes at most `limit` objects whose time has come from the store, and forgets them.
    ///
    /// # Errors
    /// `Database`. What the store refuses is counted and tried again later.
    pub async fn reap(&self, limit: u32) -> Result<Reaped, Error> {
        reaper::reap(self, limit).await
    }

    /// Removes at most `limit` promises to clients that have ended. Gives their number.
    ///
    /// # Errors
    /// `Database`.
    pub async fn sweep_leases(&self, limit: u32) -> Result<u64, Error> {
        let mut tx = self.metadata.begin().await?;
        let swept = leases::sweep(&mut tx, self.now(), limit).await?;
        tx.commit().await?;
        Ok(swept)
    }

    /// When the object of a blob whose row goes now may be deleted.
    fn blob_not_before(&self) -> Micros {
        if staging::mutated("quarantine_ignored") {
            return self.now();
        }
        self.now().saturating_add(micros_of(self.limits.quarantine))
    }
}
