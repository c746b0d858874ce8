//! How collection stands, for whoever asks; and stopping and resuming it for all replicas.

use super::Distribution;
use crate::distribution::error::Error;
use crate::metadata::reviews::{self, Subject};
use crate::metadata::{Micros, collector, tombstones};

/// Queues are counted up to this: nobody waits for the count of millions.
const COUNTED: u32 = 100_000;

/// What waits.
#[derive(Debug, Clone, Copy)]
pub struct Queue {
    /// `manifest`, `blob_link`, `blob` or `object`.
    pub kind: &'static str,
    /// Items whose time has come, counted up to 100,000.
    pub due: u64,
    /// How long the oldest of them has been due, in microseconds.
    pub oldest_age: Micros,
    /// Items that fail again and again: somebody should look at them.
    pub parked: u64,
}

/// How collection stands in the database, whichever replica works.
#[derive(Debug, Clone)]
pub struct CollectorStatus {
    /// Since when it is paused; absent: it works.
    pub paused_at: Option<Micros>,
    /// By whom.
    pub paused_by: Option<String>,
    /// The end of the hour whose budget is spent.
    pub exhausted_until: Option<Micros>,
    /// What was deleted in the hour of the budget.
    pub window_objects: u64,
    /// Its bytes.
    pub window_bytes: u64,
    /// Everything that waits.
    pub queues: Vec<Queue>,
}

impl Distribution {
    /// How collection stands.
    ///
    /// # Errors
    /// `Database`.
    pub async fn collector_status(&self) -> Result<CollectorStatus, Error> {
        let now = self.now();
        let mut reader = self.metadata.read().await?;
        let state = collector::state(&mut reader).await?;
        let mut queues = Vec::new();
        for subject in Subject::ALL {
            let depth = reviews::depth(&mut reader, subject, now, COUNTED).await?;
            queues.push(Queue {
                kind: subject.as_str(),
                due: depth.due,
                oldest_age: depth.oldest.map_or(0, |oldest| now - oldest),
                parked: depth.parked,
            });
        }
        let objects = tombstones::depth(&mut reader, now, COUNTED).await?;
        queues.push(Queue {
            kind: "object",
            due: objects.due,
            oldest_age: objects.oldest.map_or(0, |oldest| now - oldest),
            parked: objects.parked,
        });
        Ok(CollectorStatus {
            exhausted_until: self.limits.budget.exhausted_until(&state, now),
            paused_at: state.paused_at,
            paused_by: state.paused_by,
            window_objects: state.window_objects,
            window_bytes: state.window_bytes,
            queues,
        })
    }

    /// Whether somebody has paused collection.
    ///
    /// # Errors
    /// `Database`.
    pub async fn collection_is_paused(&self) -> Result<bool, Error> {
        let mut reader = self.metadata.read().await?;
        Ok(collector::state(&mut reader).await?.paused_at.is_some())
    }

    /// Stops collection on every replica, until it is resumed, whatever restarts. `Ok(false)`: it was paused before.
    ///
    /// # Errors
    /// `Database`.
    pub async fn pause_collection(&self, by: &str) -> Result<bool, Error> {
        let mut tx = self.metadata.begin().await?;
        let paused = collector::pause(&mut tx, by, self.now()).await?;
        tx.commit().await?;
        Ok(paused)
    }

    /// Lets collection go on. `Ok(false)`: it was not paused.
    ///
    /// # Errors
    /// `Database`.
    pub async fn resume_collection(&self) -> Result<bool, Error> {
        let mut tx = self.metadata.begin().await?;
        let resumed = collector::resume(&mut tx).await?;
        tx.commit().await?;
        Ok(resumed)
    }
}
