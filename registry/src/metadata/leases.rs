//! Promises: "you need not upload this blob" keeps it until the lease ends.

use super::Micros;
use super::error::Error;
use super::repositories::RepositoryKey;
use super::session::Tx;
use super::statement::{Statement, Value, statements};
use oci::Digest;

statements! {
    ADD = Statement::both(
        "blob_leases.add",
        "INSERT INTO blob_leases (digest, namespace_id, repository_id, expires_at)
         VALUES ($1, $2, $3, $4)
         ON CONFLICT (digest, namespace_id, repository_id, expires_at) DO NOTHING",
    );
    SWEEP = Statement::each(
        "blob_leases.sweep",
        "DELETE FROM blob_leases
         WHERE (digest, namespace_id, repository_id, expires_at) IN (
             SELECT digest, namespace_id, repository_id, expires_at FROM blob_leases WHERE expires_at <= $1 LIMIT $2
         )",
        "WITH old AS MATERIALIZED (
             SELECT digest, namespace_id, repository_id, expires_at FROM blob_leases WHERE expires_at <= $1 LIMIT $2
             FOR UPDATE SKIP LOCKED
         )
         DELETE FROM blob_leases AS l USING old
         WHERE l.digest = old.digest AND l.namespace_id = old.namespace_id
             AND l.repository_id = old.repository_id AND l.expires_at = old.expires_at",
    );
}

/// Promises a repository that the blob stays until `expires_at`. Insert-only, so that promises never wait for
/// each other; callers round the time so that repeats fall together.
///
/// # Errors
/// As any statement.
pub async fn promise(tx: &mut Tx, key: RepositoryKey, digest: &Digest, expires_at: Micros) -> Result<(), Error> {
    let digest = digest.to_bytes();
    let values = [
        Value::Bytes(&digest),
        Value::Int(key.namespace),
        Value::Int(key.repository),
        Value::Int(expires_at),
    ];
    tx.execute(&ADD, &values).await.map(drop)
}

/// Removes at most `limit` promises that have ended. Gives their number.
///
/// # Errors
/// As any statement.
pub async fn sweep(tx: &mut Tx, now: Micros, limit: u32) -> Result<u64, Error> {
    tx.execute(&SWEEP, &[Value::Int(now), Value::Int(limit.into())]).await
}
