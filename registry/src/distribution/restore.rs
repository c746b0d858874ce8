//! Restoring what clients deleted, and saying what can be restored.
//!
//! The order of locks is a push's: repository, manifest, tags by name. Whoever pushes the same manifest, points the same
//! tag or removes for good what is restored comes before or after, and each sees what the other did.

use super::error::Error;
use super::{Distribution, audit, due, retried};
use crate::clock::micros_of;
use crate::metadata::deleted_tags::{Deletion, Page};
use crate::metadata::reviews::{self, Reason, Subject};
use crate::metadata::{Micros, RepositoryKey, Tx, deleted_manifests, deleted_tags, manifests, repositories, tags};
use crate::staging;
use oci::{Digest, RepositoryName, Tag};
use std::time::Duration;

pub use crate::metadata::deleted_manifests::DeletedManifest;
pub use crate::metadata::deleted_tags::DeletedTag;

/// What is to be restored.
#[derive(Debug, Clone, Copy)]
pub enum Restorable<'a> {
    /// A tag, and its manifest where that was deleted too.
    Tag {
        /// Its name.
        tag: &'a Tag,
        /// The time of the deletion that is to be undone; absent: the newest.
        deleted_at: Option<Micros>,
    },
    /// A manifest, with the tags that were lost with it.
    Manifest(&'a Digest),
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The manifest, which is there now.
    pub manifest: Digest,
    /// Tags that are there again.
    pub tags: Vec<String>,
    /// Tags that were lost with the manifest, and whose names are taken by now; they can be restored when those are free.
    pub taken: Vec<String>,
}

/// Why something cannot be restored.
#[derive(Debug, thiserror::Error)]
pub enum NotRestorable {
    /// It was never deleted, or its rows are gone.
    #[error("no deletion of {what} is kept: {}; push it again", kept(*.retention))]
    NotKept {
        /// The tag or digest.
        what: String,
        /// How long deletions are kept.
        retention: Duration,
    },
    /// It is about to go.
    #[error("{what} was deleted too long ago: {}; push it again", kept(*.retention))]
    Over {
        /// The tag or digest.
        what: String,
        /// How long deletions are kept.
        retention: Duration,
    },
    /// It is there.
    #[error("manifest {0} is there and not deleted; to restore one of its tags, name the tag")]
    NotDeleted(Digest),
    /// The name points to something else by now, or to the same manifest.
    #[error("tag {tag} exists and points to {manifest}; delete it first, or leave it as it is")]
    Taken {
        /// The name.
        tag: String,
        /// What it points to.
        manifest: Digest,
    },
}

fn kept(retention: Duration) -> String {
    if retention.is_zero() {
        return "this registry keeps nothing that is deleted (deletion.retention is 0s)".to_owned();
    }
    let length = humantime::format_duration(retention);
    format!("what is deleted can be restored for {length} (deletion.retention)")
}

impl Distribution {
    /// True when what clients delete can be restored for a while.
    pub(super) fn keeps_deleted(&self) -> bool {
        !self.limits.deletion_retention.is_zero()
    }

    /// What was deleted at this time or before cannot be restored any more.
    pub(super) fn retained_since(&self) -> Micros {
        self.now().saturating_sub(micros_of(self.limits.deletion_retention))
    }

    /// When what was deleted at `deleted_at` cannot be restored any more.
    pub fn restorable_until(&self, deleted_at: Micros) -> Micros {
        deleted_at.saturating_add(micros_of(self.limits.deletion_retention))
    }

    /// Undoes a deletion. On return everybody sees again what was deleted.
    ///
    /// # Errors
    /// `NameUnknown`, `NotRestorable`.
    pub async fn restore(&self, repository: &RepositoryName, what: Restorable<'_>) -> Result<Restored, Error> {
        let restored = match what {
            Restorable::Tag { tag, deleted_at } => {
                retried(|| self.restore_tag(repository, tag, deleted_at.unwrap_or(Micros::MAX))).await
            }
            Restorable::Manifest(digest) => retried(|| self.restore_manifest(repository, digest)).await,
        }?;
        audit::restored(repository, &restored);
        Ok(restored)
    }

    async fn restore_tag(&self, repository: &RepositoryName, tag: &Tag, not_after: Micros) -> Result<Restored, Error> {
        let mut tx = self.metadata.begin().await?;
        let key = repositories::keep(&mut tx, repository)
            .await?
            .ok_or(Error::NameUnknown)?;
        if let Some(manifest) = tags::pointed(&mut tx, key, tag).await? {
            let tag = tag.to_string();
            return Err(NotRestorable::Taken { tag, manifest }.into());
        }
        let found = deleted_tags::find(&mut tx, key, tag, not_after).await?;
        let exact = |found: &DeletedTag| not_after == Micros::MAX || found.deleted_at == not_after;
        let found = found.filter(exact).ok_or_else(|| self.not_kept(tag))?;
        self.in_time(tag, found.deleted_at)?;
        let deletion = Deletion {
            key,
            manifest: &found.manifest,
            at: found.deleted_at,
        };
        let deleted = deleted_manifests::state(&mut tx, key, deletion.manifest).await?;
        if let Some(at) = deleted.ok_or(Error::Raced)? {
            self.in_time(deletion.manifest, at)?;
            revive(&mut tx, key, deletion.manifest).await?;
        }
        staging::point("restore.held").await;
        let tags = deleted_tags::restore(&mut tx, deletion, &[tag.as_str()]).await?;
        if tags.is_empty() {
            // Somebody was faster, with the name or with the deletion: the next attempt says which.
            return Err(Error::Raced);
        }
        repositories::published(&mut tx, key, self.now()).await?;
        tx.commit().await?;
        Ok(Restored {
            manifest: found.manifest,
            tags,
            taken: Vec::new(),
        })
    }

