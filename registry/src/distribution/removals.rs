//! Deleting: distribution-spec end-9 and end-10.
//!
//! With a retention, what is deleted is hidden and can be restored (`restore`) until it is over (`retention`). What a
//! removal for good may have made garbage is put up for review in the same transaction.

use super::error::{Error, Switch};
use super::{Distribution, due, retried};
use crate::metadata::removals::{self, Doomed};
use crate::metadata::reviews::{self, Reason, Subject};
use crate::metadata::{RepositoryKey, Tx, blobs, deleted_manifests, deleted_tags, repositories, tags};
use crate::staging;
use oci::{Digest, Reference, RepositoryName, Tag};

impl Distribution {
    /// Deletes a tag, or a manifest with all its tags. On return nobody sees it any more.
    ///
    /// # Errors
    /// `SwitchedOff`, `NameUnknown`, `ManifestUnknown`.
    pub async fn delete_manifest(&self, repository: &RepositoryName, reference: &Reference) -> Result<(), Error> {
        let allowed = self.rules.deletion;
        match reference {
            Reference::Tag(_) if !allowed.tags => Err(Error::SwitchedOff(Switch::DeleteTag)),
            Reference::Digest(_) if !allowed.manifests => Err(Error::SwitchedOff(Switch::DeleteManifest)),
            Reference::Tag(tag) => retried(|| self.remove_tag(repository, tag)).await,
            Reference::Digest(digest) => retried(|| self.remove_manifest(repository, digest)).await,
        }
    }

    async fn remove_tag(&self, repository: &RepositoryName, tag: &Tag) -> Result<(), Error> {
        let unknown = || Error::ManifestUnknown(tag.to_string());
        let mut tx = self.metadata.begin().await?;
        let key = repositories::find(&mut tx, repository)
            .await?
            .ok_or(Error::NameUnknown)?;
        let manifest = tags::pointed(&mut tx, key, tag).await?.ok_or_else(unknown)?;
        // The manifest before its tag, as everybody does, and alone, as who deletes the manifest does: a row that refers to it is
        // written below, and must find nobody in between who holds it and waits for this tag.
        let state = deleted_manifests::state(&mut tx, key, &manifest).await?;
        let target = tags::target(&mut tx, key, tag).await?;
        if state != Some(None) || target != Some(manifest) {
            return Err(Error::Raced);
        }
        if self.keeps_deleted() {
            // It keeps the manifest; when it goes, the manifest is reviewed.
            deleted_tags::keep_one(&mut tx, key, (tag, &manifest), self.now()).await?;
            tags::remove(&mut tx, key, tag).await?;
        } else {
            tags::remove(&mut tx, key, tag).await?;
            let untagged = due(self, Reason::TagDelete);
            reviews::add(&mut tx, Subject::Manifest, key, &[manifest], untagged).await?;
        }
        Ok(tx.commit().await?)
    }

    /// An index that lists the manifest stays and is sparse from then on.
    async fn remove_manifest(&self, repository: &RepositoryName, digest: &Digest) -> Result<(), Error> {
        let mut tx = self.metadata.begin().await?;
        let key = repositories::find(&mut tx, repository)
            .await?
            .ok_or(Error::NameUnknown)?;
        let doomed = removals::hold(&mut tx, key, digest)
            .await?
            .ok_or_else(|| Error::ManifestUnknown(digest.to_string()))?;
        staging::point("removal.held").await;
        removals::hold_tags(&mut tx, key, digest).await?;
        if self.keeps_deleted() {
            let at = deleted_tags::keep_all(&mut tx, key, digest, self.now()).await?;
            removals::untag(&mut tx, key, digest).await?;
            deleted_manifests::mark(&mut tx, key, digest, at).await?;
        } else {
            removals::untag(&mut tx, key, digest).await?;
            self.take_away(&mut tx, key, digest, &doomed).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Removes a manifest that the transaction holds and no tag points to, with all that it refers to, and asks for a
    /// review of that and of what refers to it as its subject.
    pub(super) async fn take_away(
        &self,
        tx: &mut Tx,
        key: RepositoryKey,
        digest: &Digest,
        doomed: &Doomed,
    ) -> Result<(), Error> {
        deleted_tags::forget_all(tx, key, digest).await?;
        removals::leave_parents(tx, key, digest, doomed).await?;
        removals::forget_missing(tx, key, digest).await?;
        let blobs = distinct(removals::leave_blobs(tx, key, digest).await?);
        let mut manifests = removals::leave_children(tx, key, digest).await?;
        let reason = if manifests.is_empty() {
            Reason::ManifestDelete
        } else {
            Reason::ManifestListDelete
        };
        manifests.extend(removals::referrers(tx, key, digest).await?);
        manifests.extend(doomed.subject);
        removals::remove(tx, key, digest).await?;
        // Last, and all manifests at once: of two that add the same reviews in two orders, one would fail.
        reviews::add(tx, Subject::Manifest, key, &distinct(manifests), due(self, reason)).await?;
        let unused = due(self, Reason::ManifestDelete);
        Ok(reviews::add(tx, Subject::BlobLink, key, &blobs, unused).await?)
    }

    /// Takes a blob from a repository; other repositories keep it.
    ///
    /// # Errors
    /// `SwitchedOff`, `NameUnknown`, `BlobUnknown`, `BlobInUse`.
    pub async fn delete_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<(), Error> {
        if !self.rules.deletion.blobs {
            return Err(Error::SwitchedOff(Switch::DeleteBlob));
        }
        retried(|| self.unlink(repository, digest)).await
    }

    async fn unlink(&self, repository: &RepositoryName, digest: &Digest) -> Result<(), Error> {
        let mut tx = self.metadata.begin().await?;
        let key = repositories::find(&mut tx, repository)
            .await?
            .ok_or(Error::NameUnknown)?;
        if !blobs::unlink(&mut tx, key, digest).await? {
            let linked = blobs::linked_among(&mut tx, key, &[*digest]).await?;
            return Err(if linked.is_empty() {
                Error::BlobUnknown(*digest)
            } else if blobs::is_named(&mut tx, key, digest).await? {
                Error::BlobInUse(*digest)
            } else {
                Error::BlobKept(*digest)
            });
        }
        let unlinked = due(self, Reason::BlobUnlink);
        reviews::add(&mut tx, Subject::Blob, RepositoryKey::NONE, &[*digest], unlinked).await?;
        Ok(tx.commit().await?)
    }
}

fn distinct(mut digests: Vec<Digest>) -> Vec<Digest> {
    digests.sort_unstable();
    digests.dedup();
    digests
}
