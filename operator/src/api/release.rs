//! Versions that come from tags instead of the spec.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::image::SecretRef;
use super::span::Span;

/// Where versions come from.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// Tags that are looked at again and again: the newest that fits is rolled out, without a change of this spec.
    pub channel: Channel,
}

/// A repository whose tags are looked at.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Channel {
    /// Repository of the image, with its registry, for example `registry.example.com/berth/berth-registry`.
    #[schemars(
        length(min = 3, max = 255),
        regex(pattern = r"^[a-z0-9\[][a-zA-Z0-9.:\[\]-]*/[a-z0-9][a-z0-9._/-]*$")
    )]
    pub repository: String,

    /// Which versions are taken, such as `>=1.4.0, <2.0.0`, `~1.4` or `^1`; alternatives are separated by `||`. A version
    /// such as `1.4.0-rc.1` is only taken by a range that names one.
    #[schemars(length(min = 1, max = 256))]
    pub semver: String,

    /// Regular expression for tags; others are left alone. A group named `version` is the version, else the whole tag is,
    /// with or without a `v` before it. Example: `^(?P<version>[0-9.]+)-alpine$`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub tag_pattern: Option<String>,

    /// How often the tags are looked at. Absent: `5m`; at least `5s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Span>,

    /// Secret of type `kubernetes.io/dockerconfigjson` that may list and pull. The pods use it to pull, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_secret_ref: Option<SecretRef>,

    /// `true`: take the newest version that fits, also where it is older than what runs. Otherwise a source that has lost
    /// its newest tags changes nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_downgrade: bool,

    /// `true`: ask the registry without TLS. Otherwise that is only done for addresses inside the cluster
    /// (`….svc`, `….cluster.local`) and on the machine itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plain_http: bool,

    /// Take only what is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<Verify>,
}

/// Whose signature is asked for.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verify {
    /// A signature of cosign with a key.
    pub cosign: Cosign,
}

/// A key of cosign.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cosign {
    /// Where the public key is.
    pub key_ref: PublicKeyRef,
}

/// A public key in a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PublicKeyRef {
    /// Name of the Secret, in the namespace of the Registry.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Key in it, whose value is a PEM file of an ECDSA P-256 public key, as `cosign generate-key-pair` writes it.
    /// Absent: `cosign.pub`.
    #[serde(default = "cosign_pub")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

fn cosign_pub() -> String {
    "cosign.pub".to_owned()
}

/// What a channel came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedRelease {
    /// The version.
    #[schemars(length(max = 128))]
    pub version: String,
    /// The tag that was taken.
    #[schemars(length(max = 128))]
    pub tag: String,
    /// The repository that it was found in.
    #[schemars(length(max = 255))]
    pub repository: String,
    /// Digest of the image, which the pods run whatever becomes of the tag.
    #[schemars(length(max = 71))]
    pub digest: String,
    /// Whether its signature was checked, and with which key: the first digits of its hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub signed_by: Option<String>,
}
