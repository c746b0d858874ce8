//! What can go wrong in a workflow, in the specification's words.

use super::restore::NotRestorable;
use crate::blobs;
use crate::metadata;
use oci::{Digest, ManifestError};

/// A request's body did not arrive as it should.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The connection broke, or the client sent something that is no body.
    #[error("the request body broke off")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The client has not sent anything for so long that it is taken for gone.
    #[error("the request body stopped for more than {0:?}")]
    Stalled(std::time::Duration),
    /// The blob would be larger than this registry takes.
    #[error("the blob is larger than {limit} bytes, which this registry takes at most (uploads.max_size)")]
    TooLarge {
        /// What is allowed.
        limit: u64,
    },
    /// Fewer or more bytes than announced.
    #[error("the request announced {announced} bytes and sent {sent}")]
    Length {
        /// By `Content-Range`.
        announced: u64,
        /// Bytes that came; counting stops behind the first too many.
        sent: u64,
    },
}

/// Something that settings can switch off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// Deleting a tag.
    DeleteTag,
    /// Deleting a manifest.
    DeleteManifest,
    /// Deleting a blob.
    DeleteBlob,
    /// Listing repositories.
    Catalog,
}

impl Switch {
    /// The setting.
    pub fn setting(self) -> &'static str {
        match self {
            Self::DeleteTag => "deletion.tags",
            Self::DeleteManifest => "deletion.manifests",
            Self::DeleteBlob => "deletion.blobs",
            Self::Catalog => "catalog.enabled",
        }
    }
}

/// A workflow failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such repository.
    #[error("repository is not known to this registry")]
    NameUnknown,
    /// The repository has no such blob.
    #[error("blob {0} is not known to this repository")]
    BlobUnknown(Digest),
    /// The blob's bytes are gone, or are not those of its digest.
    #[error("the bytes of blob {0} are lost or damaged in this registry's store; a push of the same blob restores it")]
    BlobCorrupt(Digest),
    /// The repository has no such manifest or tag.
    #[error("manifest {0} is not known to this repository")]
    ManifestUnknown(String),
    /// The session was never opened, has ended, expired, or belongs to another repository.
    #[error("upload session is not known: it has ended or expired, start a new one")]
    UploadUnknown,
    /// A chunk does not begin where the stored bytes end, or another request is writing.
    #[error("the upload stands at byte {stored}; continue there")]
    OffsetMismatch {
        /// Bytes stored.
        stored: u64,
    },
    /// The body did not arrive as announced; nothing of it is kept.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The content is not what the client said.
    #[error(transparent)]
    DigestMismatch(Box<blobs::Mismatch>),
    /// The manifest is malformed.
    #[error(transparent)]
    ManifestInvalid(#[from] ManifestError),
    /// The manifest names content that the repository does not have.
    #[error("manifest names {} blob(s) or manifest(s) that this repository does not have", .0.len())]
    ReferencesUnknown(Vec<Digest>),
    /// This registry does not do that.
    #[error("this registry does not do that: {} is false", .0.setting())]
    SwitchedOff(Switch),
    /// A manifest of the repository names the blob.
    #[error("blob {0} is named by a manifest of this repository; delete the manifest first")]
    BlobInUse(Digest),
    /// Only deleted manifests of the repository name the blob, which can be restored as yet.
    #[error(
        "blob {0} is named by a deleted manifest of this repository that can still be restored; it goes with the manifest when deletion.retention is over"
    )]
    BlobKept(Digest),
    /// What was deleted cannot be restored.
    #[error(transparent)]
    NotRestorable(#[from] NotRestorable),
    /// The manifest names more than this registry takes.
    #[error("manifest names {count} blobs and manifests; this registry takes {limit} (manifests.max_references)")]
    TooManyReferences {
        /// What it names.
        count: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] metadata::Error),
    /// The store failed.
    #[error("the object store failed")]
    Store(#[from] blobs::Error),
    /// What this transaction had seen was gone when it came back to it; it can be tried again.
    #[error("another request changed the same thing at the same time")]
    Raced,
    /// The right to write to a session was lost to another request.
    #[error("the upload was taken over by another request")]
    ClaimLost,
}

impl Error {
    /// True when the whole transaction may be tried again.
    pub(super) fn is_conflict(&self) -> bool {
        match self {
            Self::Raced => true,
            Self::Database(database) => database.is_conflict(),
            Self::NameUnknown
            | Self::BlobUnknown(_)
            | Self::BlobCorrupt(_)
            | Self::ManifestUnknown(_)
            | Self::UploadUnknown
            | Self::OffsetMismatch { .. }
            | Self::Body(_)
            | Self::DigestMismatch(_)
            | Self::ManifestInvalid(_)
            | Self::ReferencesUnknown(_)
            | Self::SwitchedOff(_)
            | Self::BlobInUse(_)
            | Self::BlobKept(_)
            | Self::NotRestorable(_)
            | Self::TooManyReferences { .. }
            | Self::Store(_)
            | Self::ClaimLost => false,
        }
    }
}
