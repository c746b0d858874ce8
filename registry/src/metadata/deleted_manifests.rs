//! Deleted manifests that can be restored: the row stays, with all that it refers to, and nobody sees it.
//!
//! What refers to it stays too: an index lists it, and manifests have it as their subject, as if it were there.

use super::Micros;
use super::error::Error;
use super::removals::{self, Doomed};
use super::repositories::RepositoryKey;
use super::session::{Reader, Tx};
use super::statement::{Row, Statement, Value, statements};
use oci::Digest;

/// A manifest that was deleted, and when.
#[derive(Debug, Clone)]
pub struct DeletedManifest {
    /// The digest it was pushed with.
    pub digest: Digest,
    /// As pushed.
    pub media_type: String,
    /// Its own, or the config's of an image that has none.
    pub artifact_type: Option<String>,
    /// Of its bytes.
    pub size: u64,
    /// When it was deleted.
    pub deleted_at: Micros,
}

statements! {
    // Waits for whoever refers to it, deletes it or pushes it again.
    STATE = Statement::each(
        "deleted_manifests.state",
        "SELECT deleted_at FROM manifests WHERE namespace_id = $1 AND repository_id = $2 AND digest = $3",
        "SELECT deleted_at FROM manifests WHERE namespace_id = $1 AND repository_id = $2 AND digest = $3
         FOR UPDATE",
    );
    MARK = Statement::both(
        "deleted_manifests.mark",
        "UPDATE manifests SET deleted_at = $4 WHERE namespace_id = $1 AND repository_id = $2 AND digest = $3",
    );
    REVIVE = Statement::both(
        "deleted_manifests.revive",
        "UPDATE manifests SET deleted_at = NULL WHERE namespace_id = $1 AND repository_id = $2 AND digest = $3",
    );
    PAGE = Statement::both(
        "deleted_manifests.page",
        "SELECT digest, media_type, artifact_type, payload_size, deleted_at
         FROM manifests
         WHERE namespace_id = $1 AND repository_id = $2 AND digest > $3
             AND deleted_at IS NOT NULL AND deleted_at > $4
         ORDER BY digest
         LIMIT $5",
    );
    EXPIRED = Statement::both(
        "deleted_manifests.expired",
        "SELECT namespace_id, repository_id, digest
         FROM manifests
         WHERE deleted_at IS NOT NULL AND deleted_at <= $1
         ORDER BY deleted_at
         LIMIT $2",
    );
    // Whoever restores it, or pushes it again, at this moment is not waited for.
    HOLD_EXPIRED = Statement::each(
        "deleted_manifests.hold_expired",
        "SELECT media_type, payload_size, subject_digest FROM manifests
         WHERE namespace_id = $1 AND repository_id = $2 AND digest = $3 AND deleted_at <= $4",
        "SELECT media_type, payload_size, subject_digest FROM manifests
         WHERE namespace_id = $1 AND repository_id = $2 AND digest = $3 AND deleted_at <= $4
         FOR UPDATE SKIP LOCKED",
    );
}

fn of(key: RepositoryKey, digest: &[u8]) -> [Value<'_>; 3] {
    [
        Value::Int(key.namespace),
        Value::Int(key.repository),
        Value::Bytes(digest),
    ]
}

fn deleted_manifest(row: &Row<'_>) -> Result<DeletedManifest, sqlx::Error> {
    Ok(DeletedManifest {
        digest: row.digest(0)?,
        media_type: row.text(1)?,
        artifact_type: row.optional_text(2)?,
        size: row.size(3)?,
        deleted_at: row.int(4)?,
    })
}

/// When a manifest was deleted, if it was; held alone until the end of the transaction. `Ok(None)`: there is no such row.
///
/// # Errors
/// As any statement.
pub async fn state(tx: &mut Tx, key: RepositoryKey, manifest: &Digest) -> Result<Option<Option<Micros>>, Error> {
    tx.one(&STATE, &of(key, &manifest.to_bytes()), |row| row.optional_int(0))
        .await
}

/// Hides a manifest that [`removals::hold`] holds.
///
/// # Errors
/// As any statement.
pub async fn mark(tx: &mut Tx, key: RepositoryKey, manifest: &Digest, at: Micros) -> Result<(), Error> {
    let manifest = manifest.to_bytes();
    let values = [&of(key, &manifest)[..], &[Value::Int(at)]].concat();
    tx.execute(&MARK, &values).await.map(drop)
}

/// Shows a manifest again that [`state`] holds.
///
/// # Errors
/// As any statement.
pub async fn revive(tx: &mut Tx, key: RepositoryKey, manifest: &Digest) -> Result<(), Error> {
    tx.execute(&REVIVE, &of(key, &manifest.to_bytes())).await.map(drop)
}

/// At most `limit` deleted manifests of a repository behind a digest, those only that were deleted later than `since`.
///
/// # Errors
/// As any statement.
pub async fn page(
    reader: &mut Reader,
    key: RepositoryKey,
    (after, since): (Option<&Digest>, Micros),
    limit: u32,
) -> Result<Vec<DeletedManifest>, Error> {
    let after = after.map(Digest::to_bytes).unwrap_or_default();
    let wanted = [Value::Int(since), Value::Int(limit.into())];
    let values = [&of(key, &after)[..], &wanted].concat();
    reader.all(&PAGE, &values, deleted_manifest).await
}

/// At most `limit` manifests, of any repository, that were deleted at `until` or earlier.
///
/// # Errors
/// As any statement.
pub async fn expired(reader: &mut Reader, until: Micros, limit: u32) -> Result<Vec<(RepositoryKey, Digest)>, Error> {
    let values = [Value::Int(until), Value::Int(limit.into())];
    reader
        .all(&EXPIRED, &values, |row| {
            let key = RepositoryKey {
                namespace: row.int(0)?,
                repository: row.int(1)?,
            };
            Ok((key, row.digest(2)?))
        })
        .await
}

/// A manifest that was deleted at `until` or earlier, held alone until the end of the transaction. `Ok(None)`: it was
/// not, or somebody else holds it.
///
/// # Errors
/// As any statement.
pub async fn hold_expired(
    tx: &mut Tx,
    key: RepositoryKey,
    manifest: &Digest,
    until: Micros,
) -> Result<Option<Doomed>, Error> {
    let manifest = manifest.to_bytes();
    let values = [&of(key, &manifest)[..], &[Value::Int(until)]].concat();
    tx.one(&HOLD_EXPIRED, &values, removals::doomed).await
}
