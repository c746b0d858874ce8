//! The bytes: the only module with `object_store`.
//!
//! Guarantees: what [`BlobStore::append`] returned is durable (local files and their folders are fsynced); an object is
//! readable under its key only with the bytes that hashed to the digest it was finished with; a read gives exactly the
//! bytes asked for or fails. After a sync that failed nothing is called durable any more ([`BlobStore::syncs`]). Deleting
//! what is not there succeeds.
//!
//! It must not know repositories, rows or HTTP. Callers name keys in a row before they write to them.

mod append;
mod deletion;
mod error;
mod file;
mod filesystem;
mod folders;
pub mod keys;
mod list;
mod memory;
mod multipart;
mod parts;
mod proved;
mod providers;
mod read;
mod signing;
mod small;
mod upload;

pub use append::{Appended, ClaimError, End, Position, WriteClaim};
pub use deletion::Dead;
pub use error::{AppendError, Error, Mismatch};
pub use list::Listed;
pub use providers::{AzureOptions, BodyChecksum, GcsOptions, S3Options};
pub use read::BlobBody;
pub use signing::EdgeOptions;
pub use small::SMALL;

use crate::syncs::Syncs;
use bytes::Bytes;
use filesystem::Filesystem;
use futures::TryStreamExt;
use memory::Memory;
use multipart::Multipart;
use object_store::{ObjectStore, ObjectStoreExt};
use oci::Digest;
use parts::Plan;
use proved::{Expected, Proved};
use providers::Bucket;
use signing::Signing;
use small::Small;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Where the bytes are.
#[derive(Debug, Clone)]
pub enum Target {
    /// Files under a folder.
    Filesystem(PathBuf),
    /// A bucket of S3 or of a server that speaks its protocol.
    S3(S3Options),
    /// A container of Azure's Blob Storage.
    Azure(AzureOptions),
    /// A bucket of Google Cloud Storage.
    Gcs(GcsOptions),
}

/// How a store is used.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes that all uploads together may have in memory.
    pub upload_memory: u64,
    /// An edge in front of the bucket, whose URLs are signed in place of the store's.
    pub edge: Option<EdgeOptions>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            upload_memory: 256 * 1024 * 1024,
            edge: None,
        }
    }
}

/// The store of blobs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BlobStore {
    objects: Kind,
    name: &'static str,
    /// Absent: nobody but us can read the objects.
    signing: Option<Signing>,
    small: Arc<Small>,
    proved: Arc<Proved>,
}

#[derive(Debug, Clone)]
enum Kind {
    Filesystem(Arc<Filesystem>),
    Multipart(Arc<Multipart>),
}

/// A bucket that is not proved yet.
struct Reached<'t> {
    name: &'static str,
    bucket: Arc<dyn Bucket>,
    root: &'t str,
    plan: Plan,
    signing: Arc<dyn Bucket>,
}

impl BlobStore {
    /// Opens the store and proves that it can be used: a filesystem by writing to it, a bucket by asking for it.
    ///
    /// # Errors
    /// When the folder cannot be written, or the bucket is not there or not ours.
    pub async fn open(target: &Target, options: &Options) -> Result<Self, Error> {
        let reached = match target {
            Target::Filesystem(root) => {
                let filesystem = Filesystem::open(root).await?;
                return Ok(Self {
                    objects: Kind::Filesystem(Arc::new(filesystem)),
                    name: "filesystem",
                    signing: None,
                    small: Arc::default(),
                    proved: Arc::default(),
                });
            }
            Target::S3(s3) => reach_s3(s3)?,
            Target::Azure(azure) => reach("azure", providers::azure(azure)?, &azure.root_directory),
            Target::Gcs(gcs) => reach("gcs", providers::gcs(gcs)?, &gcs.root_directory),
        };
        let memory = Memory::new(options.upload_memory);
        let multipart = Multipart::open(reached.bucket, reached.root, reached.plan, memory);
        multipart.probe().await?;
        let signing = match &options.edge {
            Some(edge) => Signing::Edge(Box::new(edge.clone())),
            None => Signing::Store(reached.signing),
        };
        Ok(Self {
            objects: Kind::Multipart(Arc::new(multipart)),
            name: reached.name,
            signing: Some(signing),
            small: Arc::default(),
            proved: Arc::default(),
        })
    }

    /// What became of its syncs; `None` where another machine makes them.
    pub fn syncs(&self) -> Option<&Syncs> {
        match &self.objects {
            Kind::Filesystem(filesystem) => Some(filesystem.syncs()),
            Kind::Multipart(_) => None,
        }
    }

