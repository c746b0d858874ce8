//! Deletions of whole repositories: which are under way, how far they have come, and those of late that are done.

use super::Micros;
use super::error::Error;
use super::repositories::RepositoryKey;
use super::session::{Reader, Tx};
use super::statement::{Row, Statement, Value, statements, stored_size};
use oci::RepositoryName;

/// The deletion of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryDeletion {
    /// The repository; its number names the deletion, for no other repository ever has it.
    pub key: RepositoryKey,
    /// The path that the repository had.
    pub path: String,
    /// When it was asked for, and hidden.
    pub requested_at: Micros,
    /// When the last row was removed; absent: not yet.
    pub finished_at: Option<Micros>,
    /// What was removed until now.
    pub removed: Removed,
}

/// Rows of a repository that were removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Tags.
    pub tags: u64,
    /// Manifests.
    pub manifests: u64,
    /// Blobs; other repositories keep theirs.
    pub blobs: u64,
}

statements! {
    BEGIN = Statement::both(
        "repository_deletions.begin",
        "INSERT INTO repository_deletions
             (id, namespace_id, path, tags, manifests, blobs, requested_at, worked_at)
         VALUES ($1, $2, $3, 0, 0, 0, $4, $4)",
    );
    FIND = Statement::both(
        "repository_deletions.find",
        "SELECT namespace_id, id, path, requested_at, finished_at, tags, manifests, blobs
         FROM repository_deletions
         WHERE id = $1",
    );
    NEWEST = Statement::both(
        "repository_deletions.newest",
        "SELECT namespace_id, id, path, requested_at, finished_at, tags, manifests, blobs
         FROM repository_deletions
         WHERE path = $1
         ORDER BY requested_at DESC
         LIMIT 1",
    );
    PAGE = Statement::both(
        "repository_deletions.page",
        "SELECT namespace_id, id, path, requested_at, finished_at, tags, manifests, blobs
         FROM repository_deletions
         WHERE id > $1
         ORDER BY id
         LIMIT $2",
    );
    // Each replica works on another one, and each deletion has its turn, however many rows the others have.
    TAKE = Statement::each(
        "repository_deletions.take",
        "SELECT namespace_id, id, path, requested_at, finished_at, tags, manifests, blobs
         FROM repository_deletions
         WHERE finished_at IS NULL
         ORDER BY worked_at
         LIMIT 1",
        "SELECT namespace_id, id, path, requested_at, finished_at, tags, manifests, blobs
         FROM repository_deletions
         WHERE finished_at IS NULL
         ORDER BY worked_at
         LIMIT 1
         FOR UPDATE SKIP LOCKED",
    );
    RECORD = Statement::both(
        "repository_deletions.record",
        "UPDATE repository_deletions
         SET tags = tags + $2, manifests = manifests + $3, blobs = blobs + $4, worked_at = $5, finished_at = $6
         WHERE id = $1",
    );
    FORGET = Statement::both(
        "repository_deletions.forget",
        "DELETE FROM repository_deletions WHERE finished_at IS NOT NULL AND finished_at <= $1",
    );
}

fn deletion(row: &Row<'_>) -> Result<RepositoryDeletion, sqlx::Error> {
    Ok(RepositoryDeletion {
        key: RepositoryKey {
            namespace: row.int(0)?,
            repository: row.int(1)?,
        },
        path: row.text(2)?,
        requested_at: row.int(3)?,
        finished_at: row.optional_int(4)?,
        removed: Removed {
            tags: row.size(5)?,
            manifests: row.size(6)?,
            blobs: row.size(7)?,
        },
    })
}

/// Notes that the rows of a repository, which this transaction hides, are to be removed.
///
/// # Errors
/// As any statement.
pub async fn begin(
    tx: &mut Tx,
    key: RepositoryKey,
    name: &RepositoryName,
    now: Micros,
) -> Result<RepositoryDeletion, Error> {
    let values = [
        Value::Int(key.repository),
        Value::Int(key.namespace),
        Value::Text(name.as_str()),
        Value::Int(now),
    ];
    tx.execute(&BEGIN, &values).await?;
    Ok(RepositoryDeletion {
        key,
        path: name.to_string(),
        requested_at: now,
        finished_at: None,
        removed: Removed::default(),
    })
}

/// The deletion of the repository with this number.
///
/// # Errors
/// As any statement.
pub async fn find(reader: &mut Reader, repository: i64) -> Result<Option<RepositoryDeletion>, Error> {
    reader.one(&FIND, &[Value::Int(repository)], deletion).await
}

/// The newest deletion of a repository with this path.
///
/// # Errors
/// As any statement.
pub async fn newest(reader: &mut Reader, name: &RepositoryName) -> Result<Option<RepositoryDeletion>, Error> {
    reader.one(&NEWEST, &[Value::Text(name.as_str())], deletion).await
}

/// At most `limit` deletions behind one, in the order of their numbers.
///
/// # Errors
/// As any statement.
pub async fn page(reader: &mut Reader, after: i64, limit: u32) -> Result<Vec<RepositoryDeletion>, Error> {
    let values = [Value::Int(after), Value::Int(limit.into())];
    reader.all(&PAGE, &values, deletion).await
}

/// A deletion that is not finished, for this transaction alone.
///
/// # Errors
/// As any statement.
pub async fn take(tx: &mut Tx) -> Result<Option<RepositoryDeletion>, Error> {
    tx.one(&TAKE, &[], deletion).await
}

/// Notes what this transaction removes, and whether that was the last.
///
/// # Errors
/// As any statement.
pub async fn record(
    tx: &mut Tx,
    key: RepositoryKey,
    removed: Removed,
    (now, finished): (Micros, bool),
) -> Result<(), Error> {
    let values = [
        Value::Int(key.repository),
        Value::Int(stored_size(removed.tags)),
        Value::Int(stored_size(removed.manifests)),
        Value::Int(stored_size(removed.blobs)),
        Value::Int(now),
        Value::OptionalInt(finished.then_some(now)),
    ];
    tx.execute(&RECORD, &values).await.map(drop)
}

/// Forgets deletions that were finished at `until` or earlier.
///
/// # Errors
/// As any statement.
pub async fn forget(tx: &mut Tx, until: Micros) -> Result<u64, Error> {
    tx.execute(&FORGET, &[Value::Int(until)]).await
}
