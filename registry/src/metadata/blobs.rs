//! Blobs, and which repository may use them.

use super::Micros;
use super::error::Error;
use super::repositories::RepositoryKey;
use super::session::{Reader, Tx};
use super::statement::{Row, Statement, Value, statements, stored_size};
use crate::staging;
use bytes::Bytes;
use oci::{Digest, RepositoryName};
use std::sync::Arc;

/// Where the bytes of a digest are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// What the bytes hash to.
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
    /// Where its bytes are.
    pub place: Place,
    /// The bytes were found to be gone, or to be others.
    pub corrupt: bool,
}

/// Where the bytes of a blob are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the store, under this key.
    Object(String),
    /// In its row: they are few.
    Row(Bytes),
}

impl Place {
    /// The object's key; `None` where there is no object.
    pub fn object_key(&self) -> Option<&str> {
        match self {
            Self::Object(key) => Some(key),
            Self::Row(_) => None,
        }
    }

    pub(super) fn content(&self) -> Option<&[u8]> {
        match self {
            Self::Object(_) => None,
            Self::Row(content) => Some(content),
        }
    }

    /// What it takes in memory, about.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Object(key) => key.len(),
            Self::Row(content) => content.len(),
        }
    }
}

/// A blob as the right of one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The repository.
    pub repository: RepositoryKey,
    /// The blob.
    pub blob: Arc<Blob>,
}

statements! {
    // As `manifests.by_digest`: the repository's key may be an old hint, and PostgreSQL would plan a join at length.
    FIND_LINKED = Statement::both(
        "blobs.find_linked",
        "SELECT b.digest, b.size, b.object_key, b.corrupt_at, b.content
         FROM blobs b
         WHERE b.digest = $3
             AND EXISTS (SELECT 1 FROM blob_links l
                         WHERE l.digest = $3 AND l.namespace_id = $1 AND l.repository_id = $2)
             AND EXISTS (SELECT 1 FROM repositories r
                         WHERE r.namespace_id = $1 AND r.id = $2 AND r.path = $4 AND r.deleted_at IS NULL)",
    );
    FIND_MOUNTABLE = Statement::both(
        "blobs.find_mountable",
        "SELECT b.digest, b.size, b.object_key, b.corrupt_at, b.content
         FROM blobs b
         WHERE b.digest = $1 AND EXISTS (
             SELECT 1
             FROM blob_links l
             JOIN repositories r ON r.namespace_id = l.namespace_id AND r.id = l.repository_id
             WHERE l.digest = $1 AND r.deleted_at IS NULL
         )",
    );
    ADD = Statement::both(
        "blobs.add",
        "INSERT INTO blobs (digest, size, object_key, created_at, content)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (digest) DO NOTHING",
    );
    // The key-share lock holds the row against a collector until this transaction has referenced it.
    KEEP = Statement::each(
        "blobs.keep",
        "SELECT digest, size, object_key, corrupt_at, content FROM blobs WHERE digest = $1",
        "SELECT digest, size, object_key, corrupt_at, content FROM blobs WHERE digest = $1 FOR KEY SHARE",
    );
    // As above, for an answer that promises the blob to a client.
    KEEP_LINKED = Statement::each(
        "blobs.keep_linked",
        "SELECT b.digest, b.size, b.object_key, b.corrupt_at, b.content, l.namespace_id, l.repository_id
         FROM repositories r
         JOIN blob_links l ON l.namespace_id = r.namespace_id AND l.repository_id = r.id
         JOIN blobs b ON b.digest = l.digest
         WHERE r.path = $1 AND r.deleted_at IS NULL AND l.digest = $2 AND b.digest = $2",
        "SELECT b.digest, b.size, b.object_key, b.corrupt_at, b.content, l.namespace_id, l.repository_id
         FROM repositories r
         JOIN blob_links l ON l.namespace_id = r.namespace_id AND l.repository_id = r.id
         JOIN blobs b ON b.digest = l.digest
         WHERE r.path = $1 AND r.deleted_at IS NULL AND l.digest = $2 AND b.digest = $2
         FOR KEY SHARE OF l, b",
    );
    // A link that was there before: a collector must not take it while this transaction relies on it.
    KEEP_LINK = Statement::each(
        "blob_links.keep",
        "SELECT 1 FROM blob_links WHERE digest = $1 AND namespace_id = $2 AND repository_id = $3",
        "SELECT 1::bigint FROM blob_links WHERE digest = $1 AND namespace_id = $2 AND repository_id = $3 FOR KEY SHARE",
    );
    LINK = Statement::both(
        "blob_links.add",
        "INSERT INTO blob_links (digest, namespace_id, repository_id, created_at)
         VALUES ($1, $2, $3, $4)
         ON CONFLICT (digest, namespace_id, repository_id) DO NOTHING",
    );
    // One search a digest, each in the one partition that can have it. Given all at once, the planner takes a large
    // repository for a small one and reads every link that it has. A limit keeps it from making a join of this.
    LINKED_AMONG = Statement::each(
        "blob_links.among",
        "SELECT l.digest, b.size, b.corrupt_at
         FROM blob_links l
         JOIN blobs b ON b.digest = l.digest
         WHERE l.namespace_id = $1 AND l.repository_id = $2
         AND l.digest IN (SELECT unhex(value) FROM json_each($3))",
        "SELECT l.digest, b.size, b.corrupt_at
         FROM (SELECT DISTINCT unnest($3::bytea[]) AS digest) AS wanted
         CROSS JOIN LATERAL (
             SELECT digest FROM blob_links
             WHERE digest = wanted.digest AND namespace_id = $1 AND repository_id = $2
             LIMIT 1
         ) AS l
         CROSS JOIN LATERAL (SELECT size, corrupt_at FROM blobs WHERE digest = wanted.digest LIMIT 1) AS b",
    );
    UNLINK = Statement::both(
        "blob_links.remove",
        "DELETE FROM blob_links
         WHERE digest = $1 AND namespace_id = $2 AND repository_id = $3
         AND NOT EXISTS (
             SELECT 1 FROM manifest_blobs m
             WHERE m.namespace_id = $2 AND m.repository_id = $3 AND m.blob_digest = $1
         )",
    );
    // As above: a limit keeps the planner from making a join of this.
    IS_NAMED = Statement::each(
        "blobs.is_named",
        "SELECT 1
         FROM manifest_blobs b
         JOIN manifests m ON m.digest = b.manifest_digest
         WHERE b.namespace_id = $1 AND b.repository_id = $2 AND b.blob_digest = $3
             AND m.namespace_id = $1 AND m.repository_id = $2 AND m.deleted_at IS NULL
         LIMIT 1",
        "SELECT 1
         FROM manifest_blobs b
         CROSS JOIN LATERAL (
             SELECT 1 FROM manifests
             WHERE namespace_id = $1 AND repository_id = $2 AND digest = b.manifest_digest AND deleted_at IS NULL
             LIMIT 1
         ) AS m
         WHERE b.namespace_id = $1 AND b.repository_id = $2 AND b.blob_digest = $3
         LIMIT 1",
    );
}

