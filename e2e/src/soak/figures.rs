//! What a soak comes to: one line for people, one line of JSON for the folder of results.

use std::{fmt, fs::OpenOptions, io::Write, path::Path, sync::atomic::Ordering, time::Duration};

use anyhow::{Context, Result};
use serde_json::json;

use super::{
    checker::Violation,
    history::{Call, History, Outcome},
    nemesis::Tally,
};

/// The figures of one pair of stores.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) stores: &'static str,
    pub(super) seed: u64,
    pub(super) length: Duration,
    pub(super) requests: usize,
    /// Manifests whose 201 was seen.
    pub(super) pushes: usize,
    /// Blobs whose 201 was seen.
    pub(super) blobs: usize,
    /// Requests that ended without an answer that can be relied on.
    pub(super) unknown: usize,
    pub(super) nemesis: String,
    pub(super) kills: u64,
    pub(super) collected: Collected,
    pub(super) lost: usize,
    pub(super) leaked: usize,
    /// Everything else that is wrong.
    pub(super) wrong: usize,
}

/// What was collected, as the servers count it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Collected {
    /// Runs of a collector that looked at something.
    pub(super) reviews: f64,
    /// Objects that were deleted from the store.
    pub(super) objects: f64,
    pub(super) bytes: f64,
}

impl Figures {
    /// Counts what is in a history.
    pub(super) fn of(history: &History, violations: &[Violation]) -> Self {
        let done = |is: fn(&Call) -> bool| {
            let records = history.records.iter();
            records.filter(|record| record.is_done() && is(&record.call)).count()
        };
        let leaked = violations
            .iter()
            .filter(|found| found.what.starts_with("leaked"))
            .count();
        let lost = violations.iter().filter(|found| is_loss(found)).count();
        Self {
            stores: "",
            seed: 0,
            length: Duration::ZERO,
            requests: history.records.len(),
            pushes: done(|call| matches!(call, Call::PutManifest { .. })),
            blobs: done(|call| matches!(call, Call::Finish { .. })),
            unknown: history
                .records
                .iter()
                .filter(|record| matches!(record.outcome, Outcome::Unknown(_) | Outcome::NotSent))
                .count(),
            nemesis: String::new(),
            kills: 0,
            collected: Collected::default(),
            lost,
            leaked,
            wrong: violations.len() - lost - leaked,
        }
    }

    /// With what the nemesis did, and how many requests to the store met with trouble.
    pub(super) fn with(self, tally: &Tally, troubled: u64) -> Self {
        let kills = tally.server_kills.load(Ordering::SeqCst) + tally.database_kills.load(Ordering::SeqCst);
        Self {
            nemesis: format!("{tally} ({troubled} requests)"),
            kills,
            ..self
        }
    }

    /// Adds a line to the file of results.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn keep(&self, path: &Path) -> Result<()> {
        let line = json!({
            "stores": self.stores, "seed": self.seed, "seconds": self.length.as_secs_f64(),
            "requests": self.requests, "pushes": self.pushes, "blobs": self.blobs, "unknown": self.unknown,
            "kills": self.kills, "nemesis": self.nemesis,
            "reviews": self.collected.reviews, "objects_deleted": self.collected.objects,
            "bytes_freed": self.collected.bytes,
            "lost": self.lost, "leaked": self.leaked, "wrong": self.wrong,
        });
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .with_context(|| format!("open {}", path.display()))?;
        Ok(writeln!(file, "{line}")?)
    }
}

/// Something acknowledged is not there.
fn is_loss(violation: &Violation) -> bool {
    let says = ["O3 closure", "O4 durability", "O11 lease"].contains(&violation.oracle);
    says || violation.what.starts_with("lost")
}

impl fmt::Display for Figures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = self.collected.bytes / 1e6;
        write!(
            out,
            "{}: {} requests in {:.0} s, {} manifests and {} blobs acknowledged, {} requests without a clear answer; {}; \
             {:.0} reviews, {:.0} objects deleted, {megabytes:.0} MB freed; {} lost, {} leaked, {} wrong (seed {})",
            self.stores,
            self.requests,
            self.length.as_secs_f64(),
            self.pushes,
            self.blobs,
            self.unknown,
            self.nemesis,
            self.collected.reviews,
            self.collected.objects,
            self.lost,
            self.leaked,
            self.wrong,
            self.seed
        )
    }
}
