//! Where a Registry keeps the images' bytes.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::image::SecretRef;
use super::span::Span;

/// A volume or a bucket: one of them. It cannot change later, because the images are there.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.filesystem), has(self.s3), has(self.azure), has(self.gcs)].filter(given, given).size() <= 1")
        .message("images are kept in one place: set one of storage.filesystem, storage.s3, storage.azure and storage.gcs, not two"),
    validation = Rule::new("!has(self.redirect) || self.redirect.mode == 'Never' || has(self.s3) || has(self.azure) || has(self.gcs)")
        .message("clients cannot fetch from a volume themselves: remove storage.redirect, or set storage.s3, storage.azure or storage.gcs"),
    validation = Rule::new("!has(self.redirect) || self.redirect.mode == 'Never' || has(self.redirect.cdn) || !has(self.azure) || !has(self.azure.sasTokenRef)")
        .message("a shared access signature cannot sign URLs for clients: use storage.azure.accessKeyRef or an identity, set storage.redirect.cdn, or remove storage.redirect")
)]
pub struct Storage {
    /// Keep images on a volume. One replica only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<FilesystemStorage>,

    /// Keep images in a bucket of Amazon S3 or a server that speaks its protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Storage>,

    /// Keep images in a container of Azure's Blob Storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azure: Option<AzureStorage>,

    /// Keep images in a bucket of Google Cloud Storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gcs: Option<GcsStorage>,

    /// Send clients to the bucket, or to a CDN before it, for the bytes of layers. Absent: the pods serve them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect: Option<Redirect>,

    /// Blobs of at most this size are kept in the database and never come to the volume or bucket: `0KiB` (none) to `64KiB`.
    /// Absent: `16KiB`. A change concerns what is pushed from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 4, max = 5), regex(pattern = r"^([0-9]|[1-5][0-9]|6[0-4])KiB$"))]
    pub inline_size: Option<String>,
}

/// A volume: one that the operator claims, or an existing claim.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.claimName) && has(self.volumeClaim))")
        .message("the volume is either claimed for this Registry or already there: set volumeClaim or claimName, not both")
)]
pub struct FilesystemStorage {
    /// The claim that the operator makes, named after the Registry with `-data` behind it. It is kept when the
    /// Registry is deleted, and taken up again by a Registry of the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_claim: Option<VolumeClaim>,

    /// Name of an existing `PersistentVolumeClaim` in the namespace of the Registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub claim_name: Option<String>,
}

/// The volume to claim.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("quantity(self.size).compareTo(quantity(oldSelf.size)) >= 0")
        .message("a volume cannot shrink: keep the size or raise it"),
    validation = Rule::new("(has(self.storageClassName) ? self.storageClassName : '') == (has(oldSelf.storageClassName) ? oldSelf.storageClassName : '')")
        .message("the storage class of a claimed volume cannot change: create another Registry with the new class and copy the images to it")
)]
pub struct VolumeClaim {
    /// Size of the volume. It may grow where the storage class allows it, never shrink.
    #[serde(default = "VolumeClaim::default_size")]
    #[schemars(
        length(min = 1, max = 32),
        regex(pattern = r"^[1-9][0-9]*(\.[0-9]+)?(k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$")
    )]
    pub size: String,

    /// Storage class of the volume. Absent: the cluster's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
}

impl VolumeClaim {
    fn default_size() -> String {
        "10Gi".to_owned()
    }
}

impl Default for VolumeClaim {
    fn default() -> Self {
        Self {
            size: Self::default_size(),
            storage_class_name: None,
        }
    }
}

/// A bucket.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.bucket == oldSelf.bucket && self.region == oldSelf.region && self.rootDirectory == oldSelf.rootDirectory")
        .message("bucket, region and rootDirectory cannot change, because the images are there: create another Registry with the new bucket and copy the images to it")
)]
pub struct S3Storage {
    /// Name of the bucket. It must exist.
    #[schemars(length(min = 3, max = 63), regex(pattern = r"^[a-z0-9][a-z0-9._-]*[a-z0-9]$"))]
    pub bucket: String,

    /// Region of the bucket.
    #[serde(default = "S3Storage::default_region")]
    #[schemars(length(min = 1, max = 64))]
    pub region: String,

    /// URL of the server, for a server that is not Amazon's: `https://s3.example.com`. Absent: Amazon S3 in `region`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^https?://[^/@]+(/.*)?$"))]
    pub endpoint: Option<String>,

    /// Prefix of every object in the bucket, so that a bucket can be shared. Empty: the bucket's root.
    #[serde(default)]
    #[schemars(length(max = 512))]
    pub root_directory: String,

    /// Secret with the keys `access-key-id` and `secret-access-key`. Pods are replaced when it changes. Absent: pods have
    /// the identity of their service account (web identity) or of their node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_ref: Option<SecretRef>,

    /// URL of the server as clients reach it, for redirects. Absent: `endpoint`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^https?://[^/@]+(/.*)?$"))]
    pub public_endpoint: Option<String>,

    /// Whether the bucket is in the path of a URL (`https://host/bucket/key`) rather than in its host. Absent: it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,

