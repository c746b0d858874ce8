//! Comparing the store with the rows: what is missing, what is corrupt, what nothing names.
//!
//! Why it never deletes what somebody needs, with any number of servers at work:
//!
//! - A key is named by a committed session before its first byte is written, and its name moves on, to a blob or a
//!   tombstone, in one transaction. So an object that was listed has a name from then on, until it is deleted.
//! - Names are read after the listing, sessions first, then blobs, then tombstones: in the order in which they move. A
//!   key that is in none of them was given up before, by whatever wrote it, and keys are never used again.
//! - Before a deletion names are read once more, and only objects that were written long ago are deleted: a database
//!   that was restored from yesterday's copy does not know today's pushes.
//!
//! A mark (`corrupt_at`) names the object that was looked at, so it does not fall on what a push has put in its place. A
//! mark that is wrong costs an upload; it never costs bytes.
//!
//! When far too much is wrong, the store and the database do not belong together, and nothing is changed.

mod check;
mod names;
mod pace;
mod report;
mod round;
mod unknown;

pub use report::{Event, Image, Report, Unknown, Wrong};

use super::Distribution;
use crate::blobs;
use crate::metadata;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::sync::mpsc::Sender;

/// The least age of an object that may be deleted because nothing names it.
pub const LEAST_AGE: Duration = Duration::from_hours(24);

/// What to do.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Scrub {
    /// Read every object and compare it with its digest; otherwise only that it is there, and its size.
    pub verify: Option<Verify>,
    /// Delete what nothing names.
    pub delete: Option<DeleteUnknown>,
    /// Change nothing: neither marks nor objects, nor the place where the next one goes on.
    pub dry_run: bool,
    /// Go on although far too much is wrong.
    pub force: bool,
}

/// How to read objects.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Verify {
    /// Bytes that are read in a second; absent: as many as there are.
    pub bytes_per_second: Option<u64>,
    /// Begin with the first object, wherever the scrub before has ended.
    pub restart: bool,
}

/// Which objects to delete when nothing names them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeleteUnknown {
    /// They were written before, at least [`LEAST_AGE`].
    pub older_than: Duration,
    /// At most so many.
    pub objects: u64,
    /// At most so many bytes.
    pub bytes: u64,
}

/// A scrub could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ScrubError {
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] metadata::Error),
    /// The store failed, and went on failing.
    #[error("the object store failed")]
    Store(#[from] blobs::Error),
    /// Nobody listens any more.
    #[error("stopped")]
    Stopped,
}

/// One scrub under way.
struct Run<'a> {
    distribution: &'a Distribution,
    scrub: &'a Scrub,
    events: &'a Sender<Event>,
    report: Report,
}

impl Distribution {
    /// Compares the store with the rows. Tells of each finding as it comes, and gives the totals. Many may run at once,
    /// beside any number of servers.
    ///
    /// # Errors
    /// `Database`, `Store`; `Stopped` when the receiver of the events is gone. What was done until then stays done.
    pub async fn scrub(&self, scrub: &Scrub, events: &Sender<Event>) -> Result<Report, ScrubError> {
        let mut run = Run {
            distribution: self,
            scrub,
            events,
            report: Report::default(),
        };
        check::rows(&mut run).await?;
        unknown::objects(&mut run).await?;
        let report = run.report;
        self.integrity.scrubbed(&report);
        tell(&report);
        Ok(report)
    }
}

fn tell(report: &Report) {
    tracing::info!(
        blobs = report.blobs,
        verified = report.verified,
        missing = report.missing,
        corrupt = report.corrupt,
        unreadable = report.unreadable,
        objects = report.objects,
        unknown = report.unknown,
        deleted = report.deleted,
        stopped = report.refused.as_deref().unwrap_or_default(),
        "scrubbed"
    );
}

impl Run<'_> {
    async fn tell(&self, event: Event) -> Result<(), ScrubError> {
        self.events.send(event).await.map_err(|_gone| ScrubError::Stopped)
    }

    /// True when so much is wrong that it says more of the settings than of the objects.
    fn is_far_too_much(&self, wrong: u64, of: u64) -> bool {
        const FEW: u64 = 20;
        !self.scrub.force && (wrong > FEW && wrong.saturating_mul(10) > of || wrong > 1 && wrong == of)
    }
}
