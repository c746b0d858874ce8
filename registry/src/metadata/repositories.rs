//! Namespaces and repositories.

use super::Micros;
use super::error::Error;
use super::session::{Reader, Tx};
use super::statement::{Statement, Value, statements};
use oci::RepositoryName;

/// A repository's identity in every other table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryKey {
    /// The row of its first path component.
    pub namespace: i64,
    /// The row of the repository.
    pub repository: i64,
}

impl RepositoryKey {
    /// No repository: for what is the whole registry's.
    pub const NONE: Self = Self {
        namespace: 0,
        repository: 0,
    };
}

statements! {
    PING = Statement::both("repositories.ping", "SELECT CAST(1 AS bigint)");
    FIND = Statement::both(
        "repositories.find",
        "SELECT namespace_id, id
         FROM repositories
         WHERE path = $1 AND deleted_at IS NULL",
    );
    // Whoever removes the rows of a deleted repository waits for this lock.
    KEEP = Statement::each(
        "repositories.keep",
        "SELECT namespace_id, id
         FROM repositories
         WHERE path = $1 AND deleted_at IS NULL",
        "SELECT namespace_id, id
         FROM repositories
         WHERE path = $1 AND deleted_at IS NULL
         FOR KEY SHARE",
    );
    // Waits for everyone who writes to the repository, and keeps the next ones waiting.
    HOLD = Statement::each(
        "repositories.hold",
        "SELECT namespace_id, id FROM repositories WHERE path = $1 AND deleted_at IS NULL",
        "SELECT namespace_id, id FROM repositories WHERE path = $1 AND deleted_at IS NULL FOR UPDATE",
    );
    // Waits for nobody who only keeps the repository: on PostgreSQL a busy one would never be let go of. Who has set a tag
    // and is about to commit is waited for.
    HIDE = Statement::both(
        "repositories.hide",
        "UPDATE repositories SET deleted_at = $2 WHERE path = $1 AND deleted_at IS NULL RETURNING namespace_id, id",
    );
    HOLD_HIDDEN = Statement::each(
        "repositories.hold_hidden",
        "SELECT 1 FROM repositories WHERE namespace_id = $1 AND id = $2 AND deleted_at IS NOT NULL",
        "SELECT 1 FROM repositories WHERE namespace_id = $1 AND id = $2 AND deleted_at IS NOT NULL
         FOR UPDATE SKIP LOCKED",
    );
    REMOVE = Statement::both(
        "repositories.remove",
        "DELETE FROM repositories WHERE namespace_id = $1 AND id = $2",
    );
    ADD_NAMESPACE = Statement::both(
        "namespaces.add",
        "INSERT INTO namespaces (name, created_at)
         VALUES ($1, $2)
         ON CONFLICT (name) DO NOTHING",
    );
    FIND_NAMESPACE = Statement::both("namespaces.find", "SELECT id FROM namespaces WHERE name = $1");
    ADD = Statement::both(
        "repositories.add",
        "INSERT INTO repositories (namespace_id, path, created_at, updated_at)
         VALUES ($1, $2, $3, $3)
         ON CONFLICT (path) WHERE deleted_at IS NULL DO UPDATE
         SET updated_at = excluded.updated_at
         RETURNING namespace_id, id",
    );
    ADD_NEW = Statement::both(
        "repositories.add_new",
        "INSERT INTO repositories (namespace_id, path, created_at, updated_at)
         VALUES ($1, $2, $3, $3)
         ON CONFLICT (path) WHERE deleted_at IS NULL DO NOTHING
         RETURNING namespace_id, id",
    );
    PUBLISHED = Statement::both(
        "repositories.published",
        "UPDATE repositories
         SET last_published_at = $3
         WHERE namespace_id = $1 AND id = $2",
    );
    PAGE = Statement::both(
        "repositories.page",
        "SELECT path
         FROM repositories
         WHERE path > $1 AND deleted_at IS NULL
         ORDER BY path
         LIMIT $2",
    );
}

/// A sign of life.
pub(super) async fn ping(reader: &mut Reader) -> Result<(), Error> {
    reader.one(&PING, &[], |row| row.int(0)).await.map(drop)
}

/// The repository at a path, unless it is unknown or deleted.
///
/// # Errors
/// As any statement.
pub async fn find(reader: &mut Reader, name: &RepositoryName) -> Result<Option<RepositoryKey>, Error> {
    reader
        .one(&FIND, &[Value::Text(name.as_str())], |row| {
            key(row.int(0)?, row.int(1)?)
        })
        .await
}

/// The repository at a path, held against deletion until the end of the transaction, unless it is unknown or deleted.
///
/// # Errors
/// As any statement.
pub async fn keep(tx: &mut Tx, name: &RepositoryName) -> Result<Option<RepositoryKey>, Error> {
    tx.one(&KEEP, &[Value::Text(name.as_str())], |row| {
        key(row.int(0)?, row.int(1)?)
    })
    .await
}

