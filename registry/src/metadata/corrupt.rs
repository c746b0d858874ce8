//! Blobs whose bytes are not what their digest says, or are gone.
//!
//! A mark names the object that was looked at, or the bytes where they are in the row: when a push has given the digest
//! others meanwhile, it does not take.

use super::Micros;
use super::blobs::{Blob, Place};
use super::error::Error;
use super::session::{Reader, Tx};
use super::statement::{Statement, Value, statements, stored_size};
use oci::Digest;

statements! {
    MARK = Statement::both(
        "blobs.mark_corrupt",
        "UPDATE blobs SET corrupt_at = $4
         WHERE digest = $1 AND object_key IS NOT DISTINCT FROM $2 AND content IS NOT DISTINCT FROM $3 AND corrupt_at IS NULL",
    );
    CLEAR = Statement::both(
        "blobs.clear_corrupt",
        "UPDATE blobs SET corrupt_at = NULL
         WHERE digest = $1 AND object_key IS NOT DISTINCT FROM $2 AND content IS NOT DISTINCT FROM $3 AND corrupt_at IS NOT NULL",
    );
    HEAL = Statement::both(
        "blobs.heal",
        "UPDATE blobs SET size = $3, object_key = $4, content = $5, corrupt_at = NULL
         WHERE digest = $1 AND object_key IS NOT DISTINCT FROM $2 AND corrupt_at IS NOT NULL",
    );
    NAMED_SINCE = Statement::both(
        "blobs.named_since",
        "SELECT created_at FROM blobs WHERE digest = $1 AND object_key IS NOT DISTINCT FROM $2",
    );
}

/// Marks a blob whose bytes are wrong. `Ok(false)`: it is marked already, or has others now.
///
/// # Errors
/// As any statement.
pub async fn mark(tx: &mut Tx, digest: &Digest, looked_at: &Place, now: Micros) -> Result<bool, Error> {
    let digest = digest.to_bytes();
    let values = [
        Value::Bytes(&digest),
        Value::OptionalText(looked_at.object_key()),
        Value::OptionalBytes(looked_at.content()),
        Value::Int(now),
    ];
    Ok(tx.execute(&MARK, &values).await? == 1)
}

/// Takes the mark from a blob whose bytes are right again. `Ok(false)`: it has none, or has others now.
///
/// # Errors
/// As any statement.
pub async fn clear(tx: &mut Tx, digest: &Digest, looked_at: &Place) -> Result<bool, Error> {
    let digest = digest.to_bytes();
    let values = [
        Value::Bytes(&digest),
        Value::OptionalText(looked_at.object_key()),
        Value::OptionalBytes(looked_at.content()),
    ];
    Ok(tx.execute(&CLEAR, &values).await? == 1)
}

/// Gives a marked blob the bytes of a push. `Ok(false)`: another push did so first.
///
/// # Errors
/// As any statement.
pub async fn heal(tx: &mut Tx, bad: &Blob, good: &Blob) -> Result<bool, Error> {
    let digest = good.digest.to_bytes();
    let values = [
        Value::Bytes(&digest),
        Value::OptionalText(bad.place.object_key()),
        Value::Int(stored_size(good.size)),
        Value::OptionalText(good.place.object_key()),
        Value::OptionalBytes(good.place.content()),
    ];
    Ok(tx.execute(&HEAL, &values).await? == 1)
}

/// Since when the digest has a row; `None`: its object is not this one, or not any more.
///
/// # Errors
/// As any statement.
pub async fn named_since(
    reader: &mut Reader,
    digest: &Digest,
    object_key: Option<&str>,
) -> Result<Option<Micros>, Error> {
    let digest = digest.to_bytes();
    let values = [Value::Bytes(&digest), Value::OptionalText(object_key)];
    reader.one(&NAMED_SINCE, &values, |row| row.int(0)).await
}
