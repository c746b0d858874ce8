//! Objects that no row names any more, to be deleted from the store after a time.

use super::Micros;
use super::error::Error;
use super::session::{Reader, Tx};
use super::statement::{Row, Statement, Value, statements};

statements! {
    ADD = Statement::each(
        "tombstones.add",
        "INSERT INTO tombstones (object_key, digest, multipart_id, size, reason, attempts, not_before, created_at)
         SELECT value, NULL, CASE WHEN value = $2 THEN $3 END, 0, $4, 0, $5, $6
         FROM json_each($1)
         WHERE true
         ON CONFLICT (object_key) DO NOTHING",
        "INSERT INTO tombstones (object_key, digest, multipart_id, size, reason, attempts, not_before, created_at)
         SELECT key, NULL, CASE WHEN key = $2 THEN $3 END, 0, $4, 0, $5, $6
         FROM unnest($1::text[]) AS key
         ON CONFLICT (object_key) DO NOTHING",
    );
    REMOVE = Statement::both(
        "tombstones.remove",
        "DELETE FROM tombstones WHERE object_key = $1 RETURNING not_before, attempts",
    );
    // As an array: see `upload_sessions.expire`.
    CLAIM = Statement::each(
        "tombstones.claim",
        "UPDATE tombstones
         SET attempts = attempts + 1, not_before = $2
         WHERE object_key IN (SELECT object_key FROM tombstones WHERE not_before <= $1 ORDER BY not_before LIMIT $3)
         RETURNING object_key, digest, multipart_id, size, reason, attempts, created_at",
        "WITH due AS MATERIALIZED (
             SELECT object_key FROM tombstones WHERE not_before <= $1 ORDER BY not_before LIMIT $3
             FOR UPDATE SKIP LOCKED
         )
         UPDATE tombstones
         SET attempts = attempts + 1, not_before = $2
         WHERE object_key = ANY(ARRAY(SELECT object_key FROM due))
         RETURNING object_key, digest, multipart_id, size, reason, attempts, created_at",
    );
    FORGET = Statement::each(
        "tombstones.forget",
        "DELETE FROM tombstones WHERE object_key IN (SELECT value FROM json_each($1))",
        "DELETE FROM tombstones WHERE object_key = ANY($1)",
    );
    POSTPONE = Statement::each(
        "tombstones.postpone",
        "UPDATE tombstones SET not_before = $2 WHERE object_key IN (SELECT value FROM json_each($1))",
        "UPDATE tombstones SET not_before = $2 WHERE object_key = ANY($1)",
    );
    DUE = Statement::both(
        "tombstones.due",
        "SELECT count(*), min(not_before), CAST(COALESCE(sum(size), 0) AS bigint) FROM
             (SELECT not_before, size FROM tombstones WHERE not_before <= $1 ORDER BY not_before LIMIT $2) AS due",
    );
    PARKED = Statement::both(
        "tombstones.parked",
        "SELECT count(*) FROM (SELECT 1 FROM tombstones WHERE attempts >= 10 LIMIT $1) AS parked",
    );
}

/// An object that a reaper has set out to delete.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The object.
    pub object_key: String,
    /// What it was, when it was a blob.
    pub digest: Option<Vec<u8>>,
    /// A multipart upload to it, to be aborted.
    pub multipart_id: Option<String>,
    /// In bytes, when it was a blob.
    pub size: u64,
    /// Why it is garbage.
    pub reason: String,
    /// How often that was tried, this time included.
    pub attempts: i64,
    /// When it was buried.
    pub created_at: Micros,
}

fn claimed(row: &Row<'_>) -> Result<Claimed, sqlx::Error> {
    Ok(Claimed {
        object_key: row.text(0)?,
        digest: row.optional_bytes(1)?,
        multipart_id: row.optional_text(2)?,
        size: row.size(3)?,
        reason: row.text(4)?,
        attempts: row.int(5)?,
        created_at: row.int(6)?,
    })
}

