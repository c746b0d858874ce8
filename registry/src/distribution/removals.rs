//! Deleting: distribution-spec end-9 and end-10.
//!
//! What a deletion may have made garbage is put up for review in the transaction that deletes.

use super::error::{Error, Switch};
use super::{Distribution, due, retried};
use crate::metadata::removals::{self, Doomed};
use crate::metadata::reviews::{self, Reason, Subject};
use crate::metadata::{RepositoryKey, Tx, blobs, repositories, tags};
use oci::{Digest, Reference, RepositoryName, Tag};

impl Distribution {
    /// Removes a tag, or a manifest with all its tags. On return nobody sees it any more.
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
        let mut tx = self.metadata.begin().await?;
        let key = repositories::find(&mut tx, repository)
            .await?
            .ok_or(Error::NameUnknown)?;
        let manifest = tags::remove(&mut tx, key, tag)
            .await?
            .ok_or_else(|| Error::ManifestUnknown(tag.to_string()))?;
        let untagged = due(self, Reason::TagDelete);
        reviews::add(&mut tx, Subject::Manifest, key, &[manifest], untagged).await?;
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
        removals::untag(&mut tx, key, digest).await?;
        removals::leave_parents(&mut tx, key, digest, &doomed).await?;
        removals::forget_missing(&mut tx, key, digest).await?;
        self.review_neighbours(&mut tx, key, digest, &doomed).await?;
        removals::remove(&mut tx, key, digest).await?;
        Ok(tx.commit().await?)
    }

    /// Drops what the manifest refers to, and asks for a review of that and of what refers to it as its subject.
    async fn review_neighbours(
        &self,
        tx: &mut Tx,
        key: RepositoryKey,
        digest: &Digest,
        doomed: &Doomed,
    ) -> Result<(), Error> {
        let by_manifest = due(self, Reason::ManifestDelete);
        let blobs = distinct(removals::leave_blobs(tx, key, digest).await?);
        reviews::add(tx, Subject::BlobLink, key, &blobs, by_manifest).await?;
        let children = removals::leave_children(tx, key, digest).await?;
        let by_list = due(self, Reason::ManifestListDelete);
        reviews::add(tx, Subject::Manifest, key, &children, by_list).await?;
        let mut attached = removals::referrers(tx, key, digest).await?;
        attached.extend(doomed.subject);
        Ok(reviews::add(tx, Subject::Manifest, key, &distinct(attached), by_manifest).await?)
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
            } else {
                Error::BlobInUse(*digest)
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
