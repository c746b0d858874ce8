//! What the operator says about a Registry.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::release::ResolvedRelease;
use super::rollout::status::{HistoryEntry, PendingPost, Refused};
use super::rollout::{RollbackFloor, RolloutState};

/// What the operator has seen. Nobody else writes it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistryStatus {
    /// Generation of the spec that this status speaks about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// One word for all of it: `Ready`, `Progressing`, `Degraded`, `Suspended`, or the phase of the roll-out under way. For
    /// people; programs read the conditions.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub phase: String,

    /// The state in a few words, such as `Ready`, `Progressing` and `Degraded`, each with a reason, and a message that
    /// says what to do when something must be done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// The version that runs, as the pods themselves say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<RunningVersion>,

    /// The level of the database's schema, as the pods themselves say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<SchemaLevel>,

    /// Pods that exist.
    #[serde(default)]
    pub replicas: i32,

    /// Pods that serve.
    #[serde(default)]
    pub ready_replicas: i32,

    /// Label selector of the pods that serve clients, as `kubectl get pods -l` takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub selector: Option<String>,

    /// The volume that holds the images, where they are on one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<HeldVolume>,

    /// Where clients reach the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Endpoints>,

    /// What `release.channel` came to last. It stays while the source is away, and changes only with the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ResolvedRelease>,

    /// The newest roll-out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutState>,

    /// The lowest version that the Registry may go back to. Absent: nothing stands in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_floor: Option<RollbackFloor>,

    /// Last migrations of the version that runs, where `migrations.post.policy` leaves them to the next roll-out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_post: Option<PendingPost>,

    /// Versions that were taken back; `berth.dev/rollout-retry` with the name of the roll-out tries one again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub refused: Vec<Refused>,

    /// The last roll-outs that have ended, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub history: Vec<HistoryEntry>,
}

/// The version that runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunningVersion {
    /// Version of the pods that serve clients.
    #[schemars(length(max = 128))]
    pub main: String,
}

/// The level of the database's schema.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SchemaLevel {
    /// Newest applied migration.
    #[schemars(length(max = 64))]
    pub applied: String,

    /// Oldest migration that the running version can work with.
    #[schemars(length(max = 64))]
    pub required: String,

    /// Migrations that must be applied before the running version may serve.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), inner(length(max = 64)))]
    pub pending_pre: Vec<String>,

    /// Migrations that are applied after every pod runs the new version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), inner(length(max = 64)))]
    pub pending_post: Vec<String>,
}

/// The volume that holds the images.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeldVolume {
    /// Name of the claim.
    #[schemars(length(max = 253))]
    pub claim: String,

    /// Which claim of that name: another one is empty.
    #[schemars(length(max = 64))]
    pub uid: String,
}

/// Where clients reach the registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    /// URL of the registry: of the Ingress, else of the Gateway (taken to end TLS), else of the load balancer, else
    /// inside the cluster.
    #[schemars(length(max = 512))]
    pub url: String,

    /// What names of images begin with.
    #[serde(default)]
    #[schemars(length(max = 300))]
    pub host: String,
}
