//! Measures of collection. Where the meaning is that of the GitLab registry's, so is the name behind the prefix.

use crate::distribution::{CollectorStatus, Reaped, Reviewed};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::time::Duration;

/// What a worker collects: `manifest`, `blob_link`, `blob`, or `object` for the reaper.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Worker {
    worker: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Artifact {
    backend: &'static str,
    artifact: &'static str,
}

/// What this process has collected, and what waits for any.
#[derive(Debug, Clone)]
pub struct CollectorMetrics {
    runs: Family<Worker, Counter>,
    run_duration: Family<Worker, Histogram>,
    reviewed: Family<Worker, Counter>,
    kept: Family<Worker, Counter>,
    postpones: Family<Worker, Counter>,
    errors: Family<Worker, Counter>,
    deletes: Family<Artifact, Counter>,
    storage_deleted_bytes: Counter,
    storage_delete_errors: Counter,
    queue: Family<Worker, Gauge>,
    oldest_age: Family<Worker, Gauge>,
    parked: Family<Worker, Gauge>,
    paused: Gauge,
    budget_exhausted: Gauge,
}

/// From a millisecond to longer than any batch should take.
const SECONDS: [f64; 11] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

impl CollectorMetrics {
    /// Registers the measures.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            runs: Family::default(),
            run_duration: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            reviewed: Family::default(),
            kept: Family::default(),
            postpones: Family::default(),
            errors: Family::default(),
            deletes: Family::default(),
            storage_deleted_bytes: Counter::default(),
            storage_delete_errors: Counter::default(),
            queue: Family::default(),
            oldest_age: Family::default(),
            parked: Family::default(),
            paused: Gauge::default(),
            budget_exhausted: Gauge::default(),
        };
        metrics.register_counters(registry);
        metrics.register_gauges(registry);
        metrics
    }

    fn register_counters(&self, registry: &mut Registry) {
        registry.register(
            "runs",
            "Batches that found something to do, by worker",
            self.runs.clone(),
        );
        registry.register_with_unit(
            "run_duration",
            "Time of a batch",
            Unit::Seconds,
            self.run_duration.clone(),
        );
        registry.register("reviewed", "Items that were looked at", self.reviewed.clone());
        registry.register("kept", "Items that something refers to", self.kept.clone());
        registry.register(
            "postpones",
            "Items that are to be looked at again later",
            self.postpones.clone(),
        );
        registry.register("errors", "Items whose review failed", self.errors.clone());
        registry.register(
            "deletes",
            "Rows (backend database) and objects (backend storage) that were deleted",
            self.deletes.clone(),
        );
        registry.register_with_unit(
            "storage_deleted",
            "Blobs deleted from the store",
            Unit::Bytes,
            self.storage_deleted_bytes.clone(),
        );
        registry.register(
            "storage_delete_errors",
            "Objects that the store did not delete",
            self.storage_delete_errors.clone(),
        );
    }

    fn register_gauges(&self, registry: &mut Registry) {
        registry.register(
            "queue_due",
            "Items of all replicas whose time has come, counted up to 100,000",
            self.queue.clone(),
        );
        registry.register_with_unit(
            "queue_oldest_age",
            "How long the oldest of them has been due",
            Unit::Seconds,
            self.oldest_age.clone(),
        );
        registry.register(
            "parked",
            "Items that fail again and again: look at the log",
            self.parked.clone(),
        );
        registry.register("paused", "1 while somebody has paused collection", self.paused.clone());
        registry.register(
            "budget_exhausted",
            "1 while nothing is collected because the budget of the hour is spent",
            self.budget_exhausted.clone(),
        );
    }

    pub(super) fn reviewed(&self, worker: &'static str, done: &Reviewed, took: Duration) {
        let of = || Worker { worker };
        self.runs.get_or_create(&of()).inc();
        self.run_duration.get_or_create(&of()).observe(took.as_secs_f64());
        self.reviewed.get_or_create(&of()).inc_by(done.reviewed);
        self.kept.get_or_create(&of()).inc_by(done.kept);
        self.postpones.get_or_create(&of()).inc_by(done.postponed + done.failed);
        self.errors.get_or_create(&of()).inc_by(done.failed);
        let rows = Artifact {
            backend: "database",
            artifact: worker,
        };
        self.deletes.get_or_create(&rows).inc_by(done.deleted);
    }

    pub(super) fn reaped(&self, worker: &'static str, done: &Reaped, took: Duration) {
        let of = || Worker { worker };
        self.runs.get_or_create(&of()).inc();
        self.run_duration.get_or_create(&of()).observe(took.as_secs_f64());
        self.postpones.get_or_create(&of()).inc_by(done.errors);
        let objects = Artifact {
            backend: "storage",
            artifact: "blob",
        };
        self.deletes.get_or_create(&objects).inc_by(done.deleted);
        self.storage_deleted_bytes.inc_by(done.bytes);
        self.storage_delete_errors.inc_by(done.errors);
    }

    pub(super) fn stands(&self, status: &CollectorStatus) {
        for queue in &status.queues {
            let of = || Worker { worker: queue.kind };
            let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
            self.queue.get_or_create(&of()).set(whole(queue.due));
            self.oldest_age.get_or_create(&of()).set(queue.oldest_age / 1_000_000);
            self.parked.get_or_create(&of()).set(whole(queue.parked));
        }
        self.paused.set(status.paused_at.is_some().into());
        self.budget_exhausted.set(status.exhausted_until.is_some().into());
    }
}
