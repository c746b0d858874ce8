//! Deleting whole repositories: hidden in one short transaction, then removed batch by batch.
//!
//! Whoever pushes to the name afterwards makes a repository of their own. Whoever began before it was hidden may finish
//! what they began, and nothing is removed until they have: so no row can come behind the last batch.

use super::error::Error;
use super::restore::cut;
use super::{Distribution, audit, due, retried};
use crate::clock::micros_of;
use crate::metadata::erasing::{self, Rows};
use crate::metadata::reviews::{self, Reason, Subject};
use crate::metadata::{RepositoryKey, Tx, repositories, repository_deletions};
use crate::staging;
use oci::RepositoryName;
use std::time::Duration;

pub use crate::metadata::repository_deletions::{Removed, RepositoryDeletion};

/// Rows that one transaction removes: few enough that nobody who waits for it notices.
const BATCH: u64 = 500;
/// How long it is remembered what was deleted.
const MEMORY: Duration = Duration::from_hours(30 * 24);

/// What one call of [`Distribution::erase_some`] came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Erased {
    /// No repository is being deleted.
    Nothing,
    /// Somebody else works on it.
    Held,
    /// Some rows; there are more.
    Some,
    /// The last rows of a repository.
    Last(RepositoryDeletion),
}

impl Distribution {
    /// Deletes a repository. On return nobody sees it any more; its rows go later, by [`Self::erase_some`].
    ///
    /// Repeated after a lost answer it gives the same deletion, unless somebody has pushed to the name meanwhile.
    ///
    /// # Errors
    /// `NameUnknown`.
    pub async fn delete_repository(&self, repository: &RepositoryName) -> Result<RepositoryDeletion, Error> {
        let deletion = retried(|| self.hide(repository)).await?;
        audit::repository("repository_hidden", &deletion);
        self.deletions.notify_one();
        Ok(deletion)
    }

    async fn hide(&self, repository: &RepositoryName) -> Result<RepositoryDeletion, Error> {
        let now = self.now();
        let mut tx = self.metadata.begin().await?;
        let Some(key) = repositories::hide(&mut tx, repository, now).await? else {
            let before = repository_deletions::newest(&mut tx, repository).await?;
            return before.ok_or(Error::NameUnknown);
        };
        let deletion = repository_deletions::begin(&mut tx, key, repository, now).await?;
        tx.commit().await?;
        Ok(deletion)
    }

    /// Waits until a repository is deleted by this process.
    pub async fn repository_deleted(&self) {
        self.deletions.notified().await;
    }

    /// The deletion of a repository by its number.
    ///
    /// # Errors
    /// `Database`.
    pub async fn repository_deletion(&self, number: i64) -> Result<Option<RepositoryDeletion>, Error> {
        let mut reader = self.metadata.read().await?;
        Ok(repository_deletions::find(&mut reader, number).await?)
    }

    /// A page of deletions, and whether more follow. `after` is the last number of the page before.
    ///
    /// # Errors
    /// `Database`.
    pub async fn repository_deletions(
        &self,
        after: i64,
        limit: Option<u64>,
    ) -> Result<(Vec<RepositoryDeletion>, bool), Error> {
        let mut reader = self.metadata.read().await?;
        let limit = self.entries(limit);
        let found = repository_deletions::page(&mut reader, after, limit.saturating_add(1)).await?;
        Ok(cut(found, limit))
    }

    /// Removes some rows of a deleted repository, in one transaction. Any number of replicas may do this at once, each
    /// works on another repository; after a crash the next call goes on.
    ///
    /// # Errors
    /// `Database`.
    pub async fn erase_some(&self) -> Result<Erased, Error> {
        retried(|| self.erase_batch()).await
    }

    /// Forgets deletions of repositories that were finished long ago.
    ///
    /// # Errors
    /// `Database`.
    pub async fn forget_deletions(&self) -> Result<u64, Error> {
        let mut tx = self.metadata.begin_statement().await?;
        let until = self.now().saturating_sub(micros_of(MEMORY));
        let forgotten = repository_deletions::forget(&mut tx, until).await?;
        tx.commit().await?;
        Ok(forgotten)
    }

    async fn erase_batch(&self) -> Result<Erased, Error> {
        let mut tx = self.metadata.begin().await?;
        let Some(mut deletion) = repository_deletions::take(&mut tx).await? else {
            return Ok(Erased::Nothing);
        };
        staging::point("eraser.taken").await;
        let mut batch = Batch::default();
        let finished = self.erase(&mut tx, deletion.key, &mut batch).await?;
        let (now, removed) = (self.now(), batch.removed);
        repository_deletions::record(&mut tx, deletion.key, removed, (now, finished)).await?;
        tx.commit().await?;
        if !finished {
            return Ok(if batch.rows == 0 { Erased::Held } else { Erased::Some });
        }
        deletion.finished_at = Some(now);
        deletion.removed.tags += removed.tags;
        deletion.removed.manifests += removed.manifests;
        deletion.removed.blobs += removed.blobs;
        audit::repository("repository_removed", &deletion);
        Ok(Erased::Last(deletion))
    }

    /// True when the repository is gone.
    async fn erase(&self, tx: &mut Tx, key: RepositoryKey, batch: &mut Batch) -> Result<bool, Error> {
        if !repositories::hold_hidden(tx, key).await? {
            return Ok(false);
        }
        for rows in Rows::IN_ORDER {
            let gone = erasing::remove(tx, rows, key, batch.room()).await?;
            batch.count(rows, gone);
            if batch.room() == 0 || erasing::any(tx, rows, key).await? {
                return Ok(false);
            }
        }
        let blobs = erasing::unlink(tx, key, batch.room()).await?;
        batch.rows += blobs.len() as u64;
        batch.removed.blobs += blobs.len() as u64;
        let unlinked = due(self, Reason::BlobUnlink);
        reviews::add(tx, Subject::Blob, RepositoryKey::NONE, &blobs, unlinked).await?;
        if erasing::any_link(tx, key).await? {
            return Ok(false);
        }
        repositories::remove(tx, key).await?;
        Ok(true)
    }
}

/// What one transaction has removed until now.
#[derive(Debug, Default)]
struct Batch {
    rows: u64,
    removed: Removed,
}

impl Batch {
    fn room(&self) -> u64 {
        BATCH.saturating_sub(self.rows)
    }

    fn count(&mut self, rows: Rows, gone: u64) {
        self.rows += gone;
        match rows {
            Rows::Tags => self.removed.tags += gone,
            Rows::Manifests => self.removed.manifests += gone,
            Rows::DeletedTags | Rows::Children | Rows::ManifestBlobs | Rows::Missing => {}
        }
    }
}
