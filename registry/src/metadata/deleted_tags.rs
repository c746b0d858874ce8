//! Deleted tags that can be restored. Each keeps its manifest until the retention is over.
//!
//! A deletion is known by its time: it is later than every other one that is kept of the same name or manifest. Tags that
//! were lost with their manifest have the very time of its deletion.

use super::Micros;
use super::error::Error;
use super::repositories::RepositoryKey;
use super::session::{Reader, Tx};
use super::statement::{Row, Statement, Value, statements};
use oci::{Digest, Tag};

/// A tag that was deleted, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedTag {
    /// Its name.
    pub name: String,
    /// When it was deleted.
    pub deleted_at: Micros,
    /// What it pointed to.
    pub manifest: Digest,
}

/// One deletion: everything that pointed to a manifest and went at that time.
#[derive(Debug, Clone, Copy)]
pub struct Deletion<'a> {
    /// The repository.
    pub key: RepositoryKey,
    /// What the tags pointed to.
    pub manifest: &'a Digest,
    /// When they were deleted.
    pub at: Micros,
}

statements! {
    LATEST_OF_TAG = Statement::both(
        "deleted_tags.latest_of_tag",
        "SELECT max(deleted_at) FROM deleted_tags WHERE namespace_id = $1 AND repository_id = $2 AND name = $3",
    );
    LATEST_OF_MANIFEST = Statement::both(
        "deleted_tags.latest_of_manifest",
        "SELECT max(latest)
         FROM (
             SELECT max(d.deleted_at) AS latest
             FROM tags t
             JOIN deleted_tags d ON d.name = t.name
             WHERE t.namespace_id = $1 AND t.repository_id = $2 AND t.manifest_digest = $3
                 AND d.namespace_id = $1 AND d.repository_id = $2
             UNION ALL
             SELECT max(deleted_at)
             FROM deleted_tags
             WHERE namespace_id = $1 AND repository_id = $2 AND manifest_digest = $3
         ) AS kept",
    );
    KEEP_ONE = Statement::both(
        "deleted_tags.keep_one",
        "INSERT INTO deleted_tags
             (namespace_id, repository_id, name, deleted_at, manifest_digest, created_at, updated_at, last_pulled_at)
         SELECT namespace_id, repository_id, name, $5, manifest_digest, created_at, updated_at, last_pulled_at
         FROM tags
         WHERE namespace_id = $1 AND repository_id = $2 AND manifest_digest = $3 AND name = $4",
    );
    KEEP_ALL = Statement::both(
        "deleted_tags.keep_all",
        "INSERT INTO deleted_tags
             (namespace_id, repository_id, name, deleted_at, manifest_digest, created_at, updated_at, last_pulled_at)
         SELECT namespace_id, repository_id, name, $4, manifest_digest, created_at, updated_at, last_pulled_at
         FROM tags
         WHERE namespace_id = $1 AND repository_id = $2 AND manifest_digest = $3
         ORDER BY name",
    );
    FIND = Statement::both(
        "deleted_tags.find",
        "SELECT name, deleted_at, manifest_digest
         FROM deleted_tags
         WHERE namespace_id = $1 AND repository_id = $2 AND name = $3 AND deleted_at <= $4
         ORDER BY deleted_at DESC
         LIMIT 1",
    );
    LOST = Statement::both(
        "deleted_tags.lost",
        "SELECT name
         FROM deleted_tags
         WHERE namespace_id = $1 AND repository_id = $2 AND manifest_digest = $3 AND deleted_at = $4
         ORDER BY name",
    );
    // In the order of the names, as a push points its tags.
    RESTORE = Statement::each(
        "deleted_tags.restore",
        "INSERT INTO tags
             (namespace_id, repository_id, name, manifest_digest, created_at, updated_at, last_pulled_at)
         SELECT namespace_id, repository_id, name, manifest_digest, created_at, updated_at, last_pulled_at
         FROM deleted_tags
         WHERE namespace_id = $1 AND repository_id = $2 AND manifest_digest = $3 AND deleted_at = $4
             AND name IN (SELECT value FROM json_each($5))
         ORDER BY name
         ON CONFLICT (namespace_id, repository_id, name) DO NOTHING
         RETURNING name",
        "INSERT INTO tags
             (namespace_id, repository_id, name, manifest_digest, created_at, updated_at, last_pulled_at)
         SELECT namespace_id, repository_id, name, manifest_digest, created_at, updated_at, last_pulled_at
         FROM deleted_tags
         WHERE namespace_id = $1 AND repository_id = $2 AND manifest_digest = $3 AND deleted_at = $4
             AND name = ANY($5)
         ORDER BY name
         ON CONFLICT (namespace_id, repository_id, name) DO NOTHING
         RETURNING name",
    );
    FORGET = Statement::each(
        "deleted_tags.forget",
        "DELETE FROM deleted_tags
         WHERE namespace_id = $1 AND repository_id = $2 AND manifest_digest = $3 AND deleted_at = $4
             AND name IN (SELECT value FROM json_each($5))",
        "DELETE FROM deleted_tags
         WHERE namespace_id = $1 AND repository_id = $2 AND manifest_digest = $3 AND deleted_at = $4
             AND name = ANY($5)",
    );
    FORGET_ALL = Statement::both(
        "deleted_tags.forget_all",
        "DELETE FROM deleted_tags WHERE namespace_id = $1 AND repository_id = $2 AND manifest_digest = $3",
    );
    PAGE = Statement::both(
        "deleted_tags.page",
        "SELECT name, deleted_at, manifest_digest
         FROM deleted_tags
         WHERE namespace_id = $1 AND repository_id = $2 AND (name, deleted_at) > ($3, $4) AND deleted_at > $5
         ORDER BY name, deleted_at
         LIMIT $6",
    );
    // Those that were lost with a manifest go with it: whoever restores it gets all of them or is refused. Whoever restores
    // one at this moment is not waited for: the next turn sees what came of it.
    EXPIRED = Statement::each(
        "deleted_tags.expired",
        "SELECT d.namespace_id, d.repository_id, d.name, d.manifest_digest
         FROM deleted_tags d
         WHERE d.deleted_at <= $1 AND NOT EXISTS (
             SELECT 1 FROM manifests m
             WHERE m.namespace_id = d.namespace_id AND m.repository_id = d.repository_id
                 AND m.digest = d.manifest_digest AND m.deleted_at = d.deleted_at
         )
         ORDER BY d.deleted_at
         LIMIT $2",
        "SELECT d.namespace_id, d.repository_id, d.name, d.manifest_digest
         FROM deleted_tags d
         WHERE d.deleted_at <= $1 AND NOT EXISTS (
             SELECT 1 FROM manifests m
             WHERE m.namespace_id = d.namespace_id AND m.repository_id = d.repository_id
                 AND m.digest = d.manifest_digest AND m.deleted_at = d.deleted_at
         )
         ORDER BY d.deleted_at
         LIMIT $2
         FOR UPDATE OF d SKIP LOCKED",
    );
    EXPIRE = Statement::each(
        "deleted_tags.expire",
        "DELETE FROM deleted_tags
         WHERE namespace_id = $1 AND repository_id = $2 AND name IN (SELECT value FROM json_each($3))
             AND deleted_at <= $4
         RETURNING manifest_digest",
        "DELETE FROM deleted_tags
         WHERE namespace_id = $1 AND repository_id = $2 AND name = ANY($3) AND deleted_at <= $4
         RETURNING manifest_digest",
    );
}

