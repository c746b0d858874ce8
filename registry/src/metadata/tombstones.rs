//! Objects that no row names any more, to be deleted from the store after a time.

use super::Micros;
use super::error::Error;
use super::session::Tx;
use super::statement::{Statement, Value, statements, stored_size};
use oci::Digest;

statements! {
    ADD = Statement::both(
        "tombstones.add",
        "INSERT INTO tombstones (object_key, digest, multipart_id, size, reason, attempts, not_before, created_at)
         VALUES ($1, $2, $3, $4, $5, 0, $6, $7)
         ON CONFLICT (object_key) DO NOTHING",
    );
}

/// An object to be deleted.
#[derive(Debug, Clone, Copy)]
pub struct Tombstone<'a> {
    /// The object.
    pub object_key: &'a str,
    /// What it was said to hash to.
    pub digest: Option<&'a Digest>,
    /// The multipart upload to abort, where one was begun.
    pub multipart_id: Option<&'a str>,
    /// In bytes, as far as known.
    pub size: u64,
    /// Why it is garbage: `duplicate`, `upload_cancelled`, `digest_mismatch`, `superseded_tail`.
    pub reason: &'static str,
}

/// Buries an object: the reaper deletes it at `not_before` or later. Repeating it changes nothing.
///
/// # Errors
/// As any statement.
pub async fn add(tx: &mut Tx, dead: Tombstone<'_>, not_before: Micros, now: Micros) -> Result<(), Error> {
    let digest = dead.digest.map(Digest::to_bytes);
    let values = [
        Value::Text(dead.object_key),
        Value::OptionalBytes(digest.as_deref()),
        Value::OptionalText(dead.multipart_id),
        Value::Int(stored_size(dead.size)),
        Value::Text(dead.reason),
        Value::Int(not_before),
        Value::Int(now),
    ];
    tx.execute(&ADD, &values).await.map(drop)
}
