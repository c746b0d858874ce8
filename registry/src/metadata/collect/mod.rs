//! What the collector asks and changes, for a batch of items at a time.
//!
//! For each kind of item there are three steps, in one transaction and in this order: *lock* the rows, *look* in a new
//! statement what refers to them, *remove* those that nothing refers to. On PostgreSQL, at READ COMMITTED, a new statement
//! sees what committed while the lock was waited for, and with the lock nobody can begin to refer to the row: foreign
//! keys and pushes take a key-share lock on it first. The lock is not waited for at all: a row that somebody holds is
//! in use, and is looked at later. On SQLite the one writer is the lock.
//!
//! The foreign keys are NO ACTION: were a kind of reference forgotten here, the removal would fail, not lose it.

pub mod blobs;
pub mod foresee;
pub mod links;
pub mod manifests;

use super::repositories::RepositoryKey;
use super::statement::{Row, Value, json};
use sqlx::Arguments;
use sqlx::error::BoxDynError;
use sqlx::postgres::PgArguments;

/// What can be reviewed: a digest, in a repository or, for a blob, in none. The digest as the schema keeps it: one that
/// this version cannot read must not stop the others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Item {
    /// The repository, or [`RepositoryKey::NONE`].
    pub key: RepositoryKey,
    /// One byte for the algorithm, then the hash.
    pub digest: Vec<u8>,
}

impl Item {
    /// The digest as people read it.
    pub fn shown(&self) -> String {
        shown(&self.digest)
    }
}

/// A digest of the schema as people read it.
pub fn shown(digest: &[u8]) -> String {
    oci::Digest::from_bytes(digest).map_or_else(|_unreadable| hex::encode(digest), |digest| digest.to_string())
}

/// The items of one batch, in the order of their keys and digests, each once.
#[derive(Debug, Clone, Default)]
pub struct Items {
    namespaces: Vec<i64>,
    repositories: Vec<i64>,
    digests: Vec<Vec<u8>>,
}

impl FromIterator<Item> for Items {
    fn from_iter<T: IntoIterator<Item = Item>>(items: T) -> Self {
        let mut all: Vec<Item> = items.into_iter().collect();
        all.sort_unstable();
        all.dedup();
        let mut columns = Self::default();
        for item in all {
            columns.namespaces.push(item.key.namespace);
            columns.repositories.push(item.key.repository);
            columns.digests.push(item.digest);
        }
        columns
    }
}

impl Items {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.digests.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    /// One by one.
    pub fn into_items(self) -> Vec<Item> {
        let keys = self.namespaces.into_iter().zip(self.repositories);
        let keys = keys.map(|(namespace, repository)| RepositoryKey { namespace, repository });
        let items = keys.zip(self.digests);
        items.map(|(key, digest)| Item { key, digest }).collect()
    }

    /// The same digests as items of the whole registry: blobs for their links.
    #[must_use]
    pub fn without_repositories(&self) -> Self {
        let item = |digest: &Vec<u8>| Item {
            key: RepositoryKey::NONE,
            digest: digest.clone(),
        };
        self.digests.iter().map(item).collect()
    }

    /// The first three values of a statement.
    pub(super) fn values(&self) -> [Value<'_>; 3] {
        [Value::Items(self), Value::Filled, Value::Filled]
    }

    pub(super) fn bind(&self, arguments: &mut PgArguments) -> Result<(), BoxDynError> {
        arguments.add(&self.namespaces)?;
        arguments.add(&self.repositories)?;
        arguments.add(&self.digests)
    }

    /// One text an item, of three parts that [`over_items`] cuts by their lengths: an array for each would be parsed again for
    /// each of its parts.
    pub(super) fn json(&self) -> String {
        let keys = self.namespaces.iter().zip(&self.repositories);
        let rows = keys.zip(&self.digests);
        let rows: Vec<String> = rows
            .map(|((namespace, repository), digest)| format!("{namespace:020}{repository:020}{}", hex::encode(digest)))
            .collect();
        json(&rows)
    }
}

pub(super) fn item(row: &Row<'_>) -> Result<Item, sqlx::Error> {
    Ok(Item {
        key: RepositoryKey {
            namespace: row.int(0)?,
            repository: row.int(1)?,
        },
        digest: row.bytes(2)?,
    })
}

/// A statement over the batch, which is a table `item` between `before` and `after`. For PostgreSQL alone: `prune`, a
/// condition that names the partitions before the statement runs, and `lock`.
macro_rules! over_items {
    ($name:literal, $before:literal, $after:literal) => {
        over_items!($name, $before, $after, prune: "", end: "", lock: "")
    };
    ($name:literal, $before:literal, $after:literal, prune: $prune:literal) => {
        over_items!($name, $before, $after, prune: $prune, end: "", lock: "")
    };
    ($name:literal, $before:literal, $after:literal, prune: $prune:literal, end: $end:literal) => {
        over_items!($name, $before, $after, prune: $prune, end: $end, lock: "")
    };
    ($name:literal, $before:literal, $after:literal, prune: $prune:literal, lock: $lock:literal) => {
        over_items!($name, $before, $after, prune: $prune, end: "", lock: $lock)
    };
    (
        $name:literal, $before:literal, $after:literal, prune: $prune:literal, end: $end:literal, lock: $lock:literal
    ) => {
        $crate::metadata::statement::Statement::each(
            $name,
            concat!(
                $before,
                $crate::metadata::collect::items_of_json!(),
                $after,
                $end
            ),
            concat!(
                $before,
                "unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS item (namespace_id, repository_id, digest)",
                $after,
                $prune,
                $end,
                $lock
            ),
        )
    };
}
pub(super) use over_items;

/// The batch as SQLite is given it, see `Items::json`.
macro_rules! items_of_json {
    () => {
        "(SELECT CAST(substr(value, 1, 20) AS INTEGER) AS namespace_id,
                 CAST(substr(value, 21, 20) AS INTEGER) AS repository_id,
                 unhex(substr(value, 41)) AS digest
          FROM json_each($1)) AS item"
    };
}
pub(super) use items_of_json;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_each_item_once_in_one_order_for_everybody() {
        let item = |repository, digest: u8| Item {
            key: RepositoryKey {
                namespace: 1,
                repository,
            },
            digest: vec![1, digest],
        };

        let items: Items = [item(2, 1), item(1, 9), item(2, 1), item(1, 3)].into_iter().collect();

        assert_eq!(
            items.json(),
            r#"["00000000000000000001000000000000000000010103","00000000000000000001000000000000000000010109","00000000000000000001000000000000000000020101"]"#
        );
    }
}