/// The repository at a path, made when it did not exist, and held against removal until the end of the transaction. One
/// that was deleted is not touched: another takes its place.
///
/// # Errors
/// `Conflict` when another transaction made or removed it meanwhile.
pub async fn ensure(tx: &mut Tx, name: &RepositoryName, now: Micros) -> Result<RepositoryKey, Error> {
    if let Some(known) = keep(tx, name).await? {
        return Ok(known);
    }
    let namespace = ensure_namespace(tx, name.namespace(), now).await?;
    let values = [Value::Int(namespace), Value::Text(name.as_str()), Value::Int(now)];
    let added = tx.one(&ADD, &values, |row| key(row.int(0)?, row.int(1)?)).await?;
    added.ok_or_else(|| Error::of(ADD.name, sqlx::Error::RowNotFound))
}

/// As [`ensure`], and holds the repository alone until the end of the transaction.
///
/// No blob is linked and no manifest added meanwhile. `Ok(None)`: another transaction made it just now, so that this one
/// has to begin again.
///
/// It must be the first statement of its transaction. Of two that hold the repository together and then want it alone,
/// neither gets it.
///
/// # Errors
/// `Conflict` when it is held by others for too long.
pub async fn ensure_alone(tx: &mut Tx, name: &RepositoryName, now: Micros) -> Result<Option<RepositoryKey>, Error> {
    let held = tx
        .one(&HOLD, &[Value::Text(name.as_str())], |row| {
            key(row.int(0)?, row.int(1)?)
        })
        .await?;
    if held.is_some() {
        return Ok(held);
    }
    let namespace = ensure_namespace(tx, name.namespace(), now).await?;
    let values = [Value::Int(namespace), Value::Text(name.as_str()), Value::Int(now)];
    tx.one(&ADD_NEW, &values, |row| key(row.int(0)?, row.int(1)?)).await
}

/// Hides the repository at a path from everybody who does not hold it already. `Ok(None)`: there is none.
///
/// # Errors
/// As any statement.
pub async fn hide(tx: &mut Tx, name: &RepositoryName, now: Micros) -> Result<Option<RepositoryKey>, Error> {
    let values = [Value::Text(name.as_str()), Value::Int(now)];
    tx.one(&HIDE, &values, |row| key(row.int(0)?, row.int(1)?)).await
}

/// Holds a hidden repository alone until the end of the transaction. `Ok(false)`: somebody who was there before it was
/// hidden is not done yet.
///
/// # Errors
/// As any statement.
pub async fn hold_hidden(tx: &mut Tx, of: RepositoryKey) -> Result<bool, Error> {
    let values = [Value::Int(of.namespace), Value::Int(of.repository)];
    Ok(tx.one(&HOLD_HIDDEN, &values, |_| Ok(())).await?.is_some())
}

/// Removes the row of a repository that has nothing any more.
///
/// # Errors
/// `Conflict` when something of it is left.
pub async fn remove(tx: &mut Tx, of: RepositoryKey) -> Result<(), Error> {
    let values = [Value::Int(of.namespace), Value::Int(of.repository)];
    tx.execute(&REMOVE, &values).await.map(drop)
}

async fn ensure_namespace(tx: &mut Tx, name: &str, now: Micros) -> Result<i64, Error> {
    if let Some(id) = tx.one(&FIND_NAMESPACE, &[Value::Text(name)], |row| row.int(0)).await? {
        return Ok(id);
    }
    tx.execute(&ADD_NAMESPACE, &[Value::Text(name), Value::Int(now)])
        .await?;
    let added = tx.one(&FIND_NAMESPACE, &[Value::Text(name)], |row| row.int(0)).await?;
    added.ok_or_else(|| Error::of(FIND_NAMESPACE.name, sqlx::Error::RowNotFound))
}

/// Notes that a tag of the repository was set.
///
/// # Errors
/// As any statement.
pub async fn published(tx: &mut Tx, key: RepositoryKey, now: Micros) -> Result<(), Error> {
    let values = [Value::Int(key.namespace), Value::Int(key.repository), Value::Int(now)];
    tx.execute(&PUBLISHED, &values).await.map(drop)
}

/// At most `limit` repository paths after `last`, in byte order.
///
/// # Errors
/// As any statement.
pub async fn page(reader: &mut Reader, last: &str, limit: u32) -> Result<Vec<String>, Error> {
    reader
        .all(&PAGE, &[Value::Text(last), Value::Int(limit.into())], |row| row.text(0))
        .await
}

#[expect(clippy::unnecessary_wraps, reason = "decoders of rows return results")]
fn key(namespace: i64, repository: i64) -> Result<RepositoryKey, sqlx::Error> {
    Ok(RepositoryKey { namespace, repository })
}
