//! Clients of the object stores that others run: S3, Azure, GCS.

use super::error::Error;
use object_store::aws::{AmazonS3Builder, Checksum};
use object_store::azure::{MicrosoftAzureBuilder, split_sas};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::multipart::MultipartStore;
use object_store::signer::Signer;
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use std::fmt;
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

/// A store that can do everything that is asked of one.
pub(super) trait Bucket: ObjectStore + MultipartStore + Signer {}

impl<T: ObjectStore + MultipartStore + Signer> Bucket for T {}

/// How to reach a bucket of S3 or of a server that speaks its protocol.
#[derive(Clone, Default)]
pub struct S3Options {
    /// Its name.
    pub bucket: String,
    /// Its region.
    pub region: String,
    /// The server's URL, where it is not Amazon's.
    pub endpoint: Option<String>,
    /// The server's URL as clients reach it, for signed URLs; absent: `endpoint`.
    pub public_endpoint: Option<String>,
    /// A prefix of every key.
    pub root_directory: String,
    /// `https://host/bucket/key` instead of `https://bucket.host/key`.
    pub path_style: bool,
    /// Absent: from the environment the program runs in (web identity, instance profile).
    pub access_key_id: Option<String>,
    /// Goes with the access key.
    pub secret_access_key: Option<String>,
    /// What the store is to check each request's body with.
    pub checksum: BodyChecksum,
    /// All parts of an object but the last must be of one size.
    pub equal_parts: bool,
}

/// A sum that goes with the body of a request and that the store compares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BodyChecksum {
    /// The one that the request is signed with anyway.
    #[default]
    Sha256,
    /// A faster one, which newer servers know.
    Crc64Nvme,
    /// None, for servers that refuse the header.
    None,
}

/// How to reach a container of Azure's Blob Storage.
#[derive(Clone, Default)]
pub struct AzureOptions {
    /// Its name.
    pub container: String,
    /// The storage account.
    pub account: String,
    /// The service's URL, where it is not Azure's: for Azurite `http://host:port/account`.
    pub endpoint: Option<String>,
    /// A prefix of every key.
    pub root_directory: String,
    /// One of the account's keys.
    pub access_key: Option<String>,
    /// A shared access signature. Without it and a key: workload identity, managed identity, or what else the
    /// environment of the program names.
    pub sas_token: Option<String>,
}

/// How to reach a bucket of Google Cloud Storage.
#[derive(Clone, Default)]
pub struct GcsOptions {
    /// Its name.
    pub bucket: String,
    /// The service's URL, where it is not Google's.
    pub endpoint: Option<String>,
    /// A prefix of every key.
    pub root_directory: String,
    /// The service account's key file. Absent: application default credentials, or the instance's account.
    pub service_account_file: Option<PathBuf>,
}

impl fmt::Debug for S3Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Options")
            .field("bucket", &self.bucket)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for AzureOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AzureOptions")
            .field("container", &self.container)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for GcsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GcsOptions")
            .field("bucket", &self.bucket)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// The bucket as the registry reaches it, or as clients do.
pub(super) fn s3(options: &S3Options, endpoint: Option<&str>) -> Result<Arc<dyn Bucket>, Error> {
    let mut builder = match (&options.access_key_id, &options.secret_access_key) {
        (Some(id), Some(secret)) => AmazonS3Builder::new()
            .with_access_key_id(id)
            .with_secret_access_key(secret),
        _ => AmazonS3Builder::from_env(),
    };
    builder = builder
        .with_retry(retry())
        .with_bucket_name(&options.bucket)
        .with_region(&options.region)
        .with_virtual_hosted_style_request(!options.path_style)
        .with_client_options(client(endpoint));
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    match options.checksum {
        BodyChecksum::Sha256 => builder = builder.with_checksum_algorithm(Checksum::SHA256),
        BodyChecksum::Crc64Nvme => builder = builder.with_checksum_algorithm(Checksum::CRC64NVME),
        BodyChecksum::None => {}
    }
    let built = builder.build();
    Ok(Arc::new(
        built.map_err(|source| Error::of("open", &options.bucket, source))?,
    ))
}

pub(super) fn azure(options: &AzureOptions) -> Result<Arc<dyn Bucket>, Error> {
    let mut builder = if let Some(key) = &options.access_key {
        MicrosoftAzureBuilder::new().with_access_key(key)
    } else if let Some(token) = &options.sas_token {
        let pairs = split_sas(token).map_err(|source| Error::of("open", &options.container, source))?;
        MicrosoftAzureBuilder::new().with_sas_authorization(pairs)
    } else {
        MicrosoftAzureBuilder::from_env()
    };
    builder = builder
        .with_retry(retry())
        .with_account(&options.account)
        .with_container_name(&options.container)
        .with_client_options(client(options.endpoint.as_deref()));
    if let Some(endpoint) = &options.endpoint {
        builder = builder.with_endpoint(endpoint.clone());
    }
    let built = builder.build();
    Ok(Arc::new(
        built.map_err(|source| Error::of("open", &options.container, source))?,
    ))
}

pub(super) fn gcs(options: &GcsOptions) -> Result<Arc<dyn Bucket>, Error> {
    let mut builder = match &options.service_account_file {
        Some(file) => GoogleCloudStorageBuilder::new().with_service_account_path(file.display().to_string()),
        None => GoogleCloudStorageBuilder::from_env(),
    };
    builder = builder
        .with_retry(retry())
        .with_bucket_name(&options.bucket)
        .with_client_options(client(options.endpoint.as_deref()));
    if let Some(endpoint) = &options.endpoint {
        builder = builder.with_base_url(endpoint.trim_end_matches('/'));
    }
    let built = builder.build();
    Ok(Arc::new(
        built.map_err(|source| Error::of("open", &options.bucket, source))?,
    ))
}

fn client(endpoint: Option<&str>) -> ClientOptions {
    // The default limit of 30 s counts the body: a large layer would be cut off.
    ClientOptions::new()
        .with_timeout_disabled()
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_read_timeout(READ_TIMEOUT)
        .with_allow_http(endpoint.is_some_and(|url| url.starts_with("http://")))
}

fn retry() -> RetryConfig {
    RetryConfig {
        max_retries: RETRIES,
        retry_timeout: RETRY_TIMEOUT,
        ..RetryConfig::default()
    }
}
