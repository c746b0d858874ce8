//! Blobs whose bytes are wrong: marked when that is found out, healed by the next push of the same digest.
//!
//! To whoever pulls, a marked blob is an error that says so; to whoever pushes, it is not there.

use super::Distribution;
use super::error::Error;
use super::scrub::Report;
use crate::blobs::{self, SMALL};
use crate::clock::micros_of;
use crate::metadata::blobs::{Blob, Place};
use crate::metadata::{self, Micros, Tx, corrupt};
use oci::Digest;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// A server that reads marks at most one blob in this time: a store that is mounted wrongly must not cost more.
const MARK_EVERY: Duration = Duration::from_mins(1);

/// A store may not show an object at once that it has just taken.
const YOUNG: Duration = Duration::from_mins(1);

/// Measures of what is wrong with stored bytes, and of scrubs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Integrity {
    marked: Counter,
    healed: Counter,
    recovered: Counter,
    scrubs: Counter,
    verified_bytes: Counter,
    unknown_deleted: Counter,
    unknown_deleted_bytes: Counter,
    /// When a server that reads may mark the next blob.
    next_mark: Arc<AtomicI64>,
}

impl Default for Integrity {
    fn default() -> Self {
        Self {
            marked: Counter::default(),
            healed: Counter::default(),
            recovered: Counter::default(),
            scrubs: Counter::default(),
            verified_bytes: Counter::default(),
            unknown_deleted: Counter::default(),
            unknown_deleted_bytes: Counter::default(),
            next_mark: Arc::new(AtomicI64::new(Micros::MIN)),
        }
    }
}

impl Integrity {
    /// Registers the measures.
    pub fn register(&self, registry: &mut Registry) {
        let measures = [
            ("marked", "Blobs found missing or corrupt", &self.marked),
            ("healed", "Marked blobs that a push gave new bytes", &self.healed),
            (
                "recovered",
                "Marked blobs that were found to be right again",
                &self.recovered,
            ),
            ("scrubs", "Scrubs of this process that came to their end", &self.scrubs),
            ("verified_bytes", "Bytes that scrubs have hashed", &self.verified_bytes),
            (
                "unknown_deleted",
                "Objects that scrubs deleted because nothing named them",
                &self.unknown_deleted,
            ),
            ("unknown_deleted_bytes", "Their bytes", &self.unknown_deleted_bytes),
        ];
        for (name, help, counter) in measures {
            registry.register(name, help, counter.clone());
        }
    }

    pub(super) fn scrubbed(&self, report: &Report) {
        self.scrubs.inc();
        self.recovered.inc_by(report.recovered);
        self.verified_bytes.inc_by(report.verified_bytes);
        self.unknown_deleted.inc_by(report.deleted);
        self.unknown_deleted_bytes.inc_by(report.deleted_bytes);
    }

    /// True when enough time has passed since the mark before.
    fn may_mark(&self, now: Micros) -> bool {
        let next = now.saturating_add(micros_of(MARK_EVERY));
        let passed = |at: Micros| (at <= now).then_some(next);
        self.next_mark
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, passed)
            .is_ok()
    }
}

impl Distribution {
    /// Its measures.
    pub fn integrity(&self) -> &Integrity {
        &self.integrity
    }

    /// Marks a blob, unless its bytes are others by now. `Ok(false)`: it was not marked by this call.
    pub(super) async fn mark_corrupt(
        &self,
        digest: &Digest,
        looked_at: &Place,
        found_by: &'static str,
    ) -> Result<bool, metadata::Error> {
        let mut tx = self.metadata.begin_statement().await?;
        let marked = corrupt::mark(&mut tx, digest, looked_at, self.now()).await?;
        tx.commit().await?;
        if marked {
            self.integrity.marked.inc();
            tracing::error!(%digest, object_key = looked_at.object_key(), found_by, "blob is missing or corrupt; a push of it heals it");
        }
        Ok(marked)
    }

    /// What reading a blob came to. When its object is gone, short or damaged, that is looked at again, and the blob is marked.
    pub(super) fn suspect(&self, blob: &Blob, failed: &blobs::Error) {
        let is_its_own = matches!(
            failed,
            blobs::Error::NotFound { .. } | blobs::Error::Short { .. } | blobs::Error::Damaged { .. }
        );
        if is_its_own {
            self.look_again(
                blob,
                blob.size <= SMALL || matches!(failed, blobs::Error::Damaged { .. }),
            );
        }
    }

    /// A blob whose bytes, in its row, are not those of its digest.
    pub(super) fn suspect_row(&self, blob: &Blob) {
        self.look_again(blob, true);
    }

    fn look_again(&self, blob: &Blob, hash: bool) {
        if blob.corrupt || !self.integrity.may_mark(self.now()) {
            return;
        }
        let (distribution, blob) = (self.clone(), blob.clone());
        self.afterwards.spawn(async move {
            if let Err(error) = distribution.mark_if_wrong(&blob, hash).await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(digest = %blob.digest, error, "blob is perhaps corrupt, and was not marked");
            }
        });
    }

    /// True when the blob's object is still this one, and has been for so long that every store must show it.
    pub(super) async fn is_settled(&self, blob: &Blob) -> Result<bool, metadata::Error> {
        let mut reader = self.metadata.read().await?;
        let since = corrupt::named_since(&mut reader, &blob.digest, blob.place.object_key()).await?;
        Ok(since.is_some_and(|since| since.saturating_add(micros_of(YOUNG)) <= self.now()))
    }

    /// Looks at the size, and at the bytes too where they are few or are what is suspected.
    async fn mark_if_wrong(&self, blob: &Blob, hash: bool) -> Result<(), Error> {
        let Place::Object(key) = &blob.place else {
            self.mark_corrupt(&blob.digest, &blob.place, "read").await?;
            return Ok(());
        };
        // A store that is not there has no object either.
        self.blobs.probe().await?;
        if !self.is_settled(blob).await? {
            return Ok(());
        }
        if self.blobs.size(key).await? != Some(blob.size) || (hash && self.is_damaged(blob, key).await?) {
            self.mark_corrupt(&blob.digest, &blob.place, "read").await?;
        }
        Ok(())
    }

    async fn is_damaged(&self, blob: &Blob, key: &str) -> Result<bool, Error> {
        let hashed = self.blobs.hash(key, blob.size, blob.digest.algorithm());
        Ok(hashed.await? != blob.digest)
    }

    /// Gives a marked blob the bytes of this push. `Ok(false)`: it is not marked, or another push was first.
    pub(super) async fn heal(&self, tx: &mut Tx, there: &Blob, ours: &Blob) -> Result<bool, Error> {
        if !there.corrupt || !corrupt::heal(tx, there, ours).await? {
            return Ok(false);
        }
        if let Some(key) = there.place.object_key() {
            self.bury(tx, &[key], None, "corrupt").await?;
        }
        self.integrity.healed.inc();
        tracing::info!(digest = %ours.digest, "a corrupt blob is healed by a push");
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_reads_marks_one_blob_a_minute() {
        let integrity = Integrity::default();

        assert!(integrity.may_mark(5));
        assert!(!integrity.may_mark(6));
        assert!(!integrity.may_mark(59_999_999));
        assert!(integrity.may_mark(60_000_005));
    }
}