    /// `filesystem`, `s3`, `azure` or `gcs`.
    pub fn kind(&self) -> &'static str {
        self.name
    }

    /// A URL under which whoever has it can read an object for a while; `None` when only we can read it. `now` is Unix
    /// time in seconds.
    ///
    /// # Errors
    /// `Store` when the credentials cannot sign, or their service does not answer.
    pub async fn signed_url(&self, key: &str, now: u64, lifetime: Duration) -> Result<Option<String>, Error> {
        match (&self.signing, &self.objects) {
            (Some(signing), Kind::Multipart(multipart)) => {
                signing.url(&multipart.path(key)?, now, lifetime).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    /// A key that no object had before, for an upload that begins now (in Unix seconds).
    pub fn new_key(&self, seconds: i64) -> String {
        match self.objects {
            Kind::Filesystem(_) => keys::of_upload_at(Uuid::new_v4(), seconds),
            // Buckets spread their load by the beginning of a key.
            Kind::Multipart(_) => keys::of_upload(Uuid::new_v4()),
        }
    }

    /// True when objects are files on this machine.
    pub fn is_local(&self) -> bool {
        matches!(self.objects, Kind::Filesystem(_))
    }

    /// True when unfinished uploads leave objects beside the one that becomes the blob.
    pub fn writes_beside(&self) -> bool {
        matches!(self.objects, Kind::Multipart(_))
    }

    /// Appends `body` to an upload, makes it durable and says what is stored now.
    ///
    /// All or nothing: after an error the upload stands where it stood at `at`. Dropping the future is safe for the
    /// same reason; what it wrote is never looked at.
    ///
    /// # Errors
    /// `Body` when the client's stream failed, `DigestMismatch` when the end was announced with another digest,
    /// `Busy` when another writer still holds the local file, `Store` when the store failed.
    pub async fn append<S, E, C>(&self, at: Position, body: S, end: End, claim: &C) -> Result<Appended, AppendError<E>>
    where
        S: futures::Stream<Item = Result<Bytes, E>> + Send + Unpin,
        E: Send,
        C: WriteClaim,
    {
        match &self.objects {
            Kind::Filesystem(filesystem) => filesystem.append(at, body, end, claim).await,
            Kind::Multipart(multipart) => multipart.append(at, body, end, claim).await,
        }
    }

    /// The bytes `range` of an object that has `size` bytes.
    ///
    /// # Errors
    /// `NotFound` when the object is gone; the stream fails when it turns out shorter than it should be.
    pub async fn read(&self, key: &str, range: std::ops::Range<u64>) -> Result<BlobBody, Error> {
        match &self.objects {
            Kind::Filesystem(filesystem) => filesystem.read(key, range).await,
            Kind::Multipart(multipart) => read::open(multipart.objects(), &multipart.path(key)?, range).await,
        }
    }

    /// True when an object was read whole not long ago, and its bytes were those of its digest.
    pub fn is_proved(&self, key: &str) -> bool {
        self.proved.has(key, Instant::now())
    }

    /// All of an object. Its last bytes come only when all of them hash to its digest.
    ///
    /// # Errors
    /// As [`BlobStore::read`]; the stream fails with `Damaged` when its bytes are not those of the digest.
    pub async fn read_and_prove(&self, key: &str, size: u64, digest: &Digest) -> Result<BlobBody, Error> {
        let body = self.read(key, 0..size).await?;
        let expected = Expected {
            key: key.to_owned(),
            size,
            digest: *digest,
        };
        Ok(proved::compared(body, expected, Arc::clone(&self.proved)))
    }

    /// All of an object that has no more than [`SMALL`] bytes: those that hash to its digest, or an error.
    ///
    /// # Errors
    /// As [`BlobStore::read`]; `Damaged` when its bytes are not those of the digest.
    pub async fn read_small(&self, key: &str, size: u64, digest: &Digest) -> Result<Bytes, Error> {
        if let Some(object) = self.small.get(key) {
            return Ok(object);
        }
        let pieces: Vec<Bytes> = self.read(key, 0..size).await?.try_collect().await?;
        let object = Bytes::from(pieces.concat());
        let actual = Digest::of(digest.algorithm(), &object);
        if actual != *digest {
            let expected = *digest;
            return Err(Error::Damaged {
                key: key.to_owned(),
                mismatch: Box::new(Mismatch { expected, actual }),
            });
        }
        self.small.keep(key, object.clone());
        Ok(object)
    }

    /// What an object really hashes to.
    ///
    /// # Errors
    /// As [`BlobStore::read`].
    pub async fn hash(&self, key: &str, size: u64, algorithm: oci::Algorithm) -> Result<Digest, Error> {
        let mut digester = oci::Digester::new(algorithm);
        let mut body = self.read(key, 0..size).await?;
        while let Some(piece) = body.try_next().await? {
            digester.update(&piece);
        }
        Ok(digester.finish())
    }

    /// Deletes an object; it is no error when there is none.
    ///
    /// # Errors
    /// `Store` when the store failed; the object may or may not be there.
    pub async fn delete(&self, key: &str) -> Result<(), Error> {
        let (objects, path): (&dyn ObjectStore, _) = match &self.objects {
            Kind::Filesystem(filesystem) => (filesystem.objects(), error::path_of("", key)?),
            Kind::Multipart(multipart) => (multipart.objects(), multipart.path(key)?),
        };
        match objects.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(Error::of("delete", key, source)),
        }
    }

    /// Deletes many objects, and aborts their multipart uploads; it is no error when there are none. Gives those that may
    /// still be there, and why.
    pub async fn delete_all(&self, dead: Vec<Dead>) -> Vec<(String, Error)> {
        match &self.objects {
            Kind::Filesystem(filesystem) => filesystem.delete_all(dead).await,
            Kind::Multipart(multipart) => deletion::from_bucket(multipart, dead).await,
        }
    }

    /// Asks the store for a sign of life.
    ///
    /// # Errors
    /// `Store` when it does not answer.
    pub async fn probe(&self) -> Result<(), Error> {
        match &self.objects {
            Kind::Filesystem(filesystem) => filesystem.probe().await,
            Kind::Multipart(multipart) => multipart.probe().await,
        }
    }
}

fn reach<'t>(name: &'static str, bucket: Arc<dyn Bucket>, root: &'t str) -> Reached<'t> {
    Reached {
        name,
        signing: Arc::clone(&bucket),
        bucket,
        root,
        plan: Plan::Growing,
    }
}

fn reach_s3(options: &S3Options) -> Result<Reached<'_>, Error> {
    let bucket = providers::s3(options, options.endpoint.as_deref())?;
    let mut reached = reach("s3", bucket, &options.root_directory);
    if options.equal_parts {
        reached.plan = Plan::Equal;
    }
    if let Some(public) = &options.public_endpoint {
        reached.signing = providers::s3(options, Some(public))?;
    }
    Ok(reached)
}
