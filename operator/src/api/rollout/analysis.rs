//! What a user may say about how a canary is judged.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::database::CertificateRef;
use crate::api::span::Span;

/// How a canary is judged.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.skip) || !self.skip || (has(self.skipReason) && size(self.skipReason) >= 10)")
        .message("a roll-out that is not measured needs a reason that others can read later: set skipReason to at least 10 characters")
)]
pub struct AnalysisSettings {
    /// The Prometheus server that scrapes the pods. Absent: the operator asks the pods themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusSettings>,

    /// How often the canary is measured. Absent: `30s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Span>,

    /// Requests to the canary below which nothing is concluded. Absent: 200.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub min_samples: Option<i32>,

    /// How many requests may fail with a code of 500 or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_ratio: Option<ErrorRatio>,

    /// How fast requests must be, by class of route.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["class".into()]))]
    pub apdex: Vec<ApdexObjective>,

    /// What to do when the canary still cannot be judged at the end of the longest bake: `Pause` and ask a person,
    /// `Fail`, or `ProceedIfSynthetic`: go on when the operator's own pushes and pulls through the canary all succeeded
    /// and none of its pods restarted. The same is asked of the new pods, once all clients use them. Absent: `Pause`.
    #[serde(default)]
    pub on_no_data: OnNoData,

    /// Do not measure at all. Probes, migrations, locks and the floor stay.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skip: bool,

    /// Why nothing is measured; it is kept in the record of each roll-out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 10, max = 500))]
    pub skip_reason: Option<String>,
}

/// A Prometheus server, or one that speaks its query API.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrometheusSettings {
    /// URL of the server, without `/api/v1`.
    #[schemars(length(min = 8, max = 512), regex(pattern = r"^https?://[^/@]+(/.*)?$"))]
    pub url: String,

    /// Secret with the bearer token to send. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_token_ref: Option<TokenRef>,

    /// The certificate authority to trust. Absent: the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<CertificateRef>,

    /// How long an answer may take. Absent: `5s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
}

/// A token in a Secret in the namespace of the Registry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenRef {
    /// Name of the Secret, in the namespace of the Registry.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Key in the Secret under which the token is.
    #[serde(default = "TokenRef::default_key")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

impl TokenRef {
    fn default_key() -> String {
        "token".to_owned()
    }
}

/// How many requests may fail.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorRatio {
    /// The highest share of failed requests, between 0 and 1. Absent: 0.01.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0001, max = 0.5))]
    pub max: Option<f64>,

    /// How much higher than the old version's the share may be. Absent: 0.005.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 0.5))]
    pub allowed_increase: Option<f64>,
}

/// How fast requests of one class must be.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.satisfied < self.tolerated")
        .message("satisfied is the shorter time and tolerated the longer one: lower satisfied or raise tolerated")
)]
pub struct ApdexObjective {
    /// Class of route.
    pub class: RouteClass,

    /// Seconds within which an answer satisfies: one of the histogram's bounds, 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5
    /// 5 10 25 60.
    #[schemars(range(min = 0.005, max = 60.0))]
    pub satisfied: f64,

    /// Seconds within which an answer counts half: one of the histogram's bounds.
    #[schemars(range(min = 0.005, max = 60.0))]
    pub tolerated: f64,

    /// The lowest score, between 0 and 1.
    #[schemars(range(min = 0.01, max = 0.9999))]
    pub min: f64,
}

/// A class of routes, each with speeds of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RouteClass {
    /// Manifests and lists of tags and repositories, read.
    ManifestRead,
    /// Manifests, pushed and deleted.
    ManifestWrite,
    /// Blobs, read.
    BlobRead,
    /// Blobs, pushed.
    BlobUpload,
    /// Everything else.
    Admin,
}

impl RouteClass {
    /// Every class.
    pub const ALL: [Self; 5] = [
        Self::ManifestRead,
        Self::ManifestWrite,
        Self::BlobRead,
        Self::BlobUpload,
        Self::Admin,
    ];

    /// The word in the spec and in the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ManifestRead => "manifest_read",
            Self::ManifestWrite => "manifest_write",
            Self::BlobRead => "blob_read",
            Self::BlobUpload => "blob_upload",
            Self::Admin => "admin",
        }
    }
}

/// What to do with a canary that cannot be judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnNoData {
    /// Ask a person.
    #[default]
    Pause,
    /// Go back.
    Fail,
    /// Go on when the operator's own requests succeeded.
    ProceedIfSynthetic,
}
