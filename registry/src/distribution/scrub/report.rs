//! What a scrub tells of.

use oci::Digest;
use serde::{Deserialize, Serialize};

/// Something that a scrub found or did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A blob without its object.
    Missing(Wrong),
    /// A blob whose object is another.
    Corrupt(Wrong),
    /// A blob whose object could not be read.
    Unreadable(Wrong),
    /// A blob that was marked and whose object is right again.
    Recovered(Wrong),
    /// An object that nothing names.
    Unknown(Unknown),
    /// The same, and it is deleted.
    Deleted(Unknown),
    /// How far it is.
    Progress(Report),
    /// The totals: the last event, unless it failed.
    Summary(Report),
    /// It could not go on, and why: the last event.
    Failed {
        /// The causes.
        message: String,
    },
}

/// What is wrong with a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wrong {
    /// The blob.
    pub digest: String,
    /// Its object; absent: its bytes are in the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Bytes that it should have.
    pub size: u64,
    /// What was found.
    pub found: String,
    /// Some of the images that it belongs to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Image>,
}

/// An image that cannot be pulled whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Its repository.
    pub repository: String,
    /// Its manifest; none when the repository has the blob and no manifest names it.
    pub manifest: Option<String>,
    /// One of its tags.
    pub tag: Option<String>,
}

/// An object that nothing names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unknown {
    /// Its key.
    pub key: String,
    /// In bytes.
    pub size: u64,
    /// Seconds since it was written.
    pub age: u64,
    /// False: somebody else put it there, it is never deleted.
    pub ours: bool,
}

/// Totals.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Blobs that were looked at.
    pub blobs: u64,
    /// Those that were read and hashed.
    pub verified: u64,
    /// Bytes that were read.
    pub verified_bytes: u64,
    /// Where reading went on: the blob before. None: it began with the first.
    pub resumed_after: Option<String>,
    /// Blobs without their object.
    pub missing: u64,
    /// Blobs with other bytes.
    pub corrupt: u64,
    /// Blobs whose object could not be read.
    pub unreadable: u64,
    /// Blobs that were marked by this scrub.
    pub marked: u64,
    /// Blobs that lost their mark.
    pub recovered: u64,
    /// Objects that the store listed.
    pub objects: u64,
    /// Their bytes.
    pub object_bytes: u64,
    /// Objects that nothing names.
    pub unknown: u64,
    /// Their bytes.
    pub unknown_bytes: u64,
    /// Those that were deleted.
    pub deleted: u64,
    /// Their bytes.
    pub deleted_bytes: u64,
    /// True when more was to be deleted than the budget allows.
    pub budget_spent: bool,
    /// Why something was not done.
    pub refused: Option<String>,
}

impl Report {
    /// True when nothing is wrong, or not any more.
    pub fn is_clean(&self) -> bool {
        let wrong = self.missing + self.corrupt + self.unreadable + self.unknown.saturating_sub(self.deleted);
        wrong == 0 && self.refused.is_none()
    }
}

impl Wrong {
    pub(super) fn of(blob: &crate::metadata::blobs::Blob, found: String) -> Self {
        Self {
            digest: blob.digest.to_string(),
            key: blob.place.object_key().map(str::to_owned),
            size: blob.size,
            found,
            images: Vec::new(),
        }
    }
}

impl From<crate::metadata::scrub::Image> for Image {
    fn from(image: crate::metadata::scrub::Image) -> Self {
        Self {
            repository: image.repository,
            manifest: image.manifest.as_ref().map(Digest::to_string),
            tag: image.tag,
        }
    }
}
