//! Manifests by the subject they refer to.

use super::Micros;
use super::error::Error;
use super::repositories::RepositoryKey;
use super::session::Reader;
use super::statement::{Row, Statement, Value, impossible, statements, stored_size};
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
    /// When it came into the repository.
    pub created_at: Micros,
}

/// Which referrers of a subject.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The subject.
    pub subject: &'a Digest,
    /// Only those of one of these types; empty: of any.
    pub artifact_types: &'a [&'a str],
    /// Only those behind this one in the list.
    pub after: Option<(Micros, Digest)>,
    /// At most so many.
    pub limit: u32,
    /// At most so many bytes of annotations and one referrer more: what they take in memory.
    pub bytes: u64,
}

/// Some referrers, in the order of the list.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The oldest first.
    pub referrers: Vec<Referrer>,
    /// True when more were left out for their size.
    pub cut: bool,
}

statements! {
    // Lengths are known without reading the annotations themselves.
    OF_SUBJECT = Statement::each(
        "referrers.of_subject",
        "SELECT digest, media_type, artifact_type, payload_size, annotations, created_at, entries
         FROM (
             SELECT *, sum(weight) OVER (ORDER BY created_at, digest) - weight AS taken, count(*) OVER () AS entries
             FROM (
                 SELECT digest, media_type, artifact_type, payload_size, annotations, created_at,
                     COALESCE(length(annotations), 0) AS weight
                 FROM manifests
                 WHERE namespace_id = $1 AND repository_id = $2 AND subject_digest = $3 AND deleted_at IS NULL
                     AND (created_at, digest) > ($4, $5)
                     AND (json_array_length($6) = 0 OR artifact_type IN (SELECT value FROM json_each($6)))
                 ORDER BY created_at, digest
                 LIMIT $7
             )
         )
         WHERE taken < $8
         ORDER BY created_at, digest",
        "SELECT digest, media_type, artifact_type, payload_size, annotations, created_at, entries
         FROM (
             SELECT *, sum(weight) OVER (ORDER BY created_at, digest) - weight AS taken, count(*) OVER () AS entries
             FROM (
                 SELECT digest, media_type, artifact_type, payload_size, annotations, created_at,
                     COALESCE(length(annotations), 0) AS weight
                 FROM manifests
                 WHERE namespace_id = $1 AND repository_id = $2 AND subject_digest = $3 AND deleted_at IS NULL
                     AND (created_at, digest) > ($4, $5)
                     AND (cardinality($6::text[]) = 0 OR artifact_type = ANY($6))
                 ORDER BY created_at, digest
                 LIMIT $7
             ) AS page
         ) AS weighed
         WHERE taken < $8
         ORDER BY created_at, digest",
    );
}

fn referrer(row: &Row<'_>) -> Result<(Referrer, u64), sqlx::Error> {
    let annotations = row
        .optional_bytes(4)?
        .map(|json| serde_json::from_slice(&json).map_err(|source| impossible(4, source)))
        .transpose()?;
    let found = Referrer {
        digest: row.digest(0)?,
        media_type: row.text(1)?,
        artifact_type: row.optional_text(2)?,
        size: row.size(3)?,
        annotations: annotations.unwrap_or_default(),
        created_at: row.int(5)?,
    };
    Ok((found, row.size(6)?))
}

/// Manifests of a repository whose subject is the one wanted, the oldest first.
///
/// # Errors
/// As any statement.
pub async fn of_subject(reader: &mut Reader, key: RepositoryKey, wanted: Wanted<'_>) -> Result<Found, Error> {
    let subject = wanted.subject.to_bytes();
    let (after, behind) = wanted
        .after
        .map_or((Micros::MIN, Vec::new()), |(at, digest)| (at, digest.to_bytes()));
    let values = [
        Value::Int(key.namespace),
        Value::Int(key.repository),
        Value::Bytes(&subject),
        Value::Int(after),
        Value::Bytes(&behind),
        Value::TextArray(wanted.artifact_types),
        Value::Int(wanted.limit.into()),
        Value::Int(stored_size(wanted.bytes)),
    ];
    let rows = reader.all(&OF_SUBJECT, &values, referrer).await?;
    let entries = rows.first().map_or(0, |(_, entries)| *entries);
    Ok(Found {
        cut: (rows.len() as u64) < entries,
        referrers: rows.into_iter().map(|(referrer, _)| referrer).collect(),
    })
}
