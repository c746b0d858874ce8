//! Drives the collector and the reaper, beside each other: a slow store does not hold up the rows.

use super::metrics::CollectorMetrics;
use crate::distribution::collect::Pacer;
use crate::distribution::{Distribution, Error, Reviewed, Reviews};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How often queues are counted and ended leases removed.
const HOUSEKEEPING: Duration = Duration::from_secs(15);
/// Leases that one transaction removes.
const LEASES: u32 = 500;
/// After a failure of the database, doubled up to a minute.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
const OBJECTS: &str = "object";

/// How to drive.
#[derive(Debug, Clone, Copy)]
pub struct Drive {
    /// How long to rest when nothing is due.
    pub interval: Duration,
    /// The most items of a batch.
    pub batch: u32,
}

/// Collects until it is told to stop.
#[derive(Debug, Clone)]
pub struct Collector {
    distribution: Distribution,
    drive: Drive,
    metrics: CollectorMetrics,
    wake: Arc<Notify>,
}

impl Collector {
    /// Collects what `distribution` says is due; `wake` ends its rest.
    pub fn new(distribution: Distribution, drive: Drive, metrics: CollectorMetrics, wake: Arc<Notify>) -> Self {
        Self {
            distribution,
            drive,
            metrics,
            wake,
        }
    }

    /// Runs until `stop`. What fails is told and tried again.
    pub async fn run(self, stop: CancellationToken) {
        let working = async {
            tokio::join!(self.keep_collecting(), self.keep_reaping(), self.keep_house());
        };
        stop.run_until_cancelled(Box::pin(working)).await;
    }

    async fn keep_collecting(&self) {
        let (mut pacer, mut pause) = (Pacer::of_rows(self.drive.batch), FIRST_PAUSE);
        loop {
            match self.collect_round(&mut pacer).await {
                Ok(true) => pause = FIRST_PAUSE,
                Ok(false) => {
                    pause = FIRST_PAUSE;
                    self.idle().await;
                }
                Err(failed) => pause = self.failed("garbage not collected", &failed, pause).await,
            }
        }
    }

    async fn keep_reaping(&self) {
        let (mut pacer, mut pause) = (self.distribution.pacer_of_objects(self.drive.batch), FIRST_PAUSE);
        loop {
            match self.reap_round(&mut pacer).await {
                Ok(true) => pause = FIRST_PAUSE,
                Ok(false) => {
                    pause = FIRST_PAUSE;
                    self.idle().await;
                }
                Err(failed) => pause = self.failed("objects not deleted", &failed, pause).await,
            }
        }
    }

    async fn keep_house(&self) {
        loop {
            if let Err(failed) = self.house_round().await {
                tracing::warn!(
                    error = &failed as &dyn std::error::Error,
                    "queues not counted, or leases not removed"
                );
            }
            sleep(HOUSEKEEPING.mul_f64(rand::random_range(0.75..1.25))).await;
        }
    }

    async fn house_round(&self) -> Result<(), Error> {
        self.metrics.stands(&self.distribution.collector_status().await?);
        self.sweep_leases().await
    }

    async fn sweep_leases(&self) -> Result<(), Error> {
        while self.distribution.sweep_leases(LEASES).await? >= LEASES.into() {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Replicas that started together do not ask together.
    async fn idle(&self) {
        let rest = self.drive.interval.mul_f64(rand::random_range(0.5..1.0));
        drop(timeout(rest, self.wake.notified()).await);
    }

    async fn failed(&self, what: &'static str, failed: &Error, pause: Duration) -> Duration {
        tracing::warn!(error = failed as &dyn std::error::Error, again_in = ?pause, "{what}");
        sleep(pause.mul_f64(rand::random_range(0.75..1.25))).await;
        (pause * 2).min(LONGEST_PAUSE)
    }

    /// One batch of each kind. `false`: nothing was due, or collection is paused.
    async fn collect_round(&self, pacer: &mut Pacer) -> Result<bool, Error> {
        if self.distribution.collection_is_paused().await? {
            return Ok(false);
        }
        let mut worked = false;
        for reviews in Reviews::ALL {
            let begun = Instant::now();
            let done = self.distribution.review(reviews, pacer.batch()).await?;
            if done.reviewed == 0 {
                continue;
            }
            worked = true;
            let took = begun.elapsed();
            self.metrics.reviewed(reviews.as_str(), &done, took);
            tell_of_budget(&done);
            sleep(pacer.rest_after(took)).await;
        }
        Ok(worked)
    }

    async fn reap_round(&self, pacer: &mut Pacer) -> Result<bool, Error> {
        if self.distribution.collection_is_paused().await? {
            return Ok(false);
        }
        let begun = Instant::now();
        let done = self.distribution.reap(pacer.batch()).await?;
        if done.claimed == 0 {
            return Ok(false);
        }
        let took = begun.elapsed();
        self.metrics.reaped(OBJECTS, &done, took);
        sleep(pacer.rest_after(took)).await;
        Ok(true)
    }
}

fn tell_of_budget(done: &Reviewed) {
    if done.exhausted_until.is_some() {
        tracing::warn!(
            postponed = done.postponed,
            "the budget of this hour is spent: what is left is collected in the next (gc.budget)"
        );
    }
}
