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
