//! What would follow a collection that does not take place.

use super::super::error::Error;
use super::super::session::Reader;
use super::super::statement::{Statement, Value, statements};
use super::{Item, Items, item, over_items};

statements! {
    CHILDREN = over_items!(
        "foresee.children",
        "SELECT c.namespace_id, c.repository_id, c.child_digest FROM ",
        " CROSS JOIN manifest_children c
          WHERE c.namespace_id = item.namespace_id AND c.repository_id = item.repository_id
              AND c.parent_digest = item.digest"
    );
    BLOBS = over_items!(
        "foresee.blobs",
        "SELECT b.namespace_id, b.repository_id, b.blob_digest FROM ",
        " CROSS JOIN manifest_blobs b
          WHERE b.namespace_id = item.namespace_id AND b.repository_id = item.repository_id
              AND b.manifest_digest = item.digest"
    );
    NAMERS = Statement::both(
        "foresee.namers",
        "SELECT manifest_digest FROM manifest_blobs
         WHERE namespace_id = $1 AND repository_id = $2 AND blob_digest = $3",
    );
    HOLDERS = Statement::both(
        "foresee.holders",
        "SELECT namespace_id, repository_id, digest FROM blob_links WHERE digest = $1",
    );
    PATH = Statement::both(
        "foresee.path",
        "SELECT path FROM repositories WHERE namespace_id = $1 AND id = $2",
    );
}

/// What manifests refer to, and what refers to them as their subjects.
#[derive(Debug, Clone, Default)]
pub struct Leads {
    /// Manifests that they list, or that have one of them as their subject.
    pub manifests: Vec<Item>,
    /// Blobs that they name, in their repositories.
    pub links: Vec<Item>,
}

/// Where manifests lead to.
///
/// # Errors
/// As any statement.
pub async fn leads(reader: &mut Reader, items: &Items) -> Result<Leads, Error> {
    let mut manifests = reader.all(&CHILDREN, &items.values(), item).await?;
    manifests.extend(super::manifests::referrers(reader, items).await?);
    let links = reader.all(&BLOBS, &items.values(), item).await?;
    Ok(Leads { manifests, links })
}

fn values(item: &Item) -> [Value<'_>; 3] {
    [
        Value::Int(item.key.namespace),
        Value::Int(item.key.repository),
        Value::Bytes(&item.digest),
    ]
}

fn beside(item: &Item, digests: Vec<Vec<u8>>) -> Vec<Item> {
    let key = item.key;
    digests.into_iter().map(|digest| Item { key, digest }).collect()
}

/// Every manifest of the repository that names a blob.
///
/// # Errors
/// As any statement.
pub async fn namers(reader: &mut Reader, item: &Item) -> Result<Vec<Item>, Error> {
    let found = reader.all(&NAMERS, &values(item), |row| row.bytes(0)).await?;
    Ok(beside(item, found))
}

/// Every repository's link to a blob.
///
/// # Errors
/// As any statement.
pub async fn holders(reader: &mut Reader, item: &Item) -> Result<Vec<Item>, Error> {
    reader.all(&HOLDERS, &[Value::Bytes(&item.digest)], self::item).await
}

/// The name of an item's repository; `None` for what is the whole registry's.
///
/// # Errors
/// As any statement.
pub async fn path(reader: &mut Reader, item: &Item) -> Result<Option<String>, Error> {
    reader.one(&PATH, &values(item)[..2], |row| row.text(0)).await
}
