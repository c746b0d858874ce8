//! Tags.

use super::Micros;
use super::error::Error;
use super::repositories::RepositoryKey;
use super::session::{Reader, Tx};
use super::statement::{Statement, Value, statements};
use oci::{Digest, Tag};

statements! {
    // The lock makes two moves of one tag wait for each other, so that each sees what it displaced.
    TARGET = Statement::each(
        "tags.target",
        "SELECT manifest_digest FROM tags
         WHERE namespace_id = $1 AND repository_id = $2 AND name = $3",
        "SELECT manifest_digest FROM tags
         WHERE namespace_id = $1 AND repository_id = $2 AND name = $3
         FOR UPDATE",
    );
    SET = Statement::both(
        "tags.set",
        "INSERT INTO tags (namespace_id, repository_id, name, manifest_digest, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $5)
         ON CONFLICT (namespace_id, repository_id, name) DO UPDATE
         SET manifest_digest = excluded.manifest_digest, updated_at = excluded.updated_at",
    );
    PAGE = Statement::both(
        "tags.page",
        "SELECT name
         FROM tags
         WHERE namespace_id = $1 AND repository_id = $2 AND name > $3
         ORDER BY name
         LIMIT $4",
    );
}

/// What a tag points to, locked until the end of the transaction.
///
/// # Errors
/// As any statement.
pub async fn target(tx: &mut Tx, key: RepositoryKey, tag: &Tag) -> Result<Option<Digest>, Error> {
    let values = [
        Value::Int(key.namespace),
        Value::Int(key.repository),
        Value::Text(tag.as_str()),
    ];
    tx.one(&TARGET, &values, |row| row.digest(0)).await
}

/// Points a tag to a manifest of its repository.
///
/// # Errors
/// `Conflict` when the manifest is gone.
pub async fn set(tx: &mut Tx, key: RepositoryKey, tag: &Tag, manifest: &Digest, now: Micros) -> Result<(), Error> {
    let manifest = manifest.to_bytes();
    let values = [
        Value::Int(key.namespace),
        Value::Int(key.repository),
        Value::Text(tag.as_str()),
        Value::Bytes(&manifest),
        Value::Int(now),
    ];
    tx.execute(&SET, &values).await.map(drop)
}

/// At most `limit` tag names after `last`, in byte order.
///
/// # Errors
/// As any statement.
pub async fn page(reader: &mut Reader, key: RepositoryKey, last: &str, limit: u32) -> Result<Vec<String>, Error> {
    let values = [
        Value::Int(key.namespace),
        Value::Int(key.repository),
        Value::Text(last),
        Value::Int(limit.into()),
    ];
    reader.all(&PAGE, &values, |row| row.text(0)).await
}
