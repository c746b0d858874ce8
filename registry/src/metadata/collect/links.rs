//! Repositories' rights to blobs, under review.

use super::super::Micros;
use super::super::error::Error;
use super::super::session::{Reader, Tx};
use super::super::statement::{Row, statements};
use super::{Item, Items, item, over_items};

/// What was found of a link.
#[derive(Debug, Clone)]
pub struct Found {
    /// Which.
    pub item: Item,
    /// A manifest of the repository that names the blob.
    pub manifest: Option<Vec<u8>>,
    /// The end of the longest promise to a client of the repository.
    pub leased_until: Option<Micros>,
}

statements! {
    LOCK = over_items!(
        "collect.lock_links",
        "SELECT l.namespace_id, l.repository_id, l.digest FROM ",
        " CROSS JOIN blob_links l
          WHERE l.digest = item.digest AND l.namespace_id = item.namespace_id AND l.repository_id = item.repository_id",
        prune: " AND l.digest = ANY($3)",
        lock: " FOR UPDATE OF l SKIP LOCKED"
    );
    LOOK = over_items!(
        "collect.look_at_links",
        "SELECT l.namespace_id, l.repository_id, l.digest,
             (SELECT m.manifest_digest FROM manifest_blobs m
              WHERE m.namespace_id = l.namespace_id AND m.repository_id = l.repository_id AND m.blob_digest = l.digest
              LIMIT 1),
             (SELECT p.expires_at FROM blob_leases p
              WHERE p.digest = l.digest AND p.namespace_id = l.namespace_id AND p.repository_id = l.repository_id
              ORDER BY p.expires_at DESC
              LIMIT 1)
         FROM ",
        " CROSS JOIN blob_links l
          WHERE l.digest = item.digest AND l.namespace_id = item.namespace_id AND l.repository_id = item.repository_id",
        prune: " AND l.digest = ANY($3)"
    );
    REMOVE = over_items!(
        "collect.remove_links",
        "DELETE FROM blob_links
         WHERE (digest, namespace_id, repository_id) IN
             (SELECT item.digest, item.namespace_id, item.repository_id FROM ",
        ")",
        prune: " AND digest = ANY($3)"
    );
}

fn found(row: &Row<'_>) -> Result<Found, sqlx::Error> {
    Ok(Found {
        item: item(row)?,
        manifest: row.optional_bytes(3)?,
        leased_until: row.optional_int(4)?,
    })
}

/// Locks those that nobody else holds, until the end of the transaction, and says which.
///
/// # Errors
/// As any statement.
pub async fn lock(tx: &mut Tx, items: &Items) -> Result<Vec<Item>, Error> {
    tx.all(&LOCK, &items.values(), item).await
}

/// Those that there are, and what needs each.
///
/// # Errors
/// As any statement.
pub async fn look(reader: &mut Reader, items: &Items) -> Result<Vec<Found>, Error> {
    reader.all(&LOOK, &items.values(), found).await
}

/// Removes locked links.
///
/// # Errors
/// `Conflict` when a manifest needs one of them.
pub async fn remove(tx: &mut Tx, items: &Items) -> Result<(), Error> {
    tx.execute(&REMOVE, &items.values()).await.map(drop)
}