    /// What the server checks each body with: `Sha256`, `Crc64Nvme`, or `Off` for servers that refuse the header.
    /// Absent: `Sha256`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<Checksum>,

    /// Upload objects in parts of one size, as Cloudflare R2 wants it. Absent: parts grow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equal_parts: Option<bool>,
}

impl S3Storage {
    fn default_region() -> String {
        "us-east-1".to_owned()
    }
}

/// What the server checks each body with: `Sha256`, `Crc64Nvme`, or `Off` for servers that refuse the header. Absent:
/// `Sha256`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Checksum {
    /// SHA-256.
    Sha256,
    /// CRC-64/NVME.
    Crc64Nvme,
    /// Nothing.
    Off,
}

impl Checksum {
    /// The word of the configuration file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Crc64Nvme => "crc64nvme",
            Self::Off => "none",
        }
    }
}

/// A container of Azure's Blob Storage.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.accessKeyRef) && has(self.sasTokenRef))")
        .message("one credential is enough: set storage.azure.accessKeyRef or storage.azure.sasTokenRef, not both"),
    validation = Rule::new("self.account == oldSelf.account && self.container == oldSelf.container && self.rootDirectory == oldSelf.rootDirectory")
        .message("account, container and rootDirectory cannot change, because the images are there: create another Registry with the new container and copy the images to it")
)]
pub struct AzureStorage {
    /// Name of the storage account.
    #[schemars(length(min = 3, max = 24), regex(pattern = r"^[a-z0-9]+$"))]
    pub account: String,

    /// Name of the container. It must exist.
    #[schemars(length(min = 3, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub container: String,

    /// URL of the service. Absent: Azure's, for the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^https?://[^/@]+(/.*)?$"))]
    pub endpoint: Option<String>,

    /// Prefix of every object in the container, so that a container can be shared. Empty: its root.
    #[serde(default)]
    #[schemars(length(max = 512))]
    pub root_directory: String,

    /// Secret with a key of the account under `access-key`. Absent, and `sasTokenRef` too: pods have the identity of
    /// their service account (workload identity) or of their node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_ref: Option<SecretRef>,

    /// Secret with a shared access signature for the container under `sas-token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sas_token_ref: Option<SecretRef>,
}

/// A bucket of Google Cloud Storage.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.bucket == oldSelf.bucket && self.rootDirectory == oldSelf.rootDirectory")
        .message("bucket and rootDirectory cannot change, because the images are there: create another Registry with the new bucket and copy the images to it")
)]
pub struct GcsStorage {
    /// Name of the bucket. It must exist.
    #[schemars(length(min = 3, max = 222), regex(pattern = r"^[a-z0-9][a-z0-9._-]*[a-z0-9]$"))]
    pub bucket: String,

    /// URL of the service. Absent: Google's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^https?://[^/@]+(/.*)?$"))]
    pub endpoint: Option<String>,

    /// Prefix of every object in the bucket, so that a bucket can be shared. Empty: the bucket's root.
    #[serde(default)]
    #[schemars(length(max = 512))]
    pub root_directory: String,

    /// Secret with the key file of a service account (JSON) under `key.json`. Absent: pods have the identity of their
    /// service account (workload identity) or of their node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_ref: Option<SecretRef>,
}

/// Which clients fetch layers from the bucket themselves.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.mode == 'Matching') == (has(self.userAgents) || has(self.networks))")
        .message("storage.redirect.mode Matching needs userAgents or networks, and the other modes have no use for them: set mode to Matching, or remove the lists"),
    validation = Rule::new("self.mode != 'Never' || (!has(self.lifetime) && !has(self.cdn))")
        .message("nobody is redirected in mode Never, so lifetime and cdn would have no effect: remove them, or set storage.redirect.mode to Always or Matching")
)]
pub struct Redirect {
    /// `Never`, `Always`, or `Matching`: clients that are in both of the lists that are given.
    #[serde(default)]
    pub mode: RedirectMode,

    /// Beginnings of `User-Agent`, such as `containerd/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 32),
        inner(length(min = 1, max = 128), regex(pattern = r"^[^,]+$"))
    )]
    pub user_agents: Option<Vec<String>>,

    /// Networks of clients, such as `10.0.0.0/8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::cidrs")]
    pub networks: Option<Vec<String>>,

    /// How long a client may begin to fetch from the URL that it was given, from `1m` to `12h`. Absent: `20m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<Span>,

    /// Send clients to a CDN or proxy before the bucket that checks signatures as Google Cloud CDN does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cdn: Option<Cdn>,
}

/// Which clients are redirected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RedirectMode {
    /// None.
    #[default]
    Never,
    /// Every one.
    Always,
    /// Those in the lists.
    Matching,
}

impl RedirectMode {
    /// The word of the configuration file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Always => "always",
            Self::Matching => "matching",
        }
    }
}

/// A CDN before the bucket.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cdn {
    /// Where the root of the bucket is, as clients reach it.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^https?://[^/@?#]+(/[^?#]*)?$"))]
    pub base_url: String,

    /// Name that the CDN has for the key.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9._-]+$"))]
    pub key_name: String,

    /// Secret with the CDN's key, in URL-safe base64, under `key`.
    pub key_ref: SecretRef,
}
