//! Objects that no row names any more, to be deleted from the store after a time.

use super::Micros;
use super::error::Error;
use super::session::Tx;
use super::statement::{Statement, Value, statements};

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
        "DELETE FROM tombstones WHERE object_key = $1 RETURNING not_before",
    );
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
/// # Errors
/// As any statement.
pub async fn remove(tx: &mut Tx, object_key: &str, now: Micros) -> Result<bool, Error> {
    let not_before = tx.one(&REMOVE, &[Value::Text(object_key)], |row| row.int(0)).await?;
    Ok(not_before.is_none_or(|not_before| not_before > now))
}