fn of(key: RepositoryKey, manifest: &[u8]) -> [Value<'_>; 3] {
    [
        Value::Int(key.namespace),
        Value::Int(key.repository),
        Value::Bytes(manifest),
    ]
}

fn deleted_tag(row: &Row<'_>) -> Result<DeletedTag, sqlx::Error> {
    Ok(DeletedTag {
        name: row.text(0)?,
        deleted_at: row.int(1)?,
        manifest: row.digest(2)?,
    })
}

/// When to say that something is deleted which is deleted now: later than `latest`, the newest deletion that is kept.
fn later(now: Micros, latest: Option<Micros>) -> Micros {
    latest.map_or(now, |latest| now.max(latest.saturating_add(1)))
}

/// Keeps a tag that points to the manifest and is about to be deleted.
///
/// # Errors
/// `Conflict` when the manifest is gone.
pub async fn keep_one(
    tx: &mut Tx,
    key: RepositoryKey,
    (tag, manifest): (&Tag, &Digest),
    now: Micros,
) -> Result<(), Error> {
    let named = [
        Value::Int(key.namespace),
        Value::Int(key.repository),
        Value::Text(tag.as_str()),
    ];
    let latest = tx.one(&LATEST_OF_TAG, &named, |row| row.optional_int(0)).await?;
    let at = later(now, latest.flatten());
    let manifest = manifest.to_bytes();
    let what = [Value::Text(tag.as_str()), Value::Int(at)];
    tx.execute(&KEEP_ONE, &[&of(key, &manifest)[..], &what].concat())
        .await
        .map(drop)
}

/// Keeps every tag of a manifest that is about to be deleted with it, and says at what time that is.
///
/// # Errors
/// As any statement.
pub async fn keep_all(tx: &mut Tx, key: RepositoryKey, manifest: &Digest, now: Micros) -> Result<Micros, Error> {
    let manifest = manifest.to_bytes();
    let latest = tx
        .one(&LATEST_OF_MANIFEST, &of(key, &manifest), |row| row.optional_int(0))
        .await?;
    let at = later(now, latest.flatten());
    tx.execute(&KEEP_ALL, &[&of(key, &manifest)[..], &[Value::Int(at)]].concat())
        .await?;
    Ok(at)
}

