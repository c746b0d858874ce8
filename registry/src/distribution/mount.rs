//! Mounting a blob from another repository: distribution-spec end-11.

use super::error::Error;
use super::{Distribution, due, retried};
use crate::metadata::blobs::{self, Blob};
use crate::metadata::reviews::{self, Reason, Subject};
use crate::metadata::{Reader, RepositoryKey, Tx, leases, manifests, repositories};
use crate::staging;
use oci::{Digest, RepositoryName};
use std::sync::Arc;

/// Where the blob to mount may come from.
#[derive(Debug, Clone, Copy)]
pub enum MountSource<'a> {
    /// The repository that the client named.
    Repository(&'a RepositoryName),
    /// Any: the client named none.
    Anywhere,
    /// None: the client named what cannot be a repository.
    Nowhere,
}

impl Distribution {
    /// Gives a repository a blob of another one. `Ok(false)`: it cannot be done, the client should upload.
    ///
    /// # Errors
    /// `Database`.
    pub async fn mount(&self, into: &RepositoryName, digest: Digest, from: MountSource<'_>) -> Result<bool, Error> {
        let mut reader = self.metadata.read().await?;
        let found = match from {
            MountSource::Repository(source) => self.source(&mut reader, source, &digest).await?,
            MountSource::Anywhere => blobs::find_mountable(&mut reader, &digest).await?.map(Arc::new),
            MountSource::Nowhere => None,
        };
        let found = match found {
            // What is there already needs no source.
            None => self.source(&mut reader, into, &digest).await?,
            found => found,
        };
        drop(reader);
        // A corrupt one is healed by an upload, not by a link more.
        if found.is_none_or(|blob| blob.corrupt) {
            return Ok(false);
        }
        staging::point("mount.found").await;
        retried(|| self.link(into, digest)).await
    }

    async fn source(
        &self,
        reader: &mut Reader,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<Arc<Blob>>, Error> {
        let linked = self.find_linked(reader, repository, digest).await?;
        Ok(linked.map(|linked| linked.blob))
    }

    async fn link(&self, into: &RepositoryName, digest: Digest) -> Result<bool, Error> {
        let mut tx = self.metadata.begin().await?;
        let key = repositories::ensure(&mut tx, into, self.now()).await?;
        // A collector may have been faster; with this lock it is not any more.
        let kept = blobs::keep(&mut tx, &digest).await?;
        if kept.is_none_or(|blob| blob.corrupt) && !staging::mutated("mount_not_rechecked") {
            return Ok(false);
        }
        staging::point("mount.kept").await;
        self.grant(&mut tx, key, digest).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Gives a repository the right to a blob that this transaction keeps from a collector: a link, whatever waited for
    /// it, a promise to the client, and a review for when nothing comes of it.
    pub(super) async fn grant(&self, tx: &mut Tx, key: RepositoryKey, digest: Digest) -> Result<(), Error> {
        if !blobs::link(tx, key, &digest, self.now()).await? {
            return Err(Error::Raced);
        }
        manifests::resolve_missing_blob(tx, key, &digest).await?;
        if !staging::mutated("upload_not_promised") {
            leases::promise(tx, key, &digest, self.lease_end()).await?;
        }
        let unused = due(self, Reason::BlobUpload);
        Ok(reviews::add(tx, Subject::BlobLink, key, &[digest], unused).await?)
    }
}
