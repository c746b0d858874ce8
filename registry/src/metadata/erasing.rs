//! Removing the rows of a hidden repository, a few at a time.
//!
//! Nothing here waits for a lock of somebody else: a row that is held is left for the next time. So whatever order it
//! takes the rows in, nobody waits in a circle with it. It must not be used for a repository that anybody sees.

use super::error::Error;
use super::repositories::RepositoryKey;
use super::session::{Reader, Tx};
use super::statement::{Statement, Value, statements};
use oci::Digest;

/// A kind of row that a repository has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// Tags.
    Tags,
    /// Deleted tags that could be restored.
    DeletedTags,
    /// What indexes list.
    Children,
    /// What manifests use.
    ManifestBlobs,
    /// What manifests lack.
    Missing,
    /// Manifests, those that are deleted included.
    Manifests,
}

impl Rows {
    /// Each kind before those that it refers to.
    pub const IN_ORDER: [Self; 6] = [
        Self::Tags,
        Self::DeletedTags,
        Self::Children,
        Self::ManifestBlobs,
        Self::Missing,
        Self::Manifests,
    ];

    fn statements(self) -> (&'static Statement, &'static Statement) {
        match self {
            Self::Tags => (&TAGS, &ANY_TAG),
            Self::DeletedTags => (&DELETED_TAGS, &ANY_DELETED_TAG),
            Self::Children => (&CHILDREN, &ANY_CHILD),
            Self::ManifestBlobs => (&MANIFEST_BLOBS, &ANY_MANIFEST_BLOB),
            Self::Missing => (&MISSING, &ANY_MISSING),
            Self::Manifests => (&MANIFESTS, &ANY_MANIFEST),
        }
    }
}

/// On PostgreSQL by the places of the rows: a namespace's are all in one partition, and so in one file.
macro_rules! some_rows {
    ($table:literal, $key:literal) => {
        Statement::each(
            concat!("erasing.", $table),
            concat!(
                "DELETE FROM ",
                $table,
                " WHERE (namespace_id, repository_id, ",
                $key,
                ") IN (
                     SELECT namespace_id, repository_id, ",
                $key,
                " FROM ",
                $table,
                "
                     WHERE namespace_id = $1 AND repository_id = $2
                     LIMIT $3
                 )"
            ),
            concat!(
                "DELETE FROM ",
                $table,
                " WHERE namespace_id = $1 AND repository_id = $2 AND ctid = ANY(ARRAY(
                     SELECT ctid FROM ",
                $table,
                "
                     WHERE namespace_id = $1 AND repository_id = $2
                     LIMIT $3
                     FOR UPDATE SKIP LOCKED
                 ))"
            ),
        )
    };
}

macro_rules! any_row {
    ($table:literal) => {
        Statement::both(
            concat!("erasing.any_of_", $table),
            concat!(
                "SELECT 1 FROM ",
                $table,
                " WHERE namespace_id = $1 AND repository_id = $2 LIMIT 1"
            ),
        )
    };
}

statements! {
    TAGS = some_rows!("tags", "name");
    ANY_TAG = any_row!("tags");
    DELETED_TAGS = some_rows!("deleted_tags", "name, deleted_at");
    ANY_DELETED_TAG = any_row!("deleted_tags");
    CHILDREN = some_rows!("manifest_children", "parent_digest, child_digest");
    ANY_CHILD = any_row!("manifest_children");
    MANIFEST_BLOBS = some_rows!("manifest_blobs", "manifest_digest, blob_digest, kind");
    ANY_MANIFEST_BLOB = any_row!("manifest_blobs");
    MISSING = some_rows!("missing_references", "digest, manifest_digest, kind");
    ANY_MISSING = any_row!("missing_references");
    MANIFESTS = some_rows!("manifests", "digest");
    ANY_MANIFEST = any_row!("manifests");
    // In the order in which a collector takes links and blobs.
    HOLD_LINKS = Statement::each(
        "erasing.hold_blob_links",
        "SELECT digest FROM blob_links WHERE namespace_id = $1 AND repository_id = $2 ORDER BY digest LIMIT $3",
        "SELECT digest FROM blob_links WHERE namespace_id = $1 AND repository_id = $2 ORDER BY digest LIMIT $3
         FOR UPDATE SKIP LOCKED",
    );
    LINKS = Statement::each(
        "erasing.blob_links",
        "DELETE FROM blob_links
         WHERE namespace_id = $1 AND repository_id = $2 AND digest IN (SELECT unhex(value) FROM json_each($3))",
        "DELETE FROM blob_links WHERE namespace_id = $1 AND repository_id = $2 AND digest = ANY($3)",
    );
    ANY_LINK = any_row!("blob_links");
}

fn of(key: RepositoryKey) -> [Value<'static>; 2] {
    [Value::Int(key.namespace), Value::Int(key.repository)]
}

/// Removes at most `limit` rows of a kind. Gives their number.
///
/// # Errors
/// `Conflict` when something refers to one of them.
pub async fn remove(tx: &mut Tx, rows: Rows, key: RepositoryKey, limit: u64) -> Result<u64, Error> {
    let (statement, _) = rows.statements();
    let limit = Value::Int(i64::try_from(limit).unwrap_or(i64::MAX));
    tx.execute(statement, &[&of(key)[..], &[limit]].concat()).await
}

/// True when rows of a kind are left.
///
/// # Errors
/// As any statement.
pub async fn any(reader: &mut Reader, rows: Rows, key: RepositoryKey) -> Result<bool, Error> {
    let (_, statement) = rows.statements();
    Ok(reader.one(statement, &of(key), |_| Ok(())).await?.is_some())
}

/// Takes at most `limit` blobs from the repository, and says which.
///
/// # Errors
/// `Conflict` when a manifest of the repository uses one of them.
pub async fn unlink(tx: &mut Tx, key: RepositoryKey, limit: u64) -> Result<Vec<Digest>, Error> {
    let limit = Value::Int(i64::try_from(limit).unwrap_or(i64::MAX));
    let held = [&of(key)[..], &[limit]].concat();
    let digests = tx.all(&HOLD_LINKS, &held, |row| row.digest(0)).await?;
    let stored: Vec<Vec<u8>> = digests.iter().map(Digest::to_bytes).collect();
    tx.execute(&LINKS, &[&of(key)[..], &[Value::BytesArray(&stored)]].concat())
        .await?;
    Ok(digests)
}

/// True when the repository has blobs left.
///
/// # Errors
/// As any statement.
pub async fn any_link(reader: &mut Reader, key: RepositoryKey) -> Result<bool, Error> {
    Ok(reader.one(&ANY_LINK, &of(key), |_| Ok(())).await?.is_some())
}
