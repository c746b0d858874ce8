//! Where a roll-out is, in the status of its Registry.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::lock::LockHeld;
use super::phase::Phase;
use super::settings::{ApprovalStep, Strategy};

/// Where the newest roll-out is. All that was seen and decided is in its `RegistryRollout`.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutState {
    /// Name of the `RegistryRollout`; commands are addressed to it.
    #[schemars(length(max = 63))]
    pub id: String,

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

    /// How the pods are replaced.
    pub strategy: Strategy,

    /// Where it is.
    pub phase: Phase,

    /// Since when it is there.
    pub phase_since: Time,

    /// When it began.
    pub started_at: Time,

    /// With `Paused` and `Held`: the phase in which it stands still.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stands_in: Option<Phase>,

    /// With `AwaitingApproval`: the step that a person is asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asks: Option<ApprovalStep>,

    /// A word for why it is where it is.
    #[schemars(length(max = 64))]
    pub reason: String,

    /// The same for people, with what to do.
    #[schemars(length(max = 1024))]
    pub message: String,

    /// The Job that it waits for, or that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub job: Option<String>,

    /// A person wants it to stand still at the next safe point.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pause_next: bool,

    /// Which step of the canary, counted from 0.
    #[serde(default)]
    pub step: i32,

    /// The canary's share of the requests, in percent.
    #[serde(default)]
    pub weight: Weight,

    /// How often this target was tried.
    #[serde(default = "first")]
    pub attempt: i32,

    /// Since when this step is measured, without the time in which it stood still.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baking_since: Option<Time>,

    /// What the last measurement that changed something came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<LastVerdict>,

    /// Verdicts in a row.
    #[serde(default)]
    pub counters: Counters,

    /// How many measurements of the new pods were bad, in all steps and with good ones in between. Five take the version back.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0))]
    pub bad_measurements: i32,

    /// Since when not all of the pods serve that did when the phase began. They have `rollout.progressDeadline` to come back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacking_since: Option<Time>,

    /// While every pod runs the new version: how often the containers of pods had ended when the phase began, or more than six
    /// hours ago, by pod. What they end more often since speaks against the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 100))]
    pub ended_before: Option<BTreeMap<String, i32>>,

    /// Its locks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub locks: Vec<LockHeld>,

    /// What the image says about the database, as its preflight found it.
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

    /// The last command of each kind that was obeyed, as `name value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(max = 700)))]
    pub commands: Vec<String>,

    /// Steps that a person has agreed to or that need nobody, as `Step`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub approved: Vec<ApprovalStep>,

    /// The last decisions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub decisions: Vec<DecisionTaken>,

    /// When the first sign of failure was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<Time>,

    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
}

fn first() -> i32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
pub(super) fn is_zero(number: &i32) -> bool {
    *number == 0
}

/// What pods run: image and configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// The version, as the spec or the tag says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub version: Option<String>,

    /// The image, as the spec says.
    #[schemars(length(max = 512))]
    pub image: String,

    /// Digest of the image, once a node has fetched it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub digest: Option<String>,

    /// Hash of everything that the pods are made of.
    #[schemars(length(max = 32))]
    pub revision: String,
}

/// What began a roll-out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Trigger {
    /// Another version or image in the spec.
    #[default]
    Version,
    /// A new tag in the channel.
    Channel,
    /// The same image with another configuration.
    Configuration,
    /// A person wanted another try.
    Retry,
}

impl Trigger {
    /// The word in the status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Version => "Version",
            Self::Channel => "Channel",
            Self::Configuration => "Configuration",
            Self::Retry => "Retry",
        }
    }
}

/// A share of the requests, in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Weight {
    /// The share that the step asks for.
    pub wanted: i32,
    /// The share that follows from the pods that serve, or from the weights of the `HTTPRoute`.
    pub actual: i32,
    /// The canary's share of what comes through the Gateway, while the weights of the `HTTPRoute` say it. 0: all of that goes
    /// to the other pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<i32>,
}

/// What a measurement came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastVerdict {
    /// When.
    pub at: Time,
    /// The word for it.
    #[schemars(length(max = 32))]
    pub word: String,
    /// What was measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub measurements: Vec<Measurement>,
}