pub(super) fn blob(row: &Row<'_>) -> Result<Blob, sqlx::Error> {
    Ok(Blob {
        digest: row.digest(0)?,
        size: row.size(1)?,
        place: match row.optional_text(2)? {
            Some(key) => Place::Object(key),
            None => Place::Row(row.bytes(4)?.into()),
        },
        corrupt: row.optional_int(3)?.is_some(),
    })
}

fn granted(row: &Row<'_>) -> Result<(Blob, RepositoryKey), sqlx::Error> {
    let key = RepositoryKey {
        namespace: row.int(5)?,
        repository: row.int(6)?,
    };
    Ok((blob(row)?, key))
}

/// The blob, if the repository of that key and name exists and may use it.
///
/// # Errors
/// As any statement.
pub async fn find_linked(
    reader: &mut Reader,
    (key, name): (RepositoryKey, &RepositoryName),
    digest: &Digest,
) -> Result<Option<Blob>, Error> {
    let digest = digest.to_bytes();
    let values = [
        Value::Int(key.namespace),
        Value::Int(key.repository),
        Value::Bytes(&digest),
        Value::Text(name.as_str()),
    ];
    reader.one(&FIND_LINKED, &values, blob).await
}

/// The blob, if any repository may use it.
///
/// # Errors
/// As any statement.
pub async fn find_mountable(reader: &mut Reader, digest: &Digest) -> Result<Option<Blob>, Error> {
    reader
        .one(&FIND_MOUNTABLE, &[Value::Bytes(&digest.to_bytes())], blob)
        .await
}

