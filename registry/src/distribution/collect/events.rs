//! What a collection that somebody asked for tells.

use super::{Reaped, Reviewed};
use crate::metadata::Micros;
use crate::metadata::reviews::Subject;
use serde::{Deserialize, Serialize};

/// What is asked for.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Wanted {
    /// Change nothing: say what would go, and why.
    #[serde(default)]
    pub dry_run: bool,
}

/// Something that would go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// `manifest`, `blob_link` or `blob`.
    pub kind: String,
    /// Its digest.
    pub digest: String,
    /// The repository that it is in; absent for a blob, which is the whole registry's.
    pub repository: Option<String>,
    /// In bytes: of a manifest, or of a blob with the object that would be freed.
    pub size: u64,
    /// What made it needful to look.
    pub reason: String,
    /// Since when it is due, in microseconds of 1970; absent for what would follow others.
    pub due_at: Option<Micros>,
}

/// Totals of a collection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Items that were looked at.
    pub reviewed: u64,
    /// Items that something refers to.
    pub kept: u64,
    /// Items that are to be looked at again later.
    pub postponed: u64,
    /// Items that could not be reviewed.
    pub failed: u64,
    /// Manifests that went, or would go.
    pub manifests: u64,
    /// Repositories' rights to blobs that went, or would go.
    pub blob_links: u64,
    /// Blobs that went, or would go.
    pub blobs: u64,
    /// Their bytes: freed when the quarantine of their objects is over.
    pub blob_bytes: u64,
    /// Objects that were deleted from the store.
    pub objects: u64,
    /// Their bytes.
    pub object_bytes: u64,
    /// Objects that the store did not delete; they are tried again.
    pub storage_errors: u64,
    /// The end of the hour whose budget is spent.
    pub exhausted_until: Option<Micros>,
}

impl Totals {
    pub(super) fn of_kind(&mut self, subject: Subject) -> &mut u64 {
        match subject {
            Subject::Manifest => &mut self.manifests,
            Subject::BlobLink => &mut self.blob_links,
            Subject::Blob => &mut self.blobs,
        }
    }

    pub(super) fn add(&mut self, subject: Subject, done: &Reviewed) {
        self.reviewed += done.reviewed;
        self.kept += done.kept;
        self.postponed += done.postponed;
        self.failed += done.failed;
        self.blob_bytes += done.bytes;
        self.exhausted_until = self.exhausted_until.max(done.exhausted_until);
        *self.of_kind(subject) += done.deleted;
    }

    pub(super) fn add_objects(&mut self, done: &Reaped) {
        self.objects += done.deleted;
        self.object_bytes += done.bytes;
        self.storage_errors += done.errors;
    }
}

/// One thing after the other, as it happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A dry run found something that would go.
    WouldGo(Candidate),
    /// How far it has come.
    Progress(Totals),
    /// It is done.
    Summary(Totals),
    /// It ended early.
    Failed {
        /// Why.
        message: String,
    },
}
