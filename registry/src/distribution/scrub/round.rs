//! How far a scrub has come among the blobs, remembered for the next one while it re-hashes.

use super::check::{Marks, set};
use super::report::Event;
use super::{Run, ScrubError};
use crate::metadata::blobs::Blob;
use crate::metadata::scrub::{self, Progress};
use oci::Digest;
use std::time::Duration;
use tokio::time::Instant;

const RECORD_EVERY: Duration = Duration::from_secs(2);

/// One pass over the blobs, which several scrubs may share.
pub(super) struct Round {
    position: Option<Digest>,
    objects: u64,
    bytes: u64,
    started_at: i64,
    recorded_at: Instant,
    /// Marks that are due: set before the place behind them is remembered.
    pub(super) marks: Marks,
}

impl Round {
    /// Goes on where the scrub before has ended, when objects are to be read; otherwise begins.
    pub(super) async fn begin(run: &mut Run<'_>) -> Result<Self, ScrubError> {
        let mut round = Self {
            position: None,
            objects: 0,
            bytes: 0,
            started_at: run.distribution.now(),
            recorded_at: Instant::now(),
            marks: Marks::new(),
        };
        if run.scrub.verify.as_ref().is_none_or(|verify| verify.restart) {
            return Ok(round);
        }
        let mut reader = run.distribution.metadata.read().await?;
        if let Some(before) = scrub::progress(&mut reader).await? {
            run.report.resumed_after = Some(before.position.to_string());
            round.position = Some(before.position);
            (round.objects, round.bytes) = (before.objects, before.bytes);
            round.started_at = before.started_at;
        }
        Ok(round)
    }

    pub(super) fn position(&self) -> Option<&Digest> {
        self.position.as_ref()
    }

    /// Everything up to this blob is done.
    pub(super) async fn passed(
        &mut self,
        run: &mut Run<'_>,
        blob: &Blob,
        hashed: Option<u64>,
    ) -> Result<(), ScrubError> {
        self.position = Some(blob.digest);
        run.report.blobs += 1;
        if let Some(bytes) = hashed {
            run.report.verified += 1;
            run.report.verified_bytes += bytes;
            self.objects += 1;
            self.bytes += bytes;
        }
        if self.recorded_at.elapsed() < RECORD_EVERY {
            return Ok(());
        }
        self.recorded_at = Instant::now();
        set(run, &mut self.marks).await?;
        self.record(run).await?;
        run.tell(Event::Progress(run.report.clone())).await
    }

    async fn record(&self, run: &Run<'_>) -> Result<(), ScrubError> {
        let (Some(position), true) = (self.position, is_kept(run)) else {
            return Ok(());
        };
        let progress = Progress {
            position,
            objects: self.objects,
            bytes: self.bytes,
            started_at: self.started_at,
        };
        let mut tx = run.distribution.metadata.begin_statement().await?;
        scrub::record(&mut tx, &progress, run.distribution.now()).await?;
        Ok(tx.commit().await?)
    }

    /// The next scrub begins anew.
    pub(super) async fn end(mut self, run: &mut Run<'_>) -> Result<(), ScrubError> {
        set(run, &mut self.marks).await?;
        if !is_kept(run) {
            return Ok(());
        }
        let mut tx = run.distribution.metadata.begin_statement().await?;
        scrub::forget(&mut tx).await?;
        Ok(tx.commit().await?)
    }
}

fn is_kept(run: &Run<'_>) -> bool {
    run.scrub.verify.is_some() && !run.scrub.dry_run
}
