//! Deleting objects that no row names any more.

use super::Distribution;
use super::audit;
use super::backoff::backoff;
use crate::blobs::Dead;
use crate::distribution::error::Error;
use crate::metadata::tombstones::{self, Claimed};
use crate::metadata::{Micros, Tx};
use crate::staging;
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

/// How long a claim on objects lasts: when its reaper has died, another takes them up then.
const CLAIM: Duration = Duration::from_mins(10);

/// What one round did with the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reaped {
    /// Objects that were set out for.
    pub claimed: u64,
    /// Objects that are gone.
    pub deleted: u64,
    /// Their bytes, as far as they were blobs.
    pub bytes: u64,
    /// Objects that the store did not delete.
    pub errors: u64,
}

impl Reaped {
    /// Adds what another round did.
    pub fn add(&mut self, other: &Self) {
        self.claimed += other.claimed;
        self.deleted += other.deleted;
        self.bytes += other.bytes;
        self.errors += other.errors;
    }
}

pub(super) async fn reap(with: &Distribution, limit: u32) -> Result<Reaped, Error> {
    let claimed = set_out(with, limit).await?;
    if claimed.is_empty() {
        return Ok(Reaped::default());
    }
    staging::point("reaper.claimed").await;
    let failed = delete(with, &claimed).await;
    staging::point("reaper.deleted").await;
    let (left, gone): (Vec<&Claimed>, Vec<&Claimed>) = claimed
        .iter()
        .partition(|claimed| failed.contains(claimed.object_key.as_str()));
    let mut tx = with.metadata.begin().await?;
    let keys: Vec<&str> = gone.iter().map(|claimed| claimed.object_key.as_str()).collect();
    tombstones::forget(&mut tx, &keys).await?;
    put_off(with, &mut tx, &left).await?;
    tx.commit().await?;
    staging::point("reaper.forgotten").await;
    for claimed in &gone {
        audit::reaped(claimed, with.now());
    }
    Ok(Reaped {
        claimed: claimed.len() as u64,
        deleted: gone.len() as u64,
        bytes: gone.iter().map(|claimed| claimed.size).sum(),
        errors: left.len() as u64,
    })
}

/// Claims objects. From here on nobody takes them for whole any more.
async fn set_out(with: &Distribution, limit: u32) -> Result<Vec<Claimed>, Error> {
    let mut tx = with.metadata.begin().await?;
    let due = if staging::mutated("not_before_ignored") {
        Micros::MAX
    } else {
        with.now()
    };
    let claimed = tombstones::claim(&mut tx, due, with.after(CLAIM), limit).await?;
    if staging::mutated("tombstone_before_object") {
        let keys: Vec<&str> = claimed.iter().map(|claimed| claimed.object_key.as_str()).collect();
        tombstones::forget(&mut tx, &keys).await?;
    }
    tx.commit().await?;
    Ok(claimed)
}

/// The keys of those that may still be there.
async fn delete(with: &Distribution, claimed: &[Claimed]) -> HashSet<String> {
    let dead = claimed.iter().map(|claimed| Dead {
        key: claimed.object_key.clone(),
        multipart_id: claimed.multipart_id.clone(),
    });
    let failed = with.blobs.delete_all(dead.collect()).await;
    for (key, error) in &failed {
        tracing::warn!(
            object_key = key,
            error = error as &dyn std::error::Error,
            "object not deleted"
        );
    }
    let left = failed.into_iter().map(|(key, _)| key);
    left.filter(|_| !staging::mutated("failed_deletion_forgotten"))
        .collect()
}

/// Those that failed equally often wait equally long.
async fn put_off(with: &Distribution, tx: &mut Tx, left: &[&Claimed]) -> Result<(), Error> {
    let mut by_attempts: BTreeMap<i64, Vec<&str>> = BTreeMap::new();
    for claimed in left {
        by_attempts
            .entry(claimed.attempts)
            .or_default()
            .push(&claimed.object_key);
    }
    for (attempts, keys) in by_attempts {
        let again = with.after(backoff(attempts, rand::random()));
        tombstones::postpone(tx, &keys, again).await?;
    }
    Ok(())
}
