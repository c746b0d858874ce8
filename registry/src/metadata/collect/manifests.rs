//! Manifests under review.

use super::super::Micros;
use super::super::error::Error;
use super::super::session::{Reader, Tx};
use super::super::statement::{Row, Statement, statements};
use super::{Item, Items, item, items_of_json, over_items};

/// What was found of a manifest.
#[derive(Debug, Clone)]
pub struct Found {
    /// Which.
    pub item: Item,
    /// Of its bytes.
    pub size: u64,
    /// When it was pushed last.
    pub pushed_at: Micros,
    /// When it was deleted, to be restored or forgotten later.
    pub deleted_at: Option<Micros>,
    /// A tag that points to it.
    pub tag: Option<String>,
    /// A deleted tag that can be restored.
    pub deleted_tag: Option<String>,
    /// An index that lists it.
    pub parent: Option<Vec<u8>>,
    /// Its subject, when the repository has it.
    pub subject: Option<Vec<u8>>,
}

statements! {
    LOCK = over_items!(
        "collect.lock_manifests",
        "SELECT m.namespace_id, m.repository_id, m.digest FROM ",
        " CROSS JOIN manifests m
          WHERE m.namespace_id = item.namespace_id AND m.repository_id = item.repository_id AND m.digest = item.digest",
        prune: "",
        lock: " FOR UPDATE OF m SKIP LOCKED"
    );
    // Every kind of reference to a manifest. One that is found is enough, and is the answer to "why is it still here?".
    LOOK = over_items!(
        "collect.look_at_manifests",
        "SELECT m.namespace_id, m.repository_id, m.digest, m.payload_size, m.pushed_at, m.deleted_at,
             (SELECT t.name FROM tags t
              WHERE t.namespace_id = m.namespace_id AND t.repository_id = m.repository_id
                  AND t.manifest_digest = m.digest
              LIMIT 1),
             (SELECT d.name FROM deleted_tags d
              WHERE d.namespace_id = m.namespace_id AND d.repository_id = m.repository_id
                  AND d.manifest_digest = m.digest
              LIMIT 1),
             (SELECT c.parent_digest FROM manifest_children c
              WHERE c.namespace_id = m.namespace_id AND c.repository_id = m.repository_id
                  AND c.child_digest = m.digest
              LIMIT 1),
             (SELECT s.digest FROM manifests s
              WHERE s.namespace_id = m.namespace_id AND s.repository_id = m.repository_id
                  AND s.digest = m.subject_digest
              LIMIT 1)
         FROM ",
        " CROSS JOIN manifests m
          WHERE m.namespace_id = item.namespace_id AND m.repository_id = item.repository_id AND m.digest = item.digest"
    );
    LEAVE_CHILDREN = over_items!(
        "collect.leave_children",
        "DELETE FROM manifest_children
         WHERE (namespace_id, repository_id, parent_digest) IN
             (SELECT item.namespace_id, item.repository_id, item.digest FROM ",
        ")",
        prune: "",
        end: " RETURNING namespace_id, repository_id, child_digest"
    );
    LEAVE_BLOBS = over_items!(
        "collect.leave_blobs",
        "DELETE FROM manifest_blobs
         WHERE (namespace_id, repository_id, manifest_digest) IN
             (SELECT item.namespace_id, item.repository_id, item.digest FROM ",
        ")",
        prune: "",
        end: " RETURNING namespace_id, repository_id, blob_digest"
    );
    FORGET_MISSING = over_items!(
        "collect.forget_missing",
        "DELETE FROM missing_references
         WHERE (namespace_id, repository_id, manifest_digest) IN
             (SELECT item.namespace_id, item.repository_id, item.digest FROM ",
        ")"
    );
    // The limit, larger than any number of referrers, keeps PostgreSQL from making a join of this that reads all that the
    // repository has.
    REFERRERS = Statement::each(
        "collect.referrers",
        concat!(
            "SELECT m.namespace_id, m.repository_id, m.digest FROM ",
            items_of_json!(),
            " CROSS JOIN manifests m
              WHERE m.namespace_id = item.namespace_id AND m.repository_id = item.repository_id
                  AND m.subject_digest = item.digest"
        ),
        "SELECT m.namespace_id, m.repository_id, m.digest
         FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS item (namespace_id, repository_id, digest)
         CROSS JOIN LATERAL (
             SELECT r.namespace_id, r.repository_id, r.digest FROM manifests r
             WHERE r.namespace_id = item.namespace_id AND r.repository_id = item.repository_id
                 AND r.subject_digest = item.digest
             LIMIT 1000000000
         ) AS m",
    );
    PARENTS = over_items!(
        "collect.parents",
        "SELECT c.namespace_id, c.repository_id, c.parent_digest FROM ",
        " CROSS JOIN manifest_children c
          WHERE c.child_digest = item.digest AND c.namespace_id = item.namespace_id
              AND c.repository_id = item.repository_id"
    );
    REMOVE = over_items!(
        "collect.remove_manifests",
        "DELETE FROM manifests
         WHERE (namespace_id, repository_id, digest) IN
             (SELECT item.namespace_id, item.repository_id, item.digest FROM ",
        ")"
    );
}

fn found(row: &Row<'_>) -> Result<Found, sqlx::Error> {
    Ok(Found {
        item: item(row)?,
        size: row.size(3)?,
        pushed_at: row.int(4)?,
        deleted_at: row.optional_int(5)?,
        tag: row.optional_text(6)?,
        deleted_tag: row.optional_text(7)?,
        parent: row.optional_bytes(8)?,
        subject: row.optional_bytes(9)?,
    })
}

/// Locks those that nobody else holds, until the end of the transaction, and says which.
///
/// # Errors
/// As any statement.
pub async fn lock(tx: &mut Tx, items: &Items) -> Result<Vec<Item>, Error> {
    tx.all(&LOCK, &items.values(), item).await
}

/// Those that there are, and what refers to each.
///
/// # Errors
/// As any statement.
pub async fn look(reader: &mut Reader, items: &Items) -> Result<Vec<Found>, Error> {
    reader.all(&LOOK, &items.values(), found).await
}

/// What removed manifests referred to, for the reviews that follow.
#[derive(Debug, Clone, Default)]
pub struct Left {
    /// Manifests that they listed.
    pub children: Vec<Item>,
    /// Blobs that they named.
    pub blobs: Vec<Item>,
    /// Manifests that had one of them as their subject.
    pub referrers: Vec<Item>,
}

/// Every index that lists one of these.
///
/// # Errors
/// As any statement.
pub async fn parents(reader: &mut Reader, items: &Items) -> Result<Vec<Item>, Error> {
    reader.all(&PARENTS, &items.values(), item).await
}

/// Every manifest that has one of these as its subject.
///
/// # Errors
/// As any statement.
pub async fn referrers(reader: &mut Reader, items: &Items) -> Result<Vec<Item>, Error> {
    reader.all(&REFERRERS, &items.values(), item).await
}

/// Removes locked manifests and their references.
///
/// # Errors
/// `Conflict` when something refers to one of them.
pub async fn remove(tx: &mut Tx, items: &Items) -> Result<Left, Error> {
    let children = tx.all(&LEAVE_CHILDREN, &items.values(), item).await?;
    let blobs = tx.all(&LEAVE_BLOBS, &items.values(), item).await?;
    tx.execute(&FORGET_MISSING, &items.values()).await?;
    let referrers = referrers(tx, items).await?;
    tx.execute(&REMOVE, &items.values()).await?;
    Ok(Left {
        children,
        blobs,
        referrers,
    })
}
