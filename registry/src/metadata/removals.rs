//! Taking a manifest away: its row, what it refers to and what points to it.
//!
//! Each function drops one kind of reference and says what was referred to, for the review queue. [`hold`] comes first:
//! with its lock nobody can begin to refer to the manifest, so what these functions drop is all there is.

use super::error::Error;
use super::repositories::RepositoryKey;
use super::session::{Reader, Tx};
use super::statement::{Row, Statement, Value, impossible, statements};
use oci::{Digest, SubjectDigest};

/// A manifest that is about to be removed.
#[derive(Debug, Clone)]
pub struct Doomed {
    /// As pushed.
    pub media_type: String,
    /// Of its bytes.
    pub size: i64,
    /// What it refers to as its subject, where we can have it.
    pub subject: Option<Digest>,
}

statements! {
    // Waits for the key-share locks of transactions that are about to refer to the manifest.
    HOLD = Statement::each(
        "manifests.hold",
        "SELECT media_type, payload_size, subject_digest FROM manifests
         WHERE namespace_id = $1 AND repository_id = $2 AND digest = $3 AND deleted_at IS NULL",
        "SELECT media_type, payload_size, subject_digest FROM manifests
         WHERE namespace_id = $1 AND repository_id = $2 AND digest = $3 AND deleted_at IS NULL
         FOR UPDATE",
    );
    // In the order in which a push points its tags. Nobody points another one to a manifest that is held.
    HOLD_TAGS = Statement::each(
        "tags.hold_all",
        "SELECT name FROM tags
         WHERE namespace_id = $1 AND repository_id = $2 AND manifest_digest = $3
         ORDER BY name",
        "SELECT name FROM tags
         WHERE namespace_id = $1 AND repository_id = $2 AND manifest_digest = $3
         ORDER BY name
         FOR UPDATE",
    );
    UNTAG = Statement::both(
        "tags.remove_all",
        "DELETE FROM tags WHERE namespace_id = $1 AND repository_id = $2 AND manifest_digest = $3",
    );
    // The same rows as a sparse index has: a later push of the child makes full references of them.
    MISS = Statement::both(
        "missing_references.add_child",
        "INSERT INTO missing_references
             (namespace_id, repository_id, manifest_digest, digest, kind, size, media_type)
         SELECT namespace_id, repository_id, parent_digest, child_digest, 4, $4, $5
         FROM manifest_children
         WHERE namespace_id = $1 AND repository_id = $2 AND child_digest = $3
         ORDER BY parent_digest
         ON CONFLICT (namespace_id, repository_id, digest, manifest_digest, kind) DO NOTHING",
    );
    ORPHAN = Statement::both(
        "manifest_children.remove_child",
        "DELETE FROM manifest_children WHERE namespace_id = $1 AND repository_id = $2 AND child_digest = $3",
    );
    CHILDREN = Statement::both(
        "manifest_children.remove_parent",
        "DELETE FROM manifest_children
         WHERE namespace_id = $1 AND repository_id = $2 AND parent_digest = $3
         RETURNING child_digest",
    );
    BLOBS = Statement::both(
        "manifest_blobs.remove",
        "DELETE FROM manifest_blobs
         WHERE namespace_id = $1 AND repository_id = $2 AND manifest_digest = $3
         RETURNING blob_digest",
    );
    MISSING = Statement::both(
        "missing_references.remove",
        "DELETE FROM missing_references WHERE namespace_id = $1 AND repository_id = $2 AND manifest_digest = $3",
    );
    REFERRERS = Statement::both(
        "manifests.referrers",
        "SELECT digest FROM manifests
         WHERE namespace_id = $1 AND repository_id = $2 AND subject_digest = $3",
    );
    REMOVE = Statement::both(
        "manifests.remove",
        "DELETE FROM manifests WHERE namespace_id = $1 AND repository_id = $2 AND digest = $3",
    );
}

