//! "You need not upload this": the answer that a client with its blob relies on.
//!
//! The answer and the lease that keeps its word are one transaction, under a lock that a collector waits for or finds
//! taken. A blob that many clients ask for is promised once in a while, not once a client: whoever asks in the same
//! quarter of a lease is covered by the one that this process remembers. Whether the blob is there is asked every time.

use super::Distribution;
use super::error::Error;
use crate::clock::micros_of;
use crate::metadata::blobs::{self, Blob};
use crate::metadata::reviews::{self, Subject};
use crate::metadata::{Micros, Reader, RepositoryKey, Tx, leases, repositories};
use crate::staging;
use oci::{Digest, RepositoryName};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// For so many leases after its grace a blob that no manifest names is promised to those who ask.
const LEASES: u32 = 4;
/// Beyond so many they are forgotten: about ten mebibytes.
const MOST: usize = 100_000;

/// Promises that this process has made and that still stand, with their ends.
#[derive(Debug, Clone, Default)]
pub(super) struct Promises(Arc<Mutex<HashMap<(RepositoryKey, Digest), Micros>>>);

impl Promises {
    fn all(&self) -> MutexGuard<'_, HashMap<(RepositoryKey, Digest), Micros>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cover(&self, key: RepositoryKey, digest: Digest, end: Micros) -> bool {
        self.all().get(&(key, digest)).is_some_and(|stands| *stands >= end)
    }

    fn made(&self, key: RepositoryKey, digest: Digest, end: Micros) {
        let mut all = self.all();
        if all.len() >= MOST {
            all.clear();
        }
        all.insert((key, digest), end);
    }
}

impl Distribution {
    /// The blob of a repository, for a client that will not upload it when it is there: it stays for the length of a
    /// lease at least.
    ///
    /// # Errors
    /// `NameUnknown`, `BlobUnknown`, `BlobCorrupt`.
    pub async fn promised_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Arc<Blob>, Error> {
        let end = self.lease_end();
        let linked = self.linked(repository, digest).await?;
        if self.promises.cover(linked.repository, *digest, end) {
            return Ok(linked.blob);
        }
        staging::point("promise.found").await;
        if staging::mutated("existence_cached") {
            return Ok(linked.blob);
        }
        self.promise(repository, digest, end).await
    }

    /// A refusal holds the link no longer: the collector would find it in use and come back later.
    async fn promise(&self, repository: &RepositoryName, digest: &Digest, end: Micros) -> Result<Arc<Blob>, Error> {
        let mut tx = self.metadata.begin().await?;
        let kept = self.keep_promised(&mut tx, repository, digest, end).await;
        let (blob, key) = match kept {
            Ok(kept) => kept,
            Err(refused) => {
                tx.roll_back().await;
                return Err(refused);
            }
        };
        tx.commit().await?;
        self.promises.made(key, *digest, end);
        Ok(Arc::new(blob))
    }

    async fn keep_promised(
        &self,
        tx: &mut Tx,
        repository: &RepositoryName,
        digest: &Digest,
        end: Micros,
    ) -> Result<(Blob, RepositoryKey), Error> {
        let kept = if staging::mutated("promise_not_locked") {
            let linked = self.linked(repository, digest).await?;
            Some(((*linked.blob).clone(), linked.repository))
        } else {
            blobs::keep_linked(tx, repository, digest).await?
        };
        let Some((blob, key)) = kept else {
            return Err(unknown(tx, repository, digest).await);
        };
        if blob.corrupt {
            return Err(Error::BlobCorrupt(*digest));
        }
        if self.is_given_up(tx, key, digest).await? {
            return Err(Error::BlobUnknown(*digest));
        }
        staging::point("promise.kept").await;
        if !staging::mutated("promise_not_recorded") {
            leases::promise(tx, key, digest, end).await?;
        }
        Ok((blob, key))
    }

    /// True when a blob has waited for its manifest for so long that whoever wants it should upload it: a program that
    /// asks again and again whether the blob is gone must not be what keeps it.
    async fn is_given_up(&self, tx: &mut Tx, key: RepositoryKey, digest: &Digest) -> Result<bool, Error> {
        let Some(since) = reviews::asked_at(tx, Subject::BlobLink, key, digest).await? else {
            return Ok(false);
        };
        let (delays, lease) = (&self.limits.delays, self.limits.lease);
        let grace = delays.blob_upload.max(delays.manifest_delete);
        let until = since.saturating_add(micros_of(grace.saturating_add(lease * LEASES)));
        Ok(until <= self.now() && !blobs::is_named(tx, key, digest).await?)
    }
}

/// Why there is no such blob.
pub(super) async fn unknown(reader: &mut Reader, repository: &RepositoryName, digest: &Digest) -> Error {
    match repositories::find(reader, repository).await {
        Ok(Some(_)) => Error::BlobUnknown(*digest),
        Ok(None) => Error::NameUnknown,
        Err(failed) => failed.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_covers_those_who_ask_until_a_longer_one_is_due() {
        let promises = Promises::default();
        let (key, digest) = (RepositoryKey::NONE, Digest::of(oci::Algorithm::Sha256, b"x"));

        promises.made(key, digest, 100);

        assert!(promises.cover(key, digest, 100));
        assert!(!promises.cover(key, digest, 101), "a new quarter of a lease");
        assert!(!promises.cover(key, Digest::of(oci::Algorithm::Sha256, b"y"), 100));
    }

    #[test]
    fn the_number_of_remembered_promises_is_bounded() {
        let promises = Promises::default();
        let digest = Digest::of(oci::Algorithm::Sha256, b"x");
        for repository in (0_i64..).take(MOST + 1) {
            let key = RepositoryKey {
                namespace: 1,
                repository,
            };
            promises.made(key, digest, 1);
        }

        assert!(promises.all().len() <= MOST);
    }
}
