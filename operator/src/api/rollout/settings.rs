//! What a user may say about a roll-out.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::analysis::AnalysisSettings;
use super::lock::LockSettings;
use crate::api::span::Span;

/// How a new version, image or configuration reaches the pods.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutSettings {
    /// `Canary`: a few pods first, measured before the others follow. `Direct`: all pods at once, one after the other.
    /// Absent: `Canary` where replicas share a database and a bucket, `Direct` on a volume, which has room for one pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,

    /// The pods that get the new version first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanarySettings>,

    /// How the canary is judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<AnalysisSettings>,

    /// Where a person is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalSettings>,

    /// When a roll-out must wait for others, or for the time of day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<LockSettings>,

    /// What happens to a version that turns out bad.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackSettings>,

    /// How long new pods may take to serve, in each phase that starts pods. Absent: `30m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_deadline: Option<Span>,

    /// Stand still at the next safe point. A migration that runs and a replacement of pods that has begun are finished.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,

    /// How many finished `RegistryRollout` objects are kept. Absent: 20.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 200))]
    pub history_limit: Option<i32>,
}

/// How the pods are replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Strategy {
    /// A few pods first.
    #[default]
    Canary,
    /// All pods.
    Direct,
}

/// The pods that get the new version first.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.percent) && has(self.replicas))")
        .message("percent and replicas both say how many pods the canary has: keep one of them"),
    validation = Rule::new("!has(self.steps) || self.steps.all(i, self.steps.exists_one(j, j == i))")
        .message("each step sends more requests to the canary than the one before: remove the step that is there twice"),
    validation = Rule::new("!has(self.steps) || self.steps.isSorted()")
        .message("each step sends more requests to the canary than the one before: put the steps in rising order")
)]
pub struct CanarySettings {
    /// Pods of the canary in percent of the others, rounded, at least one. Absent: 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 50))]
    pub percent: Option<i32>,

    /// Pods of the canary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 50))]
    pub replicas: Option<i32>,

    /// Share of the requests, in percent, that the canary gets in one step after the other; each step is measured.
    /// Without a Gateway the share follows from the number of pods, and each step has as many as it needs.
    /// Absent: one step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), inner(range(min = 1, max = 100)))]
    pub steps: Vec<i32>,

    /// How long each step is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bake: Option<Bake>,
}

/// How long a canary is measured.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.min) && has(self.max)) || self.min.contains('d') || self.max.contains('d') || duration(self.min) <= duration(self.max)")
        .message("bake.min is longer than bake.max: raise max or lower min")
)]
pub struct Bake {
    /// How long at least. Absent: `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Span>,

    /// How long at most: a canary that could not be shown to be good by then is not promoted by itself. Absent: `60m`,
    /// or `min` where that is longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Span>,
}

/// Where a person is asked.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalSettings {
    /// Before which steps: `Canary`, `Main`, `PostMigrations`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub before: Vec<ApprovalStep>,

    /// How long to wait for an answer before the canary is taken away. Absent: `24h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,

    /// How many people must approve. Absent: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 5))]
    pub min_approvers: Option<i32>,

    /// Whoever asked for the version may not approve it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub four_eyes: bool,
}

/// A step that may need a person's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ApprovalStep {
    /// Starting the canary.
    Canary,
    /// Replacing every pod.
    Main,
    /// Migrations that end the way back.
    PostMigrations,
}

impl ApprovalStep {
    /// The word in the spec.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Canary => "Canary",
            Self::Main => "Main",
            Self::PostMigrations => "PostMigrations",
        }
    }
}

/// What happens to a version that turns out bad.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RollbackSettings {
    /// `Auto`: the old version comes back. `Manual`: the roll-out stands still, the canary keeps its share, and a
    /// person decides. `Never`: as `Manual`, and `abort` is refused once every pod is being replaced.
    #[serde(default)]
    pub mode: RollbackMode,
}

/// Who decides that the old version comes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RollbackMode {
    /// The operator.
    #[default]
    Auto,
    /// A person.
    Manual,
    /// Nobody.
    Never,
}

/// Somebody who needs at least a version of this registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Requirement {
    /// Who needs it.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")
    )]
    pub consumer: String,

    /// The lowest version that they work with. No roll-out and no way back goes below it.
    #[schemars(
        length(min = 5, max = 64),
        regex(pattern = r"^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$")
    )]
    pub min_version: String,
}
