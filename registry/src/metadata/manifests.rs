//! Manifests: their exact bytes and what they refer to.

use super::Micros;
use super::error::Error;
use super::repositories::RepositoryKey;
use super::session::{Reader, Tx};
use super::statement::{Row, Statement, Value, json, statements, stored_size};
use bytes::Bytes;
use oci::{Digest, ReferenceKind, ReferenceTo, RepositoryName, SubjectDigest, Tag};
use std::collections::BTreeMap;

/// A manifest as it was pushed.
#[derive(Debug, Clone)]
pub struct StoredManifest {
    /// The digest it was pushed with.
    pub digest: Digest,
    /// As pushed, without parameters.
    pub media_type: String,
    /// The exact bytes.
    pub payload: Bytes,
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
    /// All of the manifest's, for the referrers listing.
    pub annotations: &'a BTreeMap<String, String>,
    /// The exact bytes.
    pub payload: &'a [u8],
    /// Payload and everything it names, in bytes.
    pub content_size: u64,
}

statements! {
    // By the repository's key, not its path: with it as a parameter, the planner looks at one partition. The key may be
    // an old hint.
    BY_DIGEST = Statement::both(
        "manifests.by_digest",
        "SELECT digest, media_type, payload
         FROM manifests
         WHERE namespace_id = $1 AND repository_id = $2 AND digest = $3 AND deleted_at IS NULL
             AND EXISTS (SELECT 1 FROM repositories r
                         WHERE r.namespace_id = $1 AND r.id = $2 AND r.path = $4 AND r.deleted_at IS NULL)",
    );
    // PostgreSQL: the limits keep the planner from making a join of this, which it would begin with every manifest of the
    // repository, and let it plan once for all values.
    BY_TAG = Statement::each(
        "manifests.by_tag",
        "SELECT m.digest, m.media_type, m.payload
         FROM tags t
         JOIN manifests m ON m.digest = t.manifest_digest
         WHERE t.namespace_id = $1 AND t.repository_id = $2 AND t.name = $3
             AND m.namespace_id = $1 AND m.repository_id = $2 AND m.deleted_at IS NULL
             AND EXISTS (SELECT 1 FROM repositories r
                         WHERE r.namespace_id = $1 AND r.id = $2 AND r.path = $4 AND r.deleted_at IS NULL)",
        "SELECT m.digest, m.media_type, m.payload
         FROM (SELECT manifest_digest FROM tags
               WHERE namespace_id = $1 AND repository_id = $2 AND name = $3
               LIMIT 1) AS t
         CROSS JOIN LATERAL (SELECT digest, media_type, payload FROM manifests
                             WHERE namespace_id = $1 AND repository_id = $2 AND digest = t.manifest_digest
                                 AND deleted_at IS NULL
                             LIMIT 1) AS m
         WHERE EXISTS (SELECT 1 FROM repositories r
                       WHERE r.namespace_id = $1 AND r.id = $2 AND r.path = $4 AND r.deleted_at IS NULL)",
    );
    // The key-share lock holds each row until this transaction has referenced it. A foreign key takes the same lock,
    // but only looks whether the row is there, not at deleted_at: whoever sets that locks the row FOR UPDATE first.
    PRESENT_AMONG = Statement::each(
        "manifests.present_among",
        "SELECT digest, payload_size FROM manifests
         WHERE namespace_id = $1 AND repository_id = $2 AND deleted_at IS NULL
         AND digest IN (SELECT unhex(value) FROM json_each($3))",
        "SELECT digest, payload_size FROM manifests
         WHERE namespace_id = $1 AND repository_id = $2 AND deleted_at IS NULL AND digest = ANY($3)
         ORDER BY digest
         FOR KEY SHARE",
    );
    ADD = Statement::both(
        "manifests.add",
        "INSERT INTO manifests (namespace_id, repository_id, digest, media_type, artifact_type, config_media_type,
             subject_digest, annotations, payload, payload_size, content_size, created_at, pushed_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12)
         ON CONFLICT (namespace_id, repository_id, digest) DO UPDATE
         SET pushed_at = excluded.pushed_at, deleted_at = NULL,
             created_at = CASE WHEN manifests.deleted_at IS NULL THEN manifests.created_at ELSE excluded.created_at END",
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
    ADD_MISSING = Statement::each(
        "missing_references.add",
        "INSERT INTO missing_references
             (namespace_id, repository_id, manifest_digest, digest, kind, size, media_type)
         SELECT $1, $2, $3, unhex(d.value), k.value, s.value, t.value
         FROM json_each($4) d
         JOIN json_each($5) k ON k.key = d.key
         JOIN json_each($6) s ON s.key = d.key
         JOIN json_each($7) t ON t.key = d.key
         WHERE true
         ON CONFLICT (namespace_id, repository_id, digest, manifest_digest, kind) DO NOTHING",
        "INSERT INTO missing_references
             (namespace_id, repository_id, manifest_digest, digest, kind, size, media_type)
         SELECT $1, $2, $3, d, k, s, t
         FROM unnest($4::bytea[], $5::bigint[], $6::bigint[], $7::text[]) AS x (d, k, s, t)
         ORDER BY d
         ON CONFLICT (namespace_id, repository_id, digest, manifest_digest, kind) DO NOTHING",
    );
    // A reference that is there already counts, too: what is missing no longer is then to be forgotten.
    FOUND_BLOB = Statement::both(
        "manifest_blobs.add_found",
        "INSERT INTO manifest_blobs
             (namespace_id, repository_id, manifest_digest, blob_digest, kind, size, media_type)
         SELECT namespace_id, repository_id, manifest_digest, digest, kind, size, media_type
         FROM missing_references
         WHERE namespace_id = $1 AND repository_id = $2 AND digest = $3 AND kind <> 4
         ORDER BY manifest_digest, kind
         ON CONFLICT (namespace_id, repository_id, manifest_digest, blob_digest, kind) DO UPDATE
         SET size = excluded.size",
    );
    FOUND_CHILD = Statement::both(
        "manifest_children.add_found",
        "INSERT INTO manifest_children (namespace_id, repository_id, parent_digest, child_digest)
         SELECT namespace_id, repository_id, manifest_digest, digest
         FROM missing_references
         WHERE namespace_id = $1 AND repository_id = $2 AND digest = $3 AND kind = 4
         ORDER BY manifest_digest
         ON CONFLICT (namespace_id, repository_id, parent_digest, child_digest) DO UPDATE
         SET child_digest = excluded.child_digest",
    );
    FORGET_MISSING_BLOB = Statement::both(
        "missing_references.remove_blob",
        "DELETE FROM missing_references
         WHERE namespace_id = $1 AND repository_id = $2 AND digest = $3 AND kind <> 4",
    );
    FORGET_MISSING_CHILD = Statement::both(
        "missing_references.remove_child",
        "DELETE FROM missing_references
         WHERE namespace_id = $1 AND repository_id = $2 AND digest = $3 AND kind = 4",
    );
}

