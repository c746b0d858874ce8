//! Manifests: their exact bytes and what they refer to.

use super::Micros;
use super::error::Error;
use super::repositories::RepositoryKey;
use super::session::{Reader, Tx};
use super::statement::{Row, Statement, Value, statements, stored_size};
use oci::{Digest, ReferenceKind, ReferenceTo, RepositoryName, SubjectDigest, Tag};

/// A manifest as it was pushed.
#[derive(Debug, Clone)]
pub struct StoredManifest {
    /// The digest it was pushed with.
    pub digest: Digest,
    /// As pushed, without parameters.
    pub media_type: String,
    /// The exact bytes.
    pub payload: Vec<u8>,
}

/// A manifest to be stored.
#[derive(Debug, Clone, Copy)]
pub struct NewManifest<'a> {
    /// What the payload hashes to.
    pub digest: &'a Digest,
    /// Without parameters.
    pub media_type: &'a str,
    /// As the referrers listing shows it.
    pub artifact_type: Option<&'a str>,
    /// Of an image.
    pub config_media_type: Option<&'a str>,
    /// What it refers to as its subject; need not exist.
    pub subject: Option<&'a SubjectDigest>,
    /// The exact bytes.
    pub payload: &'a [u8],
    /// Payload and everything it names, in bytes.
    pub content_size: u64,
}

statements! {
    BY_DIGEST = Statement::both(
        "manifests.by_digest",
        "SELECT m.digest, m.media_type, m.payload
         FROM repositories r
         JOIN manifests m ON m.namespace_id = r.namespace_id AND m.repository_id = r.id
         WHERE r.path = $1 AND r.deleted_at IS NULL AND m.digest = $2 AND m.deleted_at IS NULL",
    );
    BY_TAG = Statement::both(
        "manifests.by_tag",
        "SELECT m.digest, m.media_type, m.payload
         FROM repositories r
         JOIN tags t ON t.namespace_id = r.namespace_id AND t.repository_id = r.id
         JOIN manifests m ON m.namespace_id = t.namespace_id AND m.repository_id = t.repository_id
             AND m.digest = t.manifest_digest
         WHERE r.path = $1 AND r.deleted_at IS NULL AND t.name = $2 AND m.deleted_at IS NULL",
    );
    PRESENT_AMONG = Statement::each(
        "manifests.present_among",
        "SELECT digest FROM manifests
         WHERE namespace_id = $1 AND repository_id = $2 AND deleted_at IS NULL
         AND digest IN (SELECT unhex(value) FROM json_each($3))",
        "SELECT digest FROM manifests
         WHERE namespace_id = $1 AND repository_id = $2 AND deleted_at IS NULL AND digest = ANY($3)",
    );
    ADD = Statement::both(
        "manifests.add",
        "INSERT INTO manifests (namespace_id, repository_id, digest, media_type, artifact_type, config_media_type,
             subject_digest, payload, content_size, created_at, pushed_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)
         ON CONFLICT (namespace_id, repository_id, digest) DO UPDATE
         SET pushed_at = excluded.pushed_at, deleted_at = NULL",
    );
    ADD_BLOBS = Statement::each(
        "manifest_blobs.add",
        "INSERT INTO manifest_blobs
             (namespace_id, repository_id, manifest_digest, blob_digest, kind, size, media_type)
         SELECT $1, $2, $3, unhex(d.value), k.value, s.value, t.value
         FROM json_each($4) d
         JOIN json_each($5) k ON k.key = d.key
         JOIN json_each($6) s ON s.key = d.key
         JOIN json_each($7) t ON t.key = d.key
         WHERE true
         ON CONFLICT (namespace_id, repository_id, manifest_digest, blob_digest, kind) DO NOTHING",
        "INSERT INTO manifest_blobs
             (namespace_id, repository_id, manifest_digest, blob_digest, kind, size, media_type)
         SELECT $1, $2, $3, d, k, s, t
         FROM unnest($4::bytea[], $5::bigint[], $6::bigint[], $7::text[]) AS x (d, k, s, t)
         ORDER BY d
         ON CONFLICT (namespace_id, repository_id, manifest_digest, blob_digest, kind) DO NOTHING",
    );
    ADD_CHILDREN = Statement::each(
        "manifest_children.add",
        "INSERT INTO manifest_children (namespace_id, repository_id, parent_digest, child_digest)
         SELECT $1, $2, $3, unhex(value) FROM json_each($4) WHERE true
         ON CONFLICT (namespace_id, repository_id, parent_digest, child_digest) DO NOTHING",
        "INSERT INTO manifest_children (namespace_id, repository_id, parent_digest, child_digest)
         SELECT $1, $2, $3, d FROM unnest($4::bytea[]) AS d ORDER BY d
         ON CONFLICT (namespace_id, repository_id, parent_digest, child_digest) DO NOTHING",
    );
}

