//! Pulling: distribution-spec end-2 and end-3.

use super::Distribution;
use super::error::Error;
use super::promises::unknown;
use crate::blobs::{BlobBody, SMALL};
use crate::metadata::blobs::{self as blob_rows, Blob, Granted, Place};
use crate::metadata::manifests::{self, StoredManifest};
use crate::metadata::{self, Reader, RepositoryKey};
use bytes::Bytes;
use oci::{Digest, Reference, RepositoryName};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Of a second.
const MICROS: i64 = 1_000_000;

impl Distribution {
    /// The blob of a repository.
    ///
    /// # Errors
    /// `NameUnknown`, `BlobUnknown`, `BlobCorrupt`.
    pub async fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Arc<Blob>, Error> {
        let linked = self.linked(repository, digest).await?;
        Ok(Arc::clone(&linked.blob))
    }

    /// The blob, and the repository that has it.
    pub(super) async fn linked(&self, repository: &RepositoryName, digest: &Digest) -> Result<Granted, Error> {
        let asked = async {
            let mut reader = self.metadata.read().await?;
            match self.find_linked(&mut reader, repository, digest).await? {
                Some(linked) => Ok(linked),
                None => Err(unknown(&mut reader, repository, digest).await),
            }
        };
        let linked = self.metadata.linked_or((repository, digest), asked).await?;
        if linked.blob.corrupt {
            return Err(Error::BlobCorrupt(*digest));
        }
        Ok(linked)
    }

    /// The same, as the database says it; also of a corrupt one.
    pub(super) async fn find_linked(
        &self,
        reader: &mut Reader,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<Granted>, metadata::Error> {
        let mut key = self.metadata.key_hint(repository);
        let mut found = match key {
            Some(key) => blob_rows::find_linked(reader, (key, repository), digest).await?,
            None => None,
        };
        if found.is_none() {
            key = self.metadata.look_up(reader, repository).await?;
            if let Some(key) = key {
                found = blob_rows::find_linked(reader, (key, repository), digest).await?;
            }
        }
        Ok(key.zip(found).map(|(repository, blob)| Granted {
            repository,
            blob: Arc::new(blob),
        }))
    }

    /// All bytes of a blob, when they are so few that it is best to have them in memory; they are those of its digest.
    ///
    /// # Errors
    /// As [`Self::blob_bytes`], and when the object is damaged.
    pub async fn small_blob(&self, blob: &Blob) -> Result<Option<Bytes>, Error> {
        let read = match &blob.place {
            Place::Row(content) => return self.proved_row(blob, content).map(Some),
            Place::Object(key) if blob.size <= SMALL => self.blobs.read_small(key, blob.size, &blob.digest).await,
            Place::Object(_) => return Ok(None),
        };
        if let Err(failed) = &read {
            self.suspect(blob, failed);
        }
        Ok(Some(read?))
    }

    /// The bytes of a row, compared with the digest: it costs less than sending them.
    fn proved_row(&self, blob: &Blob, content: &Bytes) -> Result<Bytes, Error> {
        if Digest::of(blob.digest.algorithm(), content) == blob.digest {
            return Ok(content.clone());
        }
        self.suspect_row(blob);
        Err(Error::BlobCorrupt(blob.digest))
    }

    /// Some of a blob's bytes. When they are all of them, and have not been compared with the digest for a day, they are
    /// now: wrong ones do not come to their end.
    ///
    /// # Errors
    /// `Store` when the object is not there or the store fails.
    pub async fn blob_bytes(&self, blob: &Arc<Blob>, range: Range<u64>) -> Result<BlobBody, Error> {
        let key = match &blob.place {
            Place::Object(key) => key,
            Place::Row(content) => {
                let content = self.proved_row(blob, content)?;
                return Ok(BlobBody::of_bytes(part(&content, range)));
            }
        };
        let prove = range == (0..blob.size) && !self.blobs.is_proved(key);
        let opened = if prove {
            self.blobs.read_and_prove(key, blob.size, &blob.digest).await
        } else {
            self.blobs.read(key, range).await
        };
        if let Err(failed) = &opened {
            self.suspect(blob, failed);
        }
        let body = opened?;
        if !prove {
            return Ok(body);
        }
        let (distribution, blob) = (self.clone(), Arc::clone(blob));
        Ok(body.watched(move |failed| distribution.suspect(&blob, failed)))
    }

    /// A URL under which a client can read a blob without us for a while; `None` when only we can read it.
    ///
    /// # Errors
    /// `Store` when it cannot be signed.
    pub async fn blob_url(&self, blob: &Blob, lifetime: Duration) -> Result<Option<String>, Error> {
        let Some(key) = blob.place.object_key() else {
            return Ok(None);
        };
        let now = u64::try_from(self.now() / MICROS).unwrap_or_default();
        Ok(self.blobs.signed_url(key, now, lifetime).await?)
    }

    /// The manifest that a tag or digest names.
    ///
    /// # Errors
    /// `NameUnknown`, `ManifestUnknown`.
    pub async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Arc<StoredManifest>, Error> {
        let asked = self.ask_manifest(repository, reference);
        self.metadata.manifest_or((repository, reference), asked).await
    }

    async fn ask_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Arc<StoredManifest>, Error> {
        let mut reader = self.metadata.read().await?;
        if let Some(key) = self.metadata.key_hint(repository)
            && let Some(found) = named(&mut reader, (key, repository), reference).await?
        {
            return Ok(Arc::new(found));
        }
        let key = self.metadata.look_up(&mut reader, repository).await?;
        let key = key.ok_or(Error::NameUnknown)?;
        let found = named(&mut reader, (key, repository), reference).await?;
        found
            .map(Arc::new)
            .ok_or_else(|| Error::ManifestUnknown(reference.to_string()))
    }
}

/// Never shorter: the range is within the blob.
fn part(bytes: &Bytes, range: Range<u64>) -> Bytes {
    let place = |at: u64| usize::try_from(at).map_or(bytes.len(), |at| at.min(bytes.len()));
    bytes.slice(place(range.start)..place(range.end))
}

async fn named(
    reader: &mut Reader,
    of: (RepositoryKey, &RepositoryName),
    reference: &Reference,
) -> Result<Option<StoredManifest>, metadata::Error> {
    match reference {
        Reference::Tag(tag) => manifests::by_tag(reader, of, tag).await,
        Reference::Digest(digest) => manifests::by_digest(reader, of, digest).await,
    }
}
