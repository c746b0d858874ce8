//! A collection that somebody asked for: until nothing is due.

use super::dry_run;
use super::events::{Event, Totals, Wanted};
use super::pacer::Pacer;
use super::{Distribution, Reaped};
use crate::distribution::error::Error;
use crate::metadata::reviews::Subject;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, sleep};

/// How often progress is told.
const PROGRESS: Duration = Duration::from_secs(1);
/// How long objects are waited for while rows are collected.
const EMPTY: Duration = Duration::from_millis(50);
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
    /// The pace at which objects are deleted from this store, where rows are taken by `batch`.
    pub fn pacer_of_objects(&self, batch: u32) -> Pacer {
        Pacer::of_objects(batch, self.blobs.is_local())
    }

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
        let rows_are_done = AtomicBool::new(false);
        let rows = async {
            let done = self.drain_rows(batch, events).await;
            rows_are_done.store(true, Ordering::SeqCst);
            done
        };
        let (rows, objects) = tokio::join!(rows, self.drain_objects(batch, &rows_are_done));
        let (mut totals, objects) = (rows?, objects?);
        totals.add_objects(&objects);
        while self.sweep_leases(LEASES).await? >= LEASES.into() {}
        Ok(totals)
    }

    /// Reviews until nothing is due, somebody pauses collection, or nobody listens any more.
    async fn drain_rows(&self, batch: u32, events: &Sender<Event>) -> Result<Totals, Error> {
        let (mut totals, mut pacer, mut told) = (Totals::default(), Pacer::of_rows(batch), Instant::now());
        while self.review_all(&mut pacer, &mut totals).await? && !self.collection_is_paused().await? {
            if told.elapsed() < PROGRESS {
                continue;
            }
            told = Instant::now();
            if events.send(Event::Progress(totals)).await.is_err() {
                break;
            }
        }
        Ok(totals)
    }

    /// Deletes objects as their times come, until the rows are done and no object is left.
    async fn drain_objects(&self, batch: u32, rows_are_done: &AtomicBool) -> Result<Reaped, Error> {
        let (mut totals, mut pacer) = (Reaped::default(), self.pacer_of_objects(batch));
        loop {
            let last = rows_are_done.load(Ordering::SeqCst);
            let begun = Instant::now();
            let reaped = self.reap(pacer.batch()).await?;
            totals.add(&reaped);
            if reaped.claimed > 0 {
                let took = begun.elapsed();
                tracing::debug!(objects = reaped.claimed, ?took, "a batch of objects");
                sleep(pacer.rest_after(took)).await;
            } else if last {
                return Ok(totals);
            } else {
                sleep(EMPTY).await;
            }
        }
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
                let took = begun.elapsed();
                tracing::debug!(
                    kind = subject.as_str(),
                    items = done.reviewed,
                    ?took,
                    "a batch of reviews"
                );
                sleep(pacer.rest_after(took)).await;
            }
        }
        Ok(worked)
    }
}
