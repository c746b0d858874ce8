//! Removing for good what clients deleted and nobody restored in time.

use super::error::Error;
use super::{Distribution, audit, due, retried};
use crate::metadata::reviews::{self, Reason, Subject};
use crate::metadata::{Micros, RepositoryKey, deleted_manifests, deleted_tags};
use crate::staging;
use oci::Digest;

/// Tags that one transaction forgets.
const TAGS: u32 = 500;
/// Manifests that are looked for at a time; each has a transaction of its own.
const MANIFESTS: u32 = 100;

/// What was removed for good.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expired {
    /// Deleted tags whose manifest was not deleted with them.
    pub tags: u64,
    /// Deleted manifests, each with the tags that were lost with it.
    pub manifests: u64,
}

impl Distribution {
    /// Removes what was deleted longer ago than the retention, batch by batch until nothing is left. What it kept is
    /// reviewed. Any number of replicas may do this at once; after a crash the next turn goes on.
    ///
    /// # Errors
    /// `Database`; what was done until then stays done.
    pub async fn expire_deleted(&self) -> Result<Expired, Error> {
        let until = self.retained_since();
        // Manifests first: their tags go with them.
        let manifests = self.expire_manifests(until).await?;
        let mut tags = 0;
        loop {
            let gone = retried(|| self.expire_tags(until)).await?;
            tags += gone;
            if gone < TAGS.into() {
                return Ok(Expired { tags, manifests });
            }
        }
    }

    async fn expire_manifests(&self, until: Micros) -> Result<u64, Error> {
        let mut removed = 0;
        loop {
            let mut reader = self.metadata.read().await?;
            let over = deleted_manifests::expired(&mut reader, until, MANIFESTS).await?;
            drop(reader);
            let before = removed;
            for (key, digest) in &over {
                removed += u64::from(retried(|| self.expire_manifest(*key, digest, until)).await?);
            }
            // Those that are left are held by others, who restore or remove them.
            if over.len() < MANIFESTS as usize || removed == before {
                return Ok(removed);
            }
        }
    }

    async fn expire_tags(&self, until: Micros) -> Result<u64, Error> {
        let mut tx = self.metadata.begin().await?;
        let mut over = deleted_tags::expired(&mut tx, until, TAGS).await?;
        over.sort_unstable_by_key(|tag| (tag.key, tag.manifest));
        let mut kept = Vec::new();
        for tags in over.chunk_by(|one, other| one.key == other.key) {
            let names: Vec<&str> = tags.iter().map(|tag| tag.name.as_str()).collect();
            // Deletions of the same names go that were not among those looked for: what they kept is reviewed, too.
            let mut manifests = deleted_tags::expire(&mut tx, tags[0].key, &names, until).await?;
            manifests.sort_unstable();
            manifests.dedup();
            kept.push((tags[0].key, manifests));
        }
        for (key, manifests) in &kept {
            let untagged = due(self, Reason::TagDelete);
            reviews::add(&mut tx, Subject::Manifest, *key, manifests, untagged).await?;
        }
        tx.commit().await?;
        Ok(over.len() as u64)
    }

    async fn expire_manifest(&self, key: RepositoryKey, digest: &Digest, until: Micros) -> Result<bool, Error> {
        let mut tx = self.metadata.begin().await?;
        let Some(doomed) = deleted_manifests::hold_expired(&mut tx, key, digest, until).await? else {
            return Ok(false);
        };
        staging::point("expiry.held").await;
        self.take_away(&mut tx, key, digest, &doomed).await?;
        tx.commit().await?;
        audit::expired(key, digest, until);
        Ok(true)
    }
}
