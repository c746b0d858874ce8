//! Manifests by the subject they refer to.

use super::error::Error;
use super::repositories::RepositoryKey;
use super::session::Reader;
use super::statement::{Row, Statement, Value, impossible, statements};
use oci::Digest;
use std::collections::BTreeMap;

/// A manifest that refers to a subject.
#[derive(Debug, Clone)]
pub struct Referrer {
    /// The digest it was pushed with.
    pub digest: Digest,
    /// As pushed.
    pub media_type: String,
    /// Its own, or the config's of an image that has none.
    pub artifact_type: Option<String>,
    /// Of its bytes.
    pub size: u64,
    /// All of the manifest's.
    pub annotations: BTreeMap<String, String>,
}

statements! {
    OF_SUBJECT = Statement::both(
        "referrers.of_subject",
        "SELECT digest, media_type, artifact_type, payload_size, annotations
         FROM manifests
         WHERE namespace_id = $1 AND repository_id = $2 AND subject_digest = $3 AND deleted_at IS NULL
         ORDER BY created_at, digest",
    );
}

fn referrer(row: &Row<'_>) -> Result<Referrer, sqlx::Error> {
    let annotations = row
        .optional_bytes(4)?
        .map(|json| serde_json::from_slice(&json).map_err(|source| impossible(4, source)))
        .transpose()?;
    Ok(Referrer {
        digest: row.digest(0)?,
        media_type: row.text(1)?,
        artifact_type: row.optional_text(2)?,
        size: row.size(3)?,
        annotations: annotations.unwrap_or_default(),
    })
}

/// Every manifest of a repository whose subject is `subject`, the oldest first.
///
/// # Errors
/// As any statement.
pub async fn of_subject(reader: &mut Reader, key: RepositoryKey, subject: &Digest) -> Result<Vec<Referrer>, Error> {
    let subject = subject.to_bytes();
    let values = [
        Value::Int(key.namespace),
        Value::Int(key.repository),
        Value::Bytes(&subject),
    ];
    reader.all(&OF_SUBJECT, &values, referrer).await
}