/// Adds the row of a blob, whose object is already durable if it has one. `Ok(false)`: the digest has a row already.
///
/// # Errors
/// As any statement.
pub async fn add(tx: &mut Tx, blob: &Blob, now: Micros) -> Result<bool, Error> {
    let digest = blob.digest.to_bytes();
    let values = [
        Value::Bytes(&digest),
        Value::Int(stored_size(blob.size)),
        Value::OptionalText(blob.place.object_key()),
        Value::Int(now),
        Value::OptionalBytes(blob.place.content()),
    ];
    Ok(tx.execute(&ADD, &values).await? == 1)
}

/// The blob, held against deletion until the end of the transaction.
///
/// # Errors
/// As any statement.
pub async fn keep(tx: &mut Tx, digest: &Digest) -> Result<Option<Blob>, Error> {
    tx.one(&KEEP, &[Value::Bytes(&digest.to_bytes())], blob).await
}

/// The blob, if the repository exists and may use it, and the repository's key; blob and right are held against a
/// collector until the end of the transaction.
///
/// # Errors
/// As any statement.
pub async fn keep_linked(
    tx: &mut Tx,
    name: &RepositoryName,
    digest: &Digest,
) -> Result<Option<(Blob, RepositoryKey)>, Error> {
    let values = [Value::Text(name.as_str()), Value::Bytes(&digest.to_bytes())];
    tx.one(&KEEP_LINKED, &values, granted).await
}

/// Gives a repository the right to a blob, and holds it against a collector until the end of the transaction.
///
/// `Ok(false)`: a collector took the right away just now, and the transaction has to begin again.
///
/// # Errors
/// `Conflict` when the blob is gone.
pub async fn link(tx: &mut Tx, key: RepositoryKey, digest: &Digest, now: Micros) -> Result<bool, Error> {
    let digest = digest.to_bytes();
    let values = [
        Value::Bytes(&digest),
        Value::Int(key.namespace),
        Value::Int(key.repository),
        Value::Int(now),
    ];
    if tx.execute(&LINK, &values).await? == 1 {
        return Ok(true);
    }
    if staging::mutated("link_not_locked") {
        return Ok(true);
    }
    Ok(tx.one(&KEEP_LINK, &values[..3], |row| row.int(0)).await?.is_some())
}

/// A blob that a repository may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Linked {
    /// The blob.
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
    /// Its object was found to be gone, or to have other bytes.
    pub corrupt: bool,
}

/// Which of the digests the repository may use.
///
/// # Errors
/// As any statement.
pub async fn linked_among(reader: &mut Reader, key: RepositoryKey, digests: &[Digest]) -> Result<Vec<Linked>, Error> {
    let digests: Vec<Vec<u8>> = digests.iter().map(Digest::to_bytes).collect();
    let values = [
        Value::Int(key.namespace),
        Value::Int(key.repository),
        Value::BytesArray(&digests),
    ];
    reader
        .all(&LINKED_AMONG, &values, |row| {
            Ok(Linked {
                digest: row.digest(0)?,
                size: row.size(1)?,
                corrupt: row.optional_int(2)?.is_some(),
            })
        })
        .await
}

/// Takes a blob from a repository. `Ok(false)`: it was not there, or a manifest of the repository needs it.
///
/// # Errors
/// `Conflict` when a manifest that needs it came meanwhile.
pub async fn unlink(tx: &mut Tx, key: RepositoryKey, digest: &Digest) -> Result<bool, Error> {
    let digest = digest.to_bytes();
    let values = [
        Value::Bytes(&digest),
        Value::Int(key.namespace),
        Value::Int(key.repository),
    ];
    Ok(tx.execute(&UNLINK, &values).await? == 1)
}

/// True when a manifest of the repository names the blob that is not deleted.
///
/// # Errors
/// As any statement.
pub async fn is_named(reader: &mut Reader, key: RepositoryKey, digest: &Digest) -> Result<bool, Error> {
    let digest = digest.to_bytes();
    let values = [
        Value::Int(key.namespace),
        Value::Int(key.repository),
        Value::Bytes(&digest),
    ];
    Ok(reader.one(&IS_NAMED, &values, |_| Ok(())).await?.is_some())
}