    async fn restore_manifest(&self, repository: &RepositoryName, digest: &Digest) -> Result<Restored, Error> {
        let mut tx = self.metadata.begin().await?;
        let key = repositories::keep(&mut tx, repository)
            .await?
            .ok_or(Error::NameUnknown)?;
        let deleted = deleted_manifests::state(&mut tx, key, digest).await?;
        let at = deleted
            .ok_or_else(|| self.not_kept(digest))?
            .ok_or(NotRestorable::NotDeleted(*digest))?;
        self.in_time(digest, at)?;
        let deletion = Deletion {
            key,
            manifest: digest,
            at,
        };
        staging::point("restore.held").await;
        let lost = deleted_tags::lost(&mut tx, deletion).await?;
        revive(&mut tx, key, digest).await?;
        let names: Vec<&str> = lost.iter().map(String::as_str).collect();
        let mut tags = deleted_tags::restore(&mut tx, deletion, &names).await?;
        tags.sort_unstable();
        if tags.is_empty() {
            // As after a push without a tag.
            let untagged = due(self, Reason::ManifestUpload);
            reviews::add(&mut tx, Subject::Manifest, key, &[*digest], untagged).await?;
        } else {
            repositories::published(&mut tx, key, self.now()).await?;
        }
        tx.commit().await?;
        let taken = lost.into_iter().filter(|name| tags.binary_search(name).is_err());
        Ok(Restored {
            manifest: *digest,
            taken: taken.collect(),
            tags,
        })
    }

    fn not_kept(&self, what: &impl ToString) -> Error {
        let (what, retention) = (what.to_string(), self.limits.deletion_retention);
        NotRestorable::NotKept { what, retention }.into()
    }

    fn in_time(&self, what: &impl ToString, deleted_at: Micros) -> Result<(), NotRestorable> {
        if deleted_at > self.retained_since() {
            return Ok(());
        }
        let (what, retention) = (what.to_string(), self.limits.deletion_retention);
        Err(NotRestorable::Over { what, retention })
    }

    /// A page of the tags of a repository that can be restored, by name and time, and whether more follow. `after` is
    /// the last of the page before.
    ///
    /// # Errors
    /// `NameUnknown`.
    pub async fn deleted_tags(
        &self,
        repository: &RepositoryName,
        after: Option<(&str, Micros)>,
        limit: Option<u64>,
    ) -> Result<(Vec<DeletedTag>, bool), Error> {
        let mut reader = self.metadata.read().await?;
        let key = repositories::find(&mut reader, repository)
            .await?
            .ok_or(Error::NameUnknown)?;
        let limit = self.entries(limit);
        let page = Page {
            after: after.unwrap_or(("", 0)),
            since: self.retained_since(),
            limit: limit.saturating_add(1),
        };
        Ok(cut(deleted_tags::page(&mut reader, key, page).await?, limit))
    }

    /// A page of the manifests of a repository that can be restored, by digest, and whether more follow.
    ///
    /// # Errors
    /// `NameUnknown`.
    pub async fn deleted_manifests(
        &self,
        repository: &RepositoryName,
        after: Option<&Digest>,
        limit: Option<u64>,
    ) -> Result<(Vec<DeletedManifest>, bool), Error> {
        let mut reader = self.metadata.read().await?;
        let key = repositories::find(&mut reader, repository)
            .await?
            .ok_or(Error::NameUnknown)?;
        let (limit, behind) = (self.entries(limit), (after, self.retained_since()));
        let found = deleted_manifests::page(&mut reader, key, behind, limit.saturating_add(1)).await?;
        Ok(cut(found, limit))
    }

    /// How many entries a page has: at least one, so that a list that is read page by page ends.
    pub(super) fn entries(&self, asked: Option<u64>) -> u32 {
        let asked = asked.unwrap_or_else(|| self.limits.page.into());
        u32::try_from(asked).unwrap_or(u32::MAX).clamp(1, self.limits.page)
    }
}

/// Shows a manifest again; indexes that were pushed meanwhile and missed it have it from now on.
async fn revive(tx: &mut Tx, key: RepositoryKey, manifest: &Digest) -> Result<(), Error> {
    deleted_manifests::revive(tx, key, manifest).await?;
    manifests::resolve_missing_child(tx, key, manifest).await?;
    Ok(())
}

/// Looks ahead by one, so that there is never an empty last page.
pub(super) fn cut<T>(mut found: Vec<T>, limit: u32) -> (Vec<T>, bool) {
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    (found, more)
}