pub(super) fn doomed(row: &Row<'_>) -> Result<Doomed, sqlx::Error> {
    let subject = row
        .optional_bytes(2)?
        .map(|bytes| SubjectDigest::from_bytes(&bytes).map_err(|source| impossible(2, source)))
        .transpose()?;
    Ok(Doomed {
        media_type: row.text(0)?,
        size: row.int(1)?,
        subject: subject.and_then(|subject| subject.supported()),
    })
}

fn values(key: RepositoryKey, digest: &[u8]) -> [Value<'_>; 3] {
    [
        Value::Int(key.namespace),
        Value::Int(key.repository),
        Value::Bytes(digest),
    ]
}

/// The manifest, held alone until the end of the transaction.
///
/// # Errors
/// As any statement.
pub async fn hold(tx: &mut Tx, key: RepositoryKey, manifest: &Digest) -> Result<Option<Doomed>, Error> {
    tx.one(&HOLD, &values(key, &manifest.to_bytes()), doomed).await
}

/// Locks every tag that points to the manifest, and says how many that are: all there will be while it is held.
///
/// # Errors
/// As any statement.
pub async fn hold_tags(tx: &mut Tx, key: RepositoryKey, manifest: &Digest) -> Result<usize, Error> {
    let manifest = manifest.to_bytes();
    let held = tx.all(&HOLD_TAGS, &values(key, &manifest), |row| row.text(0)).await?;
    Ok(held.len())
}

/// Removes every tag that points to the manifest; [`hold_tags`] comes first.
///
/// # Errors
/// As any statement.
pub async fn untag(tx: &mut Tx, key: RepositoryKey, manifest: &Digest) -> Result<u64, Error> {
    tx.execute(&UNTAG, &values(key, &manifest.to_bytes())).await
}

/// Makes the indexes that list the manifest sparse: what they lack is noted. Gives their number.
///
/// # Errors
/// `Conflict` when such an index is removed at the same time.
pub async fn leave_parents(tx: &mut Tx, key: RepositoryKey, manifest: &Digest, doomed: &Doomed) -> Result<u64, Error> {
    let digest = manifest.to_bytes();
    let of = values(key, &digest);
    let described = [Value::Int(doomed.size), Value::Text(&doomed.media_type)];
    let parents = tx.execute(&MISS, &[&of[..], &described].concat()).await?;
    // Also where nothing was noted: what an index lacks may have been noted before.
    tx.execute(&ORPHAN, &of).await?;
    Ok(parents)
}

/// Drops what an index lists, and says which manifests that were.
///
/// # Errors
/// As any statement.
pub async fn leave_children(tx: &mut Tx, key: RepositoryKey, manifest: &Digest) -> Result<Vec<Digest>, Error> {
    tx.all(&CHILDREN, &values(key, &manifest.to_bytes()), |row| row.digest(0))
        .await
}

/// Drops the manifest's use of blobs, and says which; one that it used in two roles is named twice.
///
/// # Errors
/// As any statement.
pub async fn leave_blobs(tx: &mut Tx, key: RepositoryKey, manifest: &Digest) -> Result<Vec<Digest>, Error> {
    tx.all(&BLOBS, &values(key, &manifest.to_bytes()), |row| row.digest(0))
        .await
}

/// Forgets what the manifest lacked.
///
/// # Errors
/// As any statement.
pub async fn forget_missing(tx: &mut Tx, key: RepositoryKey, manifest: &Digest) -> Result<u64, Error> {
    tx.execute(&MISSING, &values(key, &manifest.to_bytes())).await
}

/// The manifests whose subject is this one.
///
/// # Errors
/// As any statement.
pub async fn referrers(reader: &mut Reader, key: RepositoryKey, subject: &Digest) -> Result<Vec<Digest>, Error> {
    reader
        .all(&REFERRERS, &values(key, &subject.to_bytes()), |row| row.digest(0))
        .await
}

/// Removes the manifest itself. `Ok(false)`: there is none.
///
/// # Errors
/// `Conflict` when something refers to it.
pub async fn remove(tx: &mut Tx, key: RepositoryKey, manifest: &Digest) -> Result<bool, Error> {
    Ok(tx.execute(&REMOVE, &values(key, &manifest.to_bytes())).await? == 1)
}
