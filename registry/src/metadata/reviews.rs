//! What may have become garbage, for the collector to look at.

use super::Micros;
use super::error::Error;
use super::repositories::RepositoryKey;
use super::session::Tx;
use super::statement::{Statement, Value, statements};
use oci::Digest;

/// What is to be reviewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A manifest: is it still tagged, or listed by an index?
    Manifest,
    /// A repository's right to a blob: does a manifest of it still need the blob?
    BlobLink,
    /// A blob, under [`RepositoryKey::NONE`]: does any repository still have it?
    Blob,
}

impl Subject {
    fn kind(self) -> i64 {
        match self {
            Self::Manifest => 1,
            Self::BlobLink => 2,
            Self::Blob => 3,
        }
    }
}

/// The change that made a review needful.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A blob was uploaded or mounted and nothing names it yet.
    BlobUpload,
    /// A manifest was pushed without a tag.
    ManifestUpload,
    /// A tag moved to another manifest.
    TagSwitch,
    /// A tag was deleted.
    TagDelete,
    /// A manifest that named it was deleted, or that had it as its subject, or was its subject.
    ManifestDelete,
    /// An index was deleted that listed it, or that had it as its subject, or was its subject.
    ManifestListDelete,
    /// A repository gave the blob up.
    BlobUnlink,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::BlobUpload => "blob_upload",
            Self::ManifestUpload => "manifest_upload",
            Self::TagSwitch => "tag_switch",
            Self::TagDelete => "tag_delete",
            Self::ManifestDelete => "manifest_delete",
            Self::ManifestListDelete => "manifest_list_delete",
            Self::BlobUnlink => "blob_unlink",
        }
    }
}

statements! {
    // In the order of the digests, so that two transactions cannot wait for each other.
    ADD = Statement::each(
        "reviews.add",
        "INSERT INTO reviews (kind, namespace_id, repository_id, digest, due_at, attempts, reason, created_at)
         SELECT $1, $2, $3, unhex(value), $5, 0, $6, $7 FROM json_each($4) WHERE true ORDER BY 4
         ON CONFLICT (kind, namespace_id, repository_id, digest) DO UPDATE
         SET due_at = excluded.due_at, reason = excluded.reason",
        "INSERT INTO reviews (kind, namespace_id, repository_id, digest, due_at, attempts, reason, created_at)
         SELECT $1, $2, $3, digest, $5, 0, $6, $7 FROM unnest($4::bytea[]) AS digest ORDER BY digest
         ON CONFLICT (kind, namespace_id, repository_id, digest) DO UPDATE
         SET due_at = excluded.due_at, reason = excluded.reason",
    );
}

/// When and why to look.
#[derive(Debug, Clone, Copy)]
pub struct Due {
    /// Not before this time.
    pub at: Micros,
    /// What happened.
    pub reason: Reason,
    /// When it happened.
    pub now: Micros,
}

/// Asks the collector to look at the digests of a repository; a later entry for the same one replaces the earlier.
///
/// # Errors
/// As any statement.
pub async fn add(tx: &mut Tx, subject: Subject, key: RepositoryKey, digests: &[Digest], due: Due) -> Result<(), Error> {
    if digests.is_empty() {
        return Ok(());
    }
    let digests: Vec<Vec<u8>> = digests.iter().map(Digest::to_bytes).collect();
    let values = [
        Value::Int(subject.kind()),
        Value::Int(key.namespace),
        Value::Int(key.repository),
        Value::BytesArray(&digests),
        Value::Int(due.at),
        Value::Text(due.reason.as_str()),
        Value::Int(due.now),
    ];
    tx.execute(&ADD, &values).await.map(drop)
}
