//! The bytes: the only module with `object_store`.
//!
//! Guarantees: what [`BlobStore::append`] returned is durable (local files and their folders are fsynced); an object is
//! readable under its key only with the bytes that hashed to the digest it was finished with; a read gives exactly the
//! bytes asked for or fails. Deleting what is not there succeeds.
//!
//! It must not know repositories, rows or HTTP. Callers name keys in a row before they write to them.

mod append;
mod error;
mod filesystem;
pub mod keys;
mod multipart;
mod read;

pub use append::{Appended, ClaimError, End, Position, WriteClaim};
pub use error::{AppendError, Error, Mismatch};
pub use read::BlobBody;

use filesystem::Filesystem;
use multipart::Multipart;
use object_store::aws::AmazonS3Builder;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt, RetryConfig};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest silence before and in the middle of an answer. It runs while a part is being sent, so it is what a part may
/// take; there is no limit on the whole of an answer.
const READ_TIMEOUT: Duration = Duration::from_mins(5);
/// A request that fails is repeated for so long, then the client is told to come back.
const RETRY_TIMEOUT: Duration = Duration::from_secs(20);
const RETRIES: usize = 5;

/// Where the bytes are.
#[derive(Debug, Clone)]
pub enum Target {
    /// Files under a folder.
    Filesystem(PathBuf),
    /// A bucket of S3 or of a server that speaks its protocol.
    S3(S3Options),
}

/// How to reach a bucket.
#[derive(Clone, Default)]
pub struct S3Options {
    /// Its name.
    pub bucket: String,
    /// Its region.
    pub region: String,
    /// The server's URL, where it is not Amazon's.
    pub endpoint: Option<String>,
    /// A prefix of every key.
    pub root_directory: String,
    /// `https://host/bucket/key` instead of `https://bucket.host/key`.
    pub path_style: bool,
    /// Absent: from the environment the program runs in (web identity, instance profile).
    pub access_key_id: Option<String>,
    /// Goes with the access key.
    pub secret_access_key: Option<String>,
}

impl std::fmt::Debug for S3Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Options")
            .field("bucket", &self.bucket)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// The store of blobs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BlobStore(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Filesystem(Arc<Filesystem>),
    Multipart(Arc<Multipart>),
}

impl BlobStore {
    /// Opens the store and proves that it can be used: a filesystem by writing to it, a bucket by asking for it.
    ///
    /// # Errors
    /// When the folder cannot be written, or the bucket is not there or not ours.
    pub async fn open(target: &Target) -> Result<Self, Error> {
        match target {
            Target::Filesystem(root) => {
                let filesystem = Filesystem::open(root).await?;
                Ok(Self(Kind::Filesystem(Arc::new(filesystem))))
            }
            Target::S3(options) => {
                let store = s3(options)?;
                let multipart = Multipart::open(Arc::new(store), &options.root_directory);
                multipart.probe().await?;
                Ok(Self(Kind::Multipart(Arc::new(multipart))))
            }
        }
    }

    /// `filesystem` or `s3`.
    pub fn kind(&self) -> &'static str {
        match &self.0 {
            Kind::Filesystem(_) => "filesystem",
            Kind::Multipart(_) => "s3",
        }
    }

    /// True when unfinished uploads leave objects beside the one that becomes the blob.
    pub fn writes_beside(&self) -> bool {
        matches!(self.0, Kind::Multipart(_))
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
        S: futures::Stream<Item = Result<bytes::Bytes, E>> + Send + Unpin,
        E: Send,
        C: WriteClaim,
    {
        match &self.0 {
            Kind::Filesystem(filesystem) => filesystem.append(at, body, end, claim).await,
            Kind::Multipart(multipart) => multipart.append(at, body, end, claim).await,
        }
    }

    /// The bytes `range` of an object that has `size` bytes.
    ///
    /// # Errors
    /// `NotFound` when the object is gone; the stream fails when it turns out shorter than it should be.
    pub async fn read(&self, key: &str, range: std::ops::Range<u64>) -> Result<BlobBody, Error> {
        match &self.0 {
            Kind::Filesystem(filesystem) => read::open(filesystem.objects(), &error::path_of("", key)?, range).await,
            Kind::Multipart(multipart) => read::open(multipart.objects(), &multipart.path(key)?, range).await,
        }
    }

    /// What an object really hashes to.
    ///
    /// # Errors
    /// As [`BlobStore::read`].
    pub async fn hash(&self, key: &str, size: u64, algorithm: oci::Algorithm) -> Result<oci::Digest, Error> {
        use futures::TryStreamExt;
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
        let (objects, path): (&dyn ObjectStore, _) = match &self.0 {
            Kind::Filesystem(filesystem) => (filesystem.objects(), error::path_of("", key)?),
            Kind::Multipart(multipart) => (multipart.objects(), multipart.path(key)?),
        };
        match objects.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(Error::of("delete", key, source)),
        }
    }

    /// Asks the store for a sign of life.
    ///
    /// # Errors
    /// `Store` when it does not answer.
    pub async fn probe(&self) -> Result<(), Error> {
        match &self.0 {
            Kind::Filesystem(filesystem) => filesystem.probe().await,
            Kind::Multipart(multipart) => multipart.probe().await,
        }
    }
}

fn s3(options: &S3Options) -> Result<object_store::aws::AmazonS3, Error> {
    // The default limit of 30 s counts the body: a large layer would be cut off.
    let client = ClientOptions::new()
        .with_timeout_disabled()
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_read_timeout(READ_TIMEOUT)
        .with_allow_http(
            options
                .endpoint
                .as_deref()
                .is_some_and(|url| url.starts_with("http://")),
        );
    let retry = RetryConfig {
        max_retries: RETRIES,
        retry_timeout: RETRY_TIMEOUT,
        ..RetryConfig::default()
    };
    let mut builder = AmazonS3Builder::new()
        .with_retry(retry)
        .with_bucket_name(&options.bucket)
        .with_region(&options.region)
        .with_virtual_hosted_style_request(!options.path_style)
        .with_client_options(client);
    if let Some(endpoint) = &options.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let (Some(id), Some(secret)) = (&options.access_key_id, &options.secret_access_key) {
        builder = builder.with_access_key_id(id).with_secret_access_key(secret);
    }
    builder
        .build()
        .map_err(|source| Error::of("open", &options.bucket, source))
}
