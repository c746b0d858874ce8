//! Blobs under review.

use super::super::Micros;
use super::super::error::Error;
use super::super::session::{Reader, Tx};
use super::super::statement::{Row, Value, statements};
use super::{Item, Items, item, over_items};
use crate::staging;

/// What was found of a blob.
#[derive(Debug, Clone)]
pub struct Found {
    /// Which.
    pub item: Item,
    /// In bytes.
    pub size: u64,
    /// The object's key in the store; none where the bytes go with the row.
    pub object_key: Option<String>,
    /// A repository that may use it.
    pub repository: Option<i64>,
    /// The end of the longest promise to a client of any repository.
    pub leased_until: Option<Micros>,
}

statements! {
    LOCK = over_items!(
        "collect.lock_blobs",
        "SELECT item.namespace_id, item.repository_id, b.digest FROM ",
        " CROSS JOIN blobs b WHERE b.digest = item.digest",
        prune: " AND b.digest = ANY($3)",
        lock: " FOR UPDATE OF b SKIP LOCKED"
    );
    LOOK = over_items!(
        "collect.look_at_blobs",
        "SELECT item.namespace_id, item.repository_id, b.digest, b.size, b.object_key,
             (SELECT l.repository_id FROM blob_links l WHERE l.digest = b.digest LIMIT 1),
             (SELECT max(p.expires_at) FROM blob_leases p WHERE p.digest = b.digest)
         FROM ",
        " CROSS JOIN blobs b WHERE b.digest = item.digest",
        prune: " AND b.digest = ANY($3)"
    );
    BURY = over_items!(
        "collect.bury_blobs",
        "INSERT INTO tombstones (object_key, digest, multipart_id, size, reason, attempts, not_before, created_at)
         SELECT b.object_key, b.digest, NULL, b.size, 'unreferenced', 0, $4, $5 FROM ",
        " CROSS JOIN blobs b WHERE b.digest = item.digest AND b.object_key IS NOT NULL",
        prune: " AND b.digest = ANY($3)",
        end: " ON CONFLICT (object_key) DO NOTHING"
    );
    REMOVE = over_items!(
        "collect.remove_blobs",
        "DELETE FROM blobs WHERE digest IN (SELECT item.digest FROM ",
        ")",
        prune: " AND digest = ANY($3)"
    );
}

fn found(row: &Row<'_>) -> Result<Found, sqlx::Error> {
    Ok(Found {
        item: item(row)?,
        size: row.size(3)?,
        object_key: row.optional_text(4)?,
        repository: row.optional_int(5)?,
        leased_until: row.optional_int(6)?,
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

/// Removes locked blobs, and buries their objects: the reaper deletes those at `not_before` or later.
///
/// # Errors
/// `Conflict` when a repository has one of them.
pub async fn remove(tx: &mut Tx, items: &Items, not_before: Micros, now: Micros) -> Result<(), Error> {
    let times = [Value::Int(not_before), Value::Int(now)];
    if !staging::mutated("blob_not_buried") {
        tx.execute(&BURY, &[&items.values()[..], &times].concat()).await?;
    }
    tx.execute(&REMOVE, &items.values()).await.map(drop)
}
