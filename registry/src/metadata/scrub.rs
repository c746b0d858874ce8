//! Everything that names an object, page by page, for the comparison of rows with the store.
//!
//! An object's name moves in one direction: from the row of its session to that of a blob or of a tombstone, each time
//! in one transaction. Whoever reads sessions, then blobs, then tombstones does not miss one that moves meanwhile.

use super::Micros;
use super::blobs::Blob;
use super::error::Error;
use super::session::{Reader, Tx};
use super::statement::{Statement, Value, statements, stored_size};
use oci::Digest;
use uuid::Uuid;

statements! {
    BLOBS = Statement::both(
        "scrub.blobs",
        "SELECT digest, size, object_key, corrupt_at, content FROM blobs WHERE digest > $1 ORDER BY digest LIMIT $2",
    );
    KEYS = Statement::both(
        "scrub.keys",
        "SELECT digest, object_key FROM blobs WHERE digest > $1 ORDER BY digest LIMIT $2",
    );
    SESSIONS = Statement::both(
        "scrub.sessions",
        "SELECT id, object_key, tail_key FROM upload_sessions WHERE id > $1 ORDER BY id LIMIT $2",
    );
    TOMBSTONES = Statement::both(
        "scrub.tombstones",
        "SELECT object_key FROM tombstones WHERE object_key > $1 ORDER BY object_key LIMIT $2",
    );
    IMAGES = Statement::both(
        "scrub.images",
        "SELECT r.path, m.manifest_digest, t.name
         FROM blob_links l
         JOIN repositories r ON r.namespace_id = l.namespace_id AND r.id = l.repository_id
         LEFT JOIN manifest_blobs m ON m.namespace_id = l.namespace_id AND m.repository_id = l.repository_id
             AND m.blob_digest = l.digest
         LEFT JOIN tags t ON t.namespace_id = m.namespace_id AND t.repository_id = m.repository_id
             AND t.manifest_digest = m.manifest_digest
         WHERE l.digest = $1
         LIMIT $2",
    );
    PROGRESS = Statement::both(
        "scrub.progress",
        "SELECT position, objects, bytes, started_at FROM scrub_progress WHERE name = 'verify'",
    );
    RECORD = Statement::both(
        "scrub.record",
        "INSERT INTO scrub_progress (name, position, objects, bytes, started_at, updated_at)
         VALUES ('verify', $1, $2, $3, $4, $5)
         ON CONFLICT (name) DO UPDATE
         SET position = excluded.position, objects = excluded.objects, bytes = excluded.bytes,
             started_at = excluded.started_at, updated_at = excluded.updated_at",
    );
    FORGET = Statement::both("scrub.forget", "DELETE FROM scrub_progress WHERE name = 'verify'");
}

/// The blobs behind a digest, in the order of their digests; `None` begins.
///
/// # Errors
/// As any statement.
pub async fn blobs(reader: &mut Reader, after: Option<&Digest>, limit: u32) -> Result<Vec<Blob>, Error> {
    let after = after.map(Digest::to_bytes).unwrap_or_default();
    let values = [Value::Bytes(&after), Value::Int(limit.into())];
    reader.all(&BLOBS, &values, super::blobs::blob).await
}

/// The keys of objects of blobs behind a digest, in the order of the digests; `None` begins. A blob in its row has none.
///
/// # Errors
/// As any statement.
pub async fn keys(
    reader: &mut Reader,
    after: Option<&Digest>,
    limit: u32,
) -> Result<Vec<(Digest, Option<String>)>, Error> {
    let after = after.map(Digest::to_bytes).unwrap_or_default();
    let values = [Value::Bytes(&after), Value::Int(limit.into())];
    reader
        .all(&KEYS, &values, |row| Ok((row.digest(0)?, row.optional_text(1)?)))
        .await
}

/// The keys that an upload session names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionKeys {
    /// The session.
    pub id: Uuid,
    /// Its object's key, which its other keys begin with.
    pub object_key: String,
    /// The object with the bytes after the last part.
    pub tail_key: Option<String>,
}

/// The upload sessions behind an id, those that have ended included; the nil id begins.
///
/// # Errors
/// As any statement.
pub async fn sessions(reader: &mut Reader, after: Uuid, limit: u32) -> Result<Vec<SessionKeys>, Error> {
    let values = [Value::Bytes(after.as_bytes()), Value::Int(limit.into())];
    reader
        .all(&SESSIONS, &values, |row| {
            Ok(SessionKeys {
                id: row.uuid(0)?,
                object_key: row.text(1)?,
                tail_key: row.optional_text(2)?,
            })
        })
        .await
}

/// The keys of tombstones behind a key; the empty one begins.
///
/// # Errors
/// As any statement.
pub async fn tombstones(reader: &mut Reader, after: &str, limit: u32) -> Result<Vec<String>, Error> {
    let values = [Value::Text(after), Value::Int(limit.into())];
    reader.all(&TOMBSTONES, &values, |row| row.text(0)).await
}

/// Something that a blob belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The repository's path.
    pub repository: String,
    /// A manifest that names the blob; none when the repository only has the blob.
    pub manifest: Option<Digest>,
    /// A tag of that manifest.
    pub tag: Option<String>,
}

/// At most `limit` images that a blob belongs to.
///
/// # Errors
/// As any statement.
pub async fn images(reader: &mut Reader, digest: &Digest, limit: u32) -> Result<Vec<Image>, Error> {
    let digest = digest.to_bytes();
    let values = [Value::Bytes(&digest), Value::Int(limit.into())];
    reader
        .all(&IMAGES, &values, |row| {
            Ok(Image {
                repository: row.text(0)?,
                manifest: row.optional_digest(1)?,
                tag: row.optional_text(2)?,
            })
        })
        .await
}

/// How far re-hashing has come in its present round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The last blob that was looked at.
    pub position: Digest,
    /// Blobs that were hashed.
    pub objects: u64,
    /// Bytes that were hashed.
    pub bytes: u64,
    /// When the round began.
    pub started_at: Micros,
}

/// Where the scrub before has ended; `None`: at the end, or there was none.
///
/// # Errors
/// As any statement.
pub async fn progress(reader: &mut Reader) -> Result<Option<Progress>, Error> {
    reader
        .one(&PROGRESS, &[], |row| {
            Ok(Progress {
                position: row.digest(0)?,
                objects: row.size(1)?,
                bytes: row.size(2)?,
                started_at: row.int(3)?,
            })
        })
        .await
}

/// Remembers how far re-hashing has come.
///
/// # Errors
/// As any statement.
pub async fn record(tx: &mut Tx, progress: &Progress, now: Micros) -> Result<(), Error> {
    let position = progress.position.to_bytes();
    let values = [
        Value::Bytes(&position),
        Value::Int(stored_size(progress.objects)),
        Value::Int(stored_size(progress.bytes)),
        Value::Int(progress.started_at),
        Value::Int(now),
    ];
    tx.execute(&RECORD, &values).await.map(drop)
}

/// Begins a new round with the next scrub.
///
/// # Errors
/// As any statement.
pub async fn forget(tx: &mut Tx) -> Result<(), Error> {
    tx.execute(&FORGET, &[]).await.map(drop)
}
