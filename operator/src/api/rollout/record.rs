//! The `RegistryRollout` kind: what one roll-out was for, and everything that was seen and decided.

#![expect(
    clippy::duplicated_attributes,
    reason = "each column of `kubectl get` has a name and a type"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::phase::Phase;
use super::settings::{ApprovalStep, Strategy};
use super::status::{
    Contract, DecisionTaken, Measurement, PendingPost, Refused, Revision, RollbackFloor, SchemaRead, Trigger, Weight,
    is_zero,
};

/// The record of one roll-out. The operator writes it; nobody else needs to.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "berth.dev",
    version = "v1alpha1",
    kind = "RegistryRollout",
    plural = "registryrollouts",
    shortname = "rro",
    namespaced,
    status = "RegistryRolloutStatus",
    derive = "PartialEq",
    doc = "RegistryRollout is the record of one roll-out of a Registry: what it was for, and all that was seen and decided.",
    printcolumn(
        name = "Registry",
        type_ = "string",
        json_path = ".spec.registryRef.name",
        description = "The Registry."
    ),
    printcolumn(
        name = "From",
        type_ = "string",
        json_path = ".spec.from.version",
        description = "The version before."
    ),
    printcolumn(
        name = "To",
        type_ = "string",
        json_path = ".spec.to.version",
        description = "The version that it is for."
    ),
    printcolumn(
        name = "Phase",
        type_ = "string",
        json_path = ".status.phase",
        description = "Where it is."
    ),
    printcolumn(
        name = "Weight",
        type_ = "integer",
        json_path = ".status.weight.actual",
        description = "The canary's share of the requests, in percent."
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.reason",
        description = "Why it is there."
    ),
    printcolumn(
        name = "By",
        type_ = "string",
        json_path = ".spec.requestedBy",
        priority = 1,
        description = "Who asked for it."
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self == oldSelf")
        .message("a roll-out that has begun is for one version: change spec.version of the Registry, and another one begins")
)]
pub struct RegistryRolloutSpec {
    /// The Registry.
    pub registry_ref: RegistryRef,

    /// What the pods ran before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Revision>,

    /// What the pods are to run.
    pub to: Revision,

    /// What began it.
    pub trigger: Trigger,

    /// Who asked for it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub requested_by: Option<String>,

    /// How often this target was tried, this time included.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub attempt: i32,

    /// Hash of the Registry's spec when it began.
    #[schemars(length(max = 32))]
    pub spec_hash: String,
}

/// A Registry in the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegistryRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Which one of that name.
    #[schemars(length(max = 64))]
    pub uid: String,
}

/// What was seen and decided.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(oldSelf.result) || (has(self.result) && self.result == oldSelf.result)")
        .message("the result of a roll-out does not change")
)]
pub struct RegistryRolloutStatus {
    /// Where it is.
    #[serde(default)]
    pub phase: Phase,

    /// Since when it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase_since: Option<Time>,

    /// With `Paused` and `Held`: the phase in which it stands still.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stands_in: Option<Phase>,

    /// With `AwaitingApproval`: the step that a person is asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asks: Option<ApprovalStep>,

    /// How the pods are replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,

    /// What the image says about the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<Contract>,

    /// What its migrations have done to the database, as they told when they ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<SchemaRead>,

    /// Last migrations of the version before, which this roll-out runs first, with that version's image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settles: Option<PendingPost>,

    /// Whether those are applied.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub settled: bool,

    /// The last command of each kind that was obeyed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(max = 700)))]
    pub commands: Vec<String>,

    /// Steps that people have agreed to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub approved: Vec<ApprovalStep>,

    /// Which step of the canary, counted from 0.
    #[serde(default)]
    pub step: i32,

    /// The canary's share of the requests, in percent.
    #[serde(default)]
    pub weight: Weight,

    /// How many measurements of the new pods were bad, in all steps and with good ones in between.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0))]
    pub bad_measurements: i32,

    /// Digest of the image, once a node has fetched it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub digest: Option<String>,

    /// How it ended: `Completed`, `RolledBack`, `Superseded` or `Failed`. It is set once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Phase>,

    /// A word for why it is where it is.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub reason: String,

    /// The same for people, with what to do.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub message: String,

    /// Where it has been, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub timeline: Vec<TimelineEntry>,

    /// What was measured when a verdict changed, oldest first; of very many the oldest are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub measurements: Vec<Measurement>,

    /// What was decided, by whom and why, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub decisions: Vec<DecisionTaken>,

    /// Its migration Jobs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub migrations: Vec<MigrationRun>,

    /// The lowest version that the Registry may go back to, as of this roll-out. A Registry whose status was lost takes it from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_floor: Option<RollbackFloor>,

    /// Last migrations that wait for the next version, as of this roll-out. A Registry whose status was lost takes them from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_post: Option<PendingPost>,

    /// Versions that were taken back and are not tried again by themselves, as of this roll-out. A Registry whose status was lost
    /// takes them from here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub refused: Vec<Refused>,

    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,

    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,

    /// Seconds between the first sign of failure and the old version serving alone again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_remediation_seconds: Option<i64>,
}

/// A phase, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimelineEntry {
    /// The phase.
    pub phase: Phase,
    /// Since when.
    pub at: Time,
    /// Why.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// The same for people.
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// A migration Job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MigrationRun {
    /// `preflight`, `pre` or `post`.
    #[schemars(length(max = 16))]
    pub phase: String,
    /// Name of the Job.
    #[schemars(length(max = 63))]
    pub job: String,
    /// Migrations that it applied, as it told; where it told nothing, those that were to be applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), inner(length(max = 64)))]
    pub applied: Vec<String>,
    /// Newest migration of the database after it, as it told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub level_after: Option<String>,
    /// Code with which it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
}
