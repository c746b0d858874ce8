//! Which image a Registry runs.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An image other than the operator's default.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Repository of the image, for example `registry.example.com/berth/berth-registry`. Absent: the operator's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[a-z0-9][a-zA-Z0-9._:/-]*$"))]
    pub repository: Option<String>,

    /// Tag of the image. Absent: `version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9._-]*$"))]
    pub tag: Option<String>,

    /// Digest of the image, `sha256:` and 64 hexadecimal digits. It decides, whatever the tag says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 71, max = 71), regex(pattern = r"^sha256:[a-f0-9]{64}$"))]
    pub digest: Option<String>,

    /// When a node fetches the image: `Always`, `IfNotPresent` or `Never`.
    #[serde(default)]
    pub pull_policy: PullPolicy,

    /// Secrets of type `kubernetes.io/dockerconfigjson` in the same namespace that may pull the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub pull_secrets: Vec<SecretRef>,
}

/// When a node fetches an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PullPolicy {
    /// Ask the image's registry at each start of a pod.
    Always,
    /// Fetch the image where the node does not have it yet.
    #[default]
    IfNotPresent,
    /// Use only what the node already has.
    Never,
}

impl PullPolicy {
    /// The word that a pod's container takes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// A Secret in the namespace of the Registry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Name of the Secret, in the namespace of the Registry.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}