/// Objects to be deleted.
#[derive(Debug, Clone, Copy)]
pub struct Dead<'a> {
    /// The objects.
    pub object_keys: &'a [&'a str],
    /// The multipart upload to abort, where one was begun: its key, and the store's name of it.
    pub multipart: Option<(&'a str, &'a str)>,
    /// Why they are garbage: `duplicate`, `upload_cancelled`, `digest_mismatch`, `superseded_tail`.
    pub reason: &'static str,
}

/// Buries objects: the reaper deletes them at `not_before` or later. Repeating it changes nothing.
///
/// # Errors
/// As any statement.
pub async fn add(tx: &mut Tx, dead: Dead<'_>, not_before: Micros, now: Micros) -> Result<(), Error> {
    if dead.object_keys.is_empty() {
        return Ok(());
    }
    let values = [
        Value::TextArray(dead.object_keys),
        Value::OptionalText(dead.multipart.map(|(key, _)| key)),
        Value::OptionalText(dead.multipart.map(|(_, id)| id)),
        Value::Text(dead.reason),
        Value::Int(not_before),
        Value::Int(now),
    ];
    tx.execute(&ADD, &values).await.map(drop)
}

/// Takes an object's tombstone away. `Ok(false)`: the reaper may have deleted the object by now, and the transaction must
/// not commit.
///
/// A reaper's claim has counted its attempt before it deletes anything, so a clock that is behind that reaper's cannot
/// take an object for untouched.
///
/// # Errors
/// As any statement.
pub async fn remove(tx: &mut Tx, object_key: &str, now: Micros) -> Result<bool, Error> {
    let buried = tx
        .one(&REMOVE, &[Value::Text(object_key)], |row| {
            Ok((row.int(0)?, row.int(1)?))
        })
        .await?;
    Ok(buried.is_none_or(|(not_before, attempts)| not_before > now && attempts == 0))
}

/// Sets out to delete at most `limit` objects that are due, the oldest first. When the claim has committed, they count
/// as gone, and nobody else sets out for them before `until`.
///
/// # Errors
/// As any statement.
pub async fn claim(tx: &mut Tx, now: Micros, until: Micros, limit: u32) -> Result<Vec<Claimed>, Error> {
    let values = [Value::Int(now), Value::Int(until), Value::Int(limit.into())];
    tx.all(&CLAIM, &values, claimed).await
}

/// Forgets objects that have been deleted.
///
/// # Errors
/// As any statement.
pub async fn forget(tx: &mut Tx, object_keys: &[&str]) -> Result<(), Error> {
    if object_keys.is_empty() {
        return Ok(());
    }
    tx.execute(&FORGET, &[Value::TextArray(object_keys)]).await.map(drop)
}

/// Leaves objects that could not be deleted until `not_before`.
///
/// # Errors
/// As any statement.
pub async fn postpone(tx: &mut Tx, object_keys: &[&str], not_before: Micros) -> Result<(), Error> {
    if object_keys.is_empty() {
        return Ok(());
    }
    let values = [Value::TextArray(object_keys), Value::Int(not_before)];
    tx.execute(&POSTPONE, &values).await.map(drop)
}

/// How many objects wait to be deleted, counted up to a limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Those that are due.
    pub due: u64,
    /// Their bytes, as far as they were blobs.
    pub bytes: u64,
    /// Since when the oldest is.
    pub oldest: Option<Micros>,
    /// Those that the store would not delete again and again.
    pub parked: u64,
}

/// Counts what is due and what is parked, up to `limit` of each.
///
/// # Errors
/// As any statement.
pub async fn depth(reader: &mut Reader, now: Micros, limit: u32) -> Result<Depth, Error> {
    let values = [Value::Int(now), Value::Int(limit.into())];
    let due = reader
        .one(&DUE, &values, |row| {
            Ok((row.size(0)?, row.optional_int(1)?, row.size(2)?))
        })
        .await?;
    let parked = reader
        .one(&PARKED, &[Value::Int(limit.into())], |row| row.size(0))
        .await?;
    let (due, oldest, bytes) = due.unwrap_or_default();
    Ok(Depth {
        due,
        bytes,
        oldest,
        parked: parked.unwrap_or_default(),
    })
}