/// One check of one measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Measurement {
    /// When.
    pub at: Time,
    /// What was checked, such as `apdex/manifest_read`, `errors` or `probe`.
    #[schemars(length(max = 64))]
    pub check: String,
    /// Which pods: `canary` or `main`.
    #[schemars(length(max = 16))]
    pub stage: String,
    /// How many requests it is about.
    #[serde(default)]
    pub samples: i64,
    /// The share or score that was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// The lowest value that is likely.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower: Option<f64>,
    /// The highest value that is likely.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper: Option<f64>,
    /// What it is compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
    /// The word for it.
    #[schemars(length(max = 32))]
    pub verdict: String,
    /// The query or the request behind it, and what went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub query: Option<String>,
}

/// How often in a row a measurement came to the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Counters {
    /// Bad.
    #[serde(default)]
    pub failures: i32,
    /// The canary and the others both bad.
    #[serde(default)]
    pub shared: i32,
    /// No measurement.
    #[serde(default)]
    pub errors: i32,
}

/// What an image says about the database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Contract {
    /// Version of the image, as it says itself.
    #[schemars(length(max = 128))]
    pub version: String,
    /// The lowest version that works with what this one writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub min_version: Option<String>,
    /// Once it has served, no older version can read what it wrote.
    #[serde(default)]
    pub cannot_rollback: bool,
    /// Oldest migration that it can work with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub min_level: Option<String>,
    /// Migrations to run before the pods change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), inner(length(max = 64)))]
    pub pending_pre: Vec<String>,
    /// Migrations to run after every pod has changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), inner(length(max = 64)))]
    pub pending_post: Vec<String>,
}

/// Last migrations of a version that wait for the roll-out of the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PendingPost {
    /// The roll-out that left them.
    #[schemars(length(max = 63))]
    pub rollout: String,
    /// Image and configuration that run them. What they are made of is kept until then.
    pub revision: Revision,
    /// Version of the image, as it says itself.
    #[schemars(length(max = 128))]
    pub version: String,
    /// The lowest version that works once they are applied. Absent: that one itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub min_version: Option<String>,
    /// The migrations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), inner(length(max = 64)))]
    pub migrations: Vec<String>,
}

/// The database after a migration, as the migration read it back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SchemaRead {
    /// Newest migration of the database.
    #[schemars(length(max = 64))]
    pub level: String,
    /// Migrations that this roll-out has applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), inner(length(max = 64)))]
    pub applied: Vec<String>,
}

/// A decision, and whose it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionTaken {
    /// When.
    pub at: Time,
    /// What was decided.
    #[schemars(length(max = 64))]
    pub kind: String,
    /// Whose decision: a person's name where it is vouched for, `annotation` where it is not, or `operator`.
    #[schemars(length(max = 253))]
    pub actor: String,
    /// Why.
    #[schemars(length(max = 512))]
    pub reason: String,
}

/// The lowest version that the Registry may go back to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RollbackFloor {
    /// The version.
    #[schemars(length(max = 128))]
    pub version: String,
    /// Why nothing lower works.
    #[schemars(length(max = 512))]
    pub reason: String,
}

/// A version that was taken back, and is not tried again before a person says so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// Hash of everything that the pods were made of.
    #[schemars(length(max = 32))]
    pub revision: String,
    /// The image.
    #[schemars(length(max = 512))]
    pub image: String,
    /// Digest of the image, where it was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub digest: Option<String>,
    /// The roll-out that ended badly.
    #[schemars(length(max = 63))]
    pub rollout: String,
    /// Why it did.
    #[schemars(length(max = 512))]
    pub reason: String,
}

/// A roll-out that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// Name of its `RegistryRollout`.
    #[schemars(length(max = 63))]
    pub id: String,
    /// The version before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub from: Option<String>,
    /// The version that it was for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub to: Option<String>,
    /// Digest of the image, where it was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub digest: Option<String>,
    /// How it ended: `Completed`, `RolledBack`, `Superseded` or `Failed`.
    pub result: Phase,
    /// A word for why.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// When.
    pub at: Time,
    /// Who asked for it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub by: Option<String>,
}