fn stored(row: &Row<'_>) -> Result<StoredManifest, sqlx::Error> {
    Ok(StoredManifest {
        digest: row.digest(0)?,
        media_type: row.text(1)?,
        payload: row.bytes(2)?.into(),
    })
}

/// The manifest with this digest in a repository, if the repository of that name has that key.
///
/// # Errors
/// As any statement.
pub async fn by_digest(
    reader: &mut Reader,
    (key, name): (RepositoryKey, &RepositoryName),
    digest: &Digest,
) -> Result<Option<StoredManifest>, Error> {
    let digest = digest.to_bytes();
    let values = [
        Value::Int(key.namespace),
        Value::Int(key.repository),
        Value::Bytes(&digest),
        Value::Text(name.as_str()),
    ];
    reader.one(&BY_DIGEST, &values, stored).await
}

/// The manifest that a tag points to, if the repository of that name has that key.
///
/// # Errors
/// As any statement.
pub async fn by_tag(
    reader: &mut Reader,
    (key, name): (RepositoryKey, &RepositoryName),
    tag: &Tag,
) -> Result<Option<StoredManifest>, Error> {
    let values = [
        Value::Int(key.namespace),
        Value::Int(key.repository),
        Value::Text(tag.as_str()),
        Value::Text(name.as_str()),
    ];
    reader.one(&BY_TAG, &values, stored).await
}

/// Which of the digests are manifests of the repository, and how large each is; held against deletion until the end of
/// the transaction.
///
/// # Errors
/// As any statement.
pub async fn present_among(tx: &mut Tx, key: RepositoryKey, digests: &[Digest]) -> Result<Vec<(Digest, u64)>, Error> {
    let digests: Vec<Vec<u8>> = digests.iter().map(Digest::to_bytes).collect();
    let values = [
        Value::Int(key.namespace),
        Value::Int(key.repository),
        Value::BytesArray(&digests),
    ];
    tx.all(&PRESENT_AMONG, &values, |row| Ok((row.digest(0)?, row.size(1)?)))
        .await
}

