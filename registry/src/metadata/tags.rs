//! Tags.

use super::Micros;
use super::error::Error;
use super::repositories::RepositoryKey;
use super::session::{Reader, Tx};
use super::statement::{Statement, Value, statements};
use oci::{Digest, Tag};

statements! {
    // Two transactions that make the same tag meet here; a lock on a row that is not there yet would hold nobody.
    CREATE = Statement::both(
        "tags.create",
        "INSERT INTO tags (namespace_id, repository_id, name, manifest_digest, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $5)
         ON CONFLICT (namespace_id, repository_id, name) DO NOTHING",
    );
    POINTED = Statement::both(
        "tags.pointed",
        "SELECT manifest_digest FROM tags WHERE namespace_id = $1 AND repository_id = $2 AND name = $3",
    );
    // The lock makes two moves of one tag wait for each other, so that each sees what it displaced.
    TARGET = Statement::each(
        "tags.target",
        "SELECT manifest_digest FROM tags
         WHERE namespace_id = $1 AND repository_id = $2 AND name = $3",
        "SELECT manifest_digest FROM tags
         WHERE namespace_id = $1 AND repository_id = $2 AND name = $3
         FOR UPDATE",
    );
    MOVE = Statement::both(
        "tags.move",
        "UPDATE tags
         SET manifest_digest = $4, updated_at = $5
         WHERE namespace_id = $1 AND repository_id = $2 AND name = $3",
    );
    REMOVE = Statement::both(
        "tags.remove",
        "DELETE FROM tags
         WHERE namespace_id = $1 AND repository_id = $2 AND name = $3
         RETURNING manifest_digest",
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

/// A tag of a repository and the manifest that it is to point to.
#[derive(Debug, Clone, Copy)]
pub struct Pointer<'a> {
    /// The repository.
    pub key: RepositoryKey,
    /// The tag.
    pub tag: &'a Tag,
    /// A manifest of the repository.
    pub manifest: &'a Digest,
}

fn named(key: RepositoryKey, tag: &Tag) -> [Value<'_>; 3] {
    [
        Value::Int(key.namespace),
        Value::Int(key.repository),
        Value::Text(tag.as_str()),
    ]
}

/// Makes a tag. `Ok(false)`: it exists, and now waits for nobody else.
///
/// # Errors
/// `Conflict` when the manifest is gone.
pub async fn create(tx: &mut Tx, to: Pointer<'_>, now: Micros) -> Result<bool, Error> {
    write(tx, &CREATE, to, now).await
}

/// What a tag points to at this moment.
///
/// # Errors
/// As any statement.
pub async fn pointed(reader: &mut Reader, key: RepositoryKey, tag: &Tag) -> Result<Option<Digest>, Error> {
    reader.one(&POINTED, &named(key, tag), |row| row.digest(0)).await
}

/// What an existing tag points to, locked until the end of the transaction.
///
/// # Errors
/// As any statement.
pub async fn target(tx: &mut Tx, key: RepositoryKey, tag: &Tag) -> Result<Option<Digest>, Error> {
    tx.one(&TARGET, &named(key, tag), |row| row.digest(0)).await
}

/// Points an existing tag to another manifest. `Ok(false)`: it does not exist.
///
/// # Errors
/// `Conflict` when the manifest is gone.
pub async fn point(tx: &mut Tx, to: Pointer<'_>, now: Micros) -> Result<bool, Error> {
    write(tx, &MOVE, to, now).await
}

/// Removes a tag, and says what it pointed to.
///
/// # Errors
/// As any statement.
pub async fn remove(tx: &mut Tx, key: RepositoryKey, tag: &Tag) -> Result<Option<Digest>, Error> {
    tx.one(&REMOVE, &named(key, tag), |row| row.digest(0)).await
}

async fn write(tx: &mut Tx, statement: &'static Statement, to: Pointer<'_>, now: Micros) -> Result<bool, Error> {
    let manifest = to.manifest.to_bytes();
    let values = [
        Value::Int(to.key.namespace),
        Value::Int(to.key.repository),
        Value::Text(to.tag.as_str()),
        Value::Bytes(&manifest),
        Value::Int(now),
    ];
    Ok(tx.execute(statement, &values).await? == 1)
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
