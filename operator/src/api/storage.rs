//! Where a Registry keeps the images' bytes.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::image::SecretRef;

/// A volume or a bucket: exactly one of them. It cannot change later, because the images are there.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.filesystem) && has(self.s3))")
        .message("images are kept in one place: set storage.filesystem or storage.s3, not both")
)]
pub struct Storage {
    /// Keep images on a volume. One replica only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<FilesystemStorage>,

    /// Keep images in a bucket of Amazon S3 or a server that speaks its protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Storage>,
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

    /// Secret with the keys `access-key-id` and `secret-access-key`. Pods are replaced within five minutes of a change.
    pub credentials_ref: SecretRef,
}

impl S3Storage {
    fn default_region() -> String {
        "us-east-1".to_owned()
    }
}
