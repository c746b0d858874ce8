//! The audit log of what is restored, and of what goes for good though nobody collects it: one line for each, when it has
//! been committed.

use super::restore::Restored;
use crate::metadata::repository_deletions::RepositoryDeletion;
use crate::metadata::{Micros, RepositoryKey};
use oci::{Digest, RepositoryName};

/// The log's target: a filter on it alone gives the audit log.
const TARGET: &str = "berth_registry::audit";

/// Tells of a deletion that was undone.
pub(super) fn restored(repository: &RepositoryName, restored: &Restored) {
    tracing::info!(
        target: TARGET,
        event = "restored",
        %repository,
        digest = %restored.manifest,
        tags = restored.tags.join(","),
        taken = restored.taken.join(","),
        "deletion undone"
    );
}

/// Tells of a deleted manifest that can no longer be restored.
pub(super) fn expired(key: RepositoryKey, digest: &Digest, until: Micros) {
    tracing::info!(
        target: TARGET,
        event = "expired",
        kind = "manifest",
        %digest,
        namespace = key.namespace,
        repository = key.repository,
        deleted_before = until,
        evidence = "row locked; deleted longer ago than deletion.retention",
        "deleted manifest removed for good"
    );
}

/// Tells of a repository that was asked to go, or that is gone.
pub(super) fn repository(event: &'static str, deletion: &RepositoryDeletion) {
    let removed = deletion.removed;
    tracing::info!(
        target: TARGET,
        event,
        repository = deletion.path,
        deletion = deletion.key.repository,
        tags = removed.tags,
        manifests = removed.manifests,
        blobs = removed.blobs,
        "repository deleted"
    );
}