fn stored(row: &Row<'_>) -> Result<StoredManifest, sqlx::Error> {
    Ok(StoredManifest {
        digest: row.digest(0)?,
        media_type: row.text(1)?,
        payload: row.bytes(2)?,
    })
}

/// The manifest with this digest in a repository.
///
/// # Errors
/// As any statement.
pub async fn by_digest(
    reader: &mut Reader,
    name: &RepositoryName,
    digest: &Digest,
) -> Result<Option<StoredManifest>, Error> {
    reader
        .one(
            &BY_DIGEST,
            &[Value::Text(name.as_str()), Value::Bytes(&digest.to_bytes())],
            stored,
        )
        .await
}

/// The manifest that a tag points to.
///
/// # Errors
/// As any statement.
pub async fn by_tag(reader: &mut Reader, name: &RepositoryName, tag: &Tag) -> Result<Option<StoredManifest>, Error> {
    reader
        .one(
            &BY_TAG,
            &[Value::Text(name.as_str()), Value::Text(tag.as_str())],
            stored,
        )
        .await
}

/// Which of the digests are manifests of the repository.
///
/// # Errors
/// As any statement.
pub async fn present_among(reader: &mut Reader, key: RepositoryKey, digests: &[Digest]) -> Result<Vec<Digest>, Error> {
    let digests: Vec<Vec<u8>> = digests.iter().map(Digest::to_bytes).collect();
    let values = [
        Value::Int(key.namespace),
        Value::Int(key.repository),
        Value::BytesArray(&digests),
    ];
    reader.all(&PRESENT_AMONG, &values, |row| row.digest(0)).await
}

/// Stores a manifest, or revives and touches the one that is there. Its row stays locked until the end of the
/// transaction.
///
/// # Errors
/// As any statement.
pub async fn add(tx: &mut Tx, key: RepositoryKey, new: NewManifest<'_>, now: Micros) -> Result<(), Error> {
    let digest = new.digest.to_bytes();
    let subject = new.subject.map(SubjectDigest::to_bytes);
    let values = [
        Value::Int(key.namespace),
        Value::Int(key.repository),
        Value::Bytes(&digest),
        Value::Text(new.media_type),
        Value::OptionalText(new.artifact_type),
        Value::OptionalText(new.config_media_type),
        Value::OptionalBytes(subject.as_deref()),
        Value::Bytes(new.payload),
        Value::Int(stored_size(new.content_size)),
        Value::Int(now),
    ];
    tx.execute(&ADD, &values).await.map(drop)
}

/// Records what a manifest refers to. Every reference must exist in the repository.
///
/// # Errors
/// `Conflict` when one of them does not exist (any more).
pub async fn add_references(
    tx: &mut Tx,
    key: RepositoryKey,
    manifest: &Digest,
    references: &[ReferenceTo],
) -> Result<(), Error> {
    let manifest = manifest.to_bytes();
    let of = [
        Value::Int(key.namespace),
        Value::Int(key.repository),
        Value::Bytes(&manifest),
    ];
    let (children, blobs): (Vec<_>, Vec<_>) = references.iter().partition(|r| r.kind == ReferenceKind::Child);
    if !blobs.is_empty() {
        let digests: Vec<Vec<u8>> = blobs.iter().map(|r| r.digest.to_bytes()).collect();
        let kinds: Vec<i64> = blobs.iter().map(|r| kind(r.kind)).collect();
        let sizes: Vec<i64> = blobs.iter().map(|r| stored_size(r.size)).collect();
        let types: Vec<&str> = blobs.iter().map(|r| r.media_type.as_str()).collect();
        let what = [
            Value::BytesArray(&digests),
            Value::IntArray(&kinds),
            Value::IntArray(&sizes),
            Value::TextArray(&types),
        ];
        tx.execute(&ADD_BLOBS, &[&of[..], &what].concat()).await?;
    }
    if !children.is_empty() {
        let digests: Vec<Vec<u8>> = children.iter().map(|r| r.digest.to_bytes()).collect();
        tx.execute(&ADD_CHILDREN, &[&of[..], &[Value::BytesArray(&digests)]].concat())
            .await?;
    }
    Ok(())
}

fn kind(kind: ReferenceKind) -> i64 {
    match kind {
        ReferenceKind::Config => 1,
        ReferenceKind::Layer => 2,
        ReferenceKind::IndexBlob => 3,
        ReferenceKind::Child => 4,
    }
}
