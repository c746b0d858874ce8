//! The audit log of deletions: one line for each, when it has been committed, with what was looked at.

use crate::metadata::Micros;
use crate::metadata::collect::{Item, shown};
use crate::metadata::reviews::{Review, Subject};
use crate::metadata::tombstones::Claimed;

/// The log's target: a filter on it alone gives the audit log.
const TARGET: &str = "berth_registry::audit";

/// What was looked at before an item was taken for garbage, in the transaction that deleted it.
const LOOKED_AT: [&str; 3] = [
    "row locked; no tag, deleted tag, index, subject, retention or grace",
    "row locked; no manifest, no valid lease",
    "row locked; no repository, no valid lease",
];

fn looked_at(subject: Subject) -> &'static str {
    match subject {
        Subject::Manifest => LOOKED_AT[0],
        Subject::BlobLink => LOOKED_AT[1],
        Subject::Blob => LOOKED_AT[2],
    }
}

/// An item whose row has gone.
#[derive(Debug, Clone)]
pub(super) struct Removed {
    pub(super) review: Review,
    pub(super) size: u64,
    /// Of a blob that has an object.
    pub(super) object_key: Option<String>,
}

/// Tells of rows that a committed transaction has deleted.
pub(super) fn removed(subject: Subject, all: &[Removed], now: Micros) {
    for Removed {
        review,
        size,
        object_key,
    } in all
    {
        let Item { key, .. } = review.item;
        tracing::info!(
            target: TARGET,
            event = "collected",
            kind = subject.as_str(),
            digest = review.item.shown(),
            namespace = key.namespace,
            repository = key.repository,
            size,
            object_key,
            reason = review.reason,
            asked_at = review.created_at,
            due_at = review.due_at,
            decided_at = now,
            evidence = looked_at(subject),
            "garbage collected"
        );
    }
}

/// Tells of an object that the store has deleted.
pub(super) fn reaped(claimed: &Claimed, now: Micros) {
    tracing::info!(
        target: TARGET,
        event = "deleted",
        kind = "object",
        digest = claimed.digest.as_deref().map(shown),
        size = claimed.size,
        object_key = claimed.object_key,
        reason = claimed.reason,
        buried_at = claimed.created_at,
        deleted_at = now,
        attempts = claimed.attempts,
        "object deleted from the store"
    );
}