/// Stores a manifest, or revives and touches the one that is there. Its row stays locked until the end of the
/// transaction.
///
/// # Errors
/// As any statement.
pub async fn add(tx: &mut Tx, key: RepositoryKey, new: NewManifest<'_>, now: Micros) -> Result<(), Error> {
    let digest = new.digest.to_bytes();
    let subject = new.subject.map(SubjectDigest::to_bytes);
    let annotations = (!new.annotations.is_empty()).then(|| json(new.annotations));
    let values = [
        Value::Int(key.namespace),
        Value::Int(key.repository),
        Value::Bytes(&digest),
        Value::Text(new.media_type),
        Value::OptionalText(new.artifact_type),
        Value::OptionalText(new.config_media_type),
        Value::OptionalBytes(subject.as_deref()),
        Value::OptionalBytes(annotations.as_deref().map(str::as_bytes)),
        Value::Bytes(new.payload),
        Value::Int(stored_size(new.payload.len() as u64)),
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
        let what = Columns::of(blobs);
        tx.execute(&ADD_BLOBS, &[&of[..], &what.values()].concat()).await?;
    }
    if !children.is_empty() {
        let digests: Vec<Vec<u8>> = children.iter().map(|r| r.digest.to_bytes()).collect();
        tx.execute(&ADD_CHILDREN, &[&of[..], &[Value::BytesArray(&digests)]].concat())
            .await?;
    }
    Ok(())
}

/// Records what a manifest refers to and the repository does not have.
///
/// # Errors
/// As any statement.
pub async fn add_missing(
    tx: &mut Tx,
    key: RepositoryKey,
    manifest: &Digest,
    references: &[ReferenceTo],
) -> Result<(), Error> {
    if references.is_empty() {
        return Ok(());
    }
    let manifest = manifest.to_bytes();
    let of = [
        Value::Int(key.namespace),
        Value::Int(key.repository),
        Value::Bytes(&manifest),
    ];
    let what = Columns::of(references);
    tx.execute(&ADD_MISSING, &[&of[..], &what.values()].concat())
        .await
        .map(drop)
}

/// Makes full references of those to a blob that was missing until this transaction linked it. Gives their number.
///
/// # Errors
/// `Conflict` when the repository does not have the blob.
pub async fn resolve_missing_blob(tx: &mut Tx, key: RepositoryKey, blob: &Digest) -> Result<u64, Error> {
    resolve(tx, key, blob, &FOUND_BLOB, &FORGET_MISSING_BLOB).await
}

/// Makes full references of those to a manifest that was missing until this transaction added it. Gives their number.
///
/// # Errors
/// `Conflict` when the repository does not have the manifest.
pub async fn resolve_missing_child(tx: &mut Tx, key: RepositoryKey, child: &Digest) -> Result<u64, Error> {
    resolve(tx, key, child, &FOUND_CHILD, &FORGET_MISSING_CHILD).await
}

async fn resolve(
    tx: &mut Tx,
    key: RepositoryKey,
    digest: &Digest,
    found: &'static Statement,
    forget: &'static Statement,
) -> Result<u64, Error> {
    let digest = digest.to_bytes();
    let values = [
        Value::Int(key.namespace),
        Value::Int(key.repository),
        Value::Bytes(&digest),
    ];
    let resolved = tx.execute(found, &values).await?;
    if resolved > 0 {
        tx.execute(forget, &values).await?;
    }
    Ok(resolved)
}

/// References as one array a column.
struct Columns<'r> {
    digests: Vec<Vec<u8>>,
    kinds: Vec<i64>,
    sizes: Vec<i64>,
    types: Vec<&'r str>,
}

impl<'r> Columns<'r> {
    fn of(references: impl IntoIterator<Item = &'r ReferenceTo>) -> Self {
        let mut columns = Self {
            digests: Vec::new(),
            kinds: Vec::new(),
            sizes: Vec::new(),
            types: Vec::new(),
        };
        for reference in references {
            columns.digests.push(reference.digest.to_bytes());
            columns.kinds.push(kind(reference.kind));
            columns.sizes.push(stored_size(reference.size));
            columns.types.push(&reference.media_type);
        }
        columns
    }

    fn values(&self) -> [Value<'_>; 4] {
        [
            Value::BytesArray(&self.digests),
            Value::IntArray(&self.kinds),
            Value::IntArray(&self.sizes),
            Value::TextArray(&self.types),
        ]
    }
}

fn kind(kind: ReferenceKind) -> i64 {
    match kind {
        ReferenceKind::Config => 1,
        ReferenceKind::Layer => 2,
        ReferenceKind::IndexBlob => 3,
        ReferenceKind::Child => 4,
    }
}
