//! Manifests by the subject they refer to.

use super::error::Error;
use super::session::Reader;
use super::statement::{Row, Statement, Value, statements};
use oci::{Digest, RepositoryName};

/// A manifest that refers to a subject.
#[derive(Debug, Clone)]
pub struct Referrer {
    /// The digest it was pushed with.
    pub digest: Digest,
    /// As pushed.
    pub media_type: String,
    /// Its own, or the config's of an image that has none.
    pub artifact_type: Option<String>,
    /// The exact bytes.
    pub payload: Vec<u8>,
}

statements! {
    OF_SUBJECT = Statement::both(
        "referrers.of_subject",
        "SELECT m.digest, m.media_type, m.artifact_type, m.payload
         FROM repositories r
         JOIN manifests m ON m.namespace_id = r.namespace_id AND m.repository_id = r.id
         WHERE r.path = $1 AND r.deleted_at IS NULL AND m.subject_digest = $2 AND m.deleted_at IS NULL
         ORDER BY m.created_at, m.digest",
    );
}

fn referrer(row: &Row<'_>) -> Result<Referrer, sqlx::Error> {
    Ok(Referrer {
        digest: row.digest(0)?,
        media_type: row.text(1)?,
        artifact_type: row.optional_text(2)?,
        payload: row.bytes(3)?,
    })
}

/// Every manifest of a repository whose subject is `subject`, the oldest first.
///
/// # Errors
/// As any statement.
pub async fn of_subject(reader: &mut Reader, name: &RepositoryName, subject: &Digest) -> Result<Vec<Referrer>, Error> {
    reader
        .all(
            &OF_SUBJECT,
            &[Value::Text(name.as_str()), Value::Bytes(&subject.to_bytes())],
            referrer,
        )
        .await
}
