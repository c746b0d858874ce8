//! A collection that somebody asked for: until nothing is due.

use super::Distribution;
use super::dry_run;
use super::events::{Event, Totals, Wanted};
use super::pacer::Pacer;
use crate::distribution::error::Error;
use crate::metadata::reviews::Subject;
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, sleep};

/// How often progress is told.
const PROGRESS: Duration = Duration::from_secs(1);
/// Leases that one transaction removes.
const LEASES: u32 = 500;

/// A collection that was asked for could not be done, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// A workflow failed.
    #[error(transparent)]
    Failed(#[from] Error),
    /// Somebody has paused collection.
    #[error(
        "collection is paused by `{by}`; resume it with POST /management/v1/gc/resume on a server's admin listener, or look \
         with --dry-run"
    )]
    Paused {
        /// Who.
        by: String,
    },
}

impl Distribution {
    /// Collects and deletes until nothing is due, or says what would go; progress goes to `events`. It ends when nobody
    /// listens any more.
    ///
    /// # Errors
    /// When collection is paused, or the database fails; what was done until then stays done.
    pub async fn collect(&self, wanted: Wanted, batch: u32, events: &Sender<Event>) -> Result<Totals, CollectError> {
        if wanted.dry_run {
            return Ok(dry_run::foresee(self, events).await?);
        }
        let status = self.collector_status().await?;
        if status.paused_at.is_some() {
            let by = status.paused_by.unwrap_or_default();
            return Err(CollectError::Paused { by });
        }
        let mut totals = Totals::default();
        let (mut rows, mut objects) = (Pacer::new(batch), Pacer::new(batch));
        let mut told = Instant::now();
        loop {
            let reviewed = self.review_all(&mut rows, &mut totals).await?;
            let begun = Instant::now();
            let reaped = self.reap(objects.batch()).await?;
            totals.add_objects(&reaped);
            if reaped.claimed > 0 {
                sleep(objects.rest_after(begun.elapsed())).await;
            }
            if told.elapsed() >= PROGRESS {
                told = Instant::now();
                if events.send(Event::Progress(totals)).await.is_err() {
                    return Ok(totals);
                }
            }
            if !reviewed && reaped.claimed == 0 || self.collection_is_paused().await? {
                break;
            }
        }
        while self.sweep_leases(LEASES).await? >= LEASES.into() {}
        Ok(totals)
    }

    /// One batch of each kind. `false`: nothing was due.
    async fn review_all(&self, pacer: &mut Pacer, totals: &mut Totals) -> Result<bool, Error> {
        let mut worked = false;
        for subject in Subject::ALL {
            let begun = Instant::now();
            let done = self.review(subject, pacer.batch()).await?;
            totals.add(subject, &done);
            if done.reviewed > 0 {
                worked = true;
                sleep(pacer.rest_after(begun.elapsed())).await;
            }
        }
        Ok(worked)
    }
}