/// The newest deletion of a tag that is not later than `not_after`.
///
/// # Errors
/// As any statement.
pub async fn find(
    reader: &mut Reader,
    key: RepositoryKey,
    tag: &Tag,
    not_after: Micros,
) -> Result<Option<DeletedTag>, Error> {
    let values = [
        Value::Int(key.namespace),
        Value::Int(key.repository),
        Value::Text(tag.as_str()),
        Value::Int(not_after),
    ];
    reader.one(&FIND, &values, deleted_tag).await
}

/// The names of the tags that went with a deletion.
///
/// # Errors
/// As any statement.
pub async fn lost(reader: &mut Reader, deletion: Deletion<'_>) -> Result<Vec<String>, Error> {
    let manifest = deletion.manifest.to_bytes();
    let values = [&of(deletion.key, &manifest)[..], &[Value::Int(deletion.at)]].concat();
    reader.all(&LOST, &values, |row| row.text(0)).await
}

/// Makes tags again of those names that are free, and says which. The manifest must be held alone.
///
/// # Errors
/// `Conflict` when the manifest is gone.
pub async fn restore(tx: &mut Tx, deletion: Deletion<'_>, names: &[&str]) -> Result<Vec<String>, Error> {
    let manifest = deletion.manifest.to_bytes();
    let kept = [&of(deletion.key, &manifest)[..], &[Value::Int(deletion.at)]].concat();
    let which = [&kept[..], &[Value::TextArray(names)]].concat();
    let restored = tx.all(&RESTORE, &which, |row| row.text(0)).await?;
    let names: Vec<&str> = restored.iter().map(String::as_str).collect();
    tx.execute(&FORGET, &[&kept[..], &[Value::TextArray(&names)]].concat())
        .await?;
    Ok(restored)
}

/// Forgets every deleted tag of a manifest that is about to be removed for good.
///
/// # Errors
/// As any statement.
pub async fn forget_all(tx: &mut Tx, key: RepositoryKey, manifest: &Digest) -> Result<u64, Error> {
    tx.execute(&FORGET_ALL, &of(key, &manifest.to_bytes())).await
}

/// A place in a repository's list of deleted tags, and how much of the list is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// Behind the deletion of this name at this time.
    pub after: (&'a str, Micros),
    /// Only what was deleted later than this.
    pub since: Micros,
    /// At most so many.
    pub limit: u32,
}

/// Deleted tags of a repository in the order of their names, the oldest deletion of a name first.
///
/// # Errors
/// As any statement.
pub async fn page(reader: &mut Reader, key: RepositoryKey, page: Page<'_>) -> Result<Vec<DeletedTag>, Error> {
    let values = [
        Value::Int(key.namespace),
        Value::Int(key.repository),
        Value::Text(page.after.0),
        Value::Int(page.after.1),
        Value::Int(page.since),
        Value::Int(page.limit.into()),
    ];
    reader.all(&PAGE, &values, deleted_tag).await
}

/// A deleted tag whose time is over.
#[derive(Debug)]
pub struct ExpiredTag {
    /// Its repository.
    pub key: RepositoryKey,
    /// Its name.
    pub name: String,
    /// What it pointed to.
    pub manifest: Digest,
}

/// At most `limit` tags, of any repository, that were deleted at `until` or earlier and not with their manifest, held
/// alone until the end of the transaction.
///
/// # Errors
/// As any statement.
pub async fn expired(tx: &mut Tx, until: Micros, limit: u32) -> Result<Vec<ExpiredTag>, Error> {
    let values = [Value::Int(until), Value::Int(limit.into())];
    tx.all(&EXPIRED, &values, |row| {
        Ok(ExpiredTag {
            key: RepositoryKey {
                namespace: row.int(0)?,
                repository: row.int(1)?,
            },
            name: row.text(2)?,
            manifest: row.digest(3)?,
        })
    })
    .await
}

/// Forgets every deletion of these tags of a repository at `until` or earlier, however many there were of one name.
/// Gives what they pointed to, once for each deletion.
///
/// # Errors
/// As any statement.
pub async fn expire(tx: &mut Tx, key: RepositoryKey, names: &[&str], until: Micros) -> Result<Vec<Digest>, Error> {
    let values = [
        Value::Int(key.namespace),
        Value::Int(key.repository),
        Value::TextArray(names),
        Value::Int(until),
    ];
    tx.all(&EXPIRE, &values, |row| row.digest(0)).await
}
