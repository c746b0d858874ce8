//! Mounting a blob from another repository: distribution-spec end-11.

use super::error::Error;
use super::{Distribution, due, retried};
use crate::metadata::reviews::{self, Reason, Subject};
use crate::metadata::{blobs, leases, manifests, repositories};
use oci::{Digest, RepositoryName};

/// Where the blob to mount may come from.
#[derive(Debug, Clone, Copy)]
pub enum MountSource<'a> {
    /// The repository that the client named.
    Repository(&'a RepositoryName),
    /// Any: the client named none.
    Anywhere,
}

impl Distribution {
    /// Gives a repository a blob of another one. `Ok(false)`: it cannot be done, the client should upload.
    ///
    /// # Errors
    /// `Database`.
    pub async fn mount(&self, into: &RepositoryName, digest: Digest, from: MountSource<'_>) -> Result<bool, Error> {
        let mut reader = self.metadata.read().await?;
        let found = match from {
            MountSource::Repository(source) => blobs::find_linked(&mut reader, source, &digest).await?,
            MountSource::Anywhere => blobs::find_mountable(&mut reader, &digest).await?,
        };
        drop(reader);
        if found.is_none() {
            return Ok(false);
        }
        retried(|| self.link(into, digest)).await
    }

    async fn link(&self, into: &RepositoryName, digest: Digest) -> Result<bool, Error> {
        let now = self.now();
        let mut tx = self.metadata.begin().await?;
        let key = repositories::ensure(&mut tx, into, now).await?;
        // A collector may have been faster; with this lock it is not any more.
        if blobs::keep(&mut tx, &digest).await?.is_none() {
            return Ok(false);
        }
        blobs::link(&mut tx, key, &digest, now).await?;
        manifests::resolve_missing_blob(&mut tx, key, &digest).await?;
        leases::promise(&mut tx, key, &digest, self.lease_end()).await?;
        reviews::add(
            &mut tx,
            Subject::BlobLink,
            key,
            &[digest],
            due(self, Reason::BlobUpload),
        )
        .await?;
        tx.commit().await?;
        Ok(true)
    }
}
