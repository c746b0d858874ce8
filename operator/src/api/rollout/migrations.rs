//! What a user may say about migrations.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::span::Span;

/// How the database follows the version.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MigrationSettings {
    /// `Managed`: the operator runs them. `External`: somebody else does, and a roll-out waits until they are there.
    #[serde(default)]
    pub mode: MigrationMode,

    /// Migrations before the pods change: the old version works with them too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre: Option<PreMigrations>,

    /// Migrations after every pod runs the new version: they end the way back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post: Option<PostMigrations>,
}

/// Who migrates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MigrationMode {
    /// The operator.
    #[default]
    Managed,
    /// Somebody else.
    External,
}

/// Migrations before the pods change.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PreMigrations {
    /// How long they may take before they count as failed. Absent: `6h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_deadline: Option<Span>,

    /// How often they are tried again. Absent: 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10))]
    pub retries: Option<i32>,

    /// How long a statement may wait for a lock that clients need too. Absent: the migrator's own default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_timeout: Option<Span>,

    /// How long a statement may run. Absent: the migrator's own default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement_timeout: Option<Span>,
}

/// Migrations after every pod runs the new version.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PostMigrations {
    /// `AfterSoak`: when the new version has run well for `soak`. `Immediate`: at once. `Manual`: when a person says
    /// `promote`. `WithNextRelease`: before the migrations of the next newer version, with this version's image. Absent: `AfterSoak`.
    #[serde(default)]
    pub policy: PostPolicy,

    /// How long the new version is watched first. It must be seen to be good at the end: where nothing was measured, it is
    /// watched for another `rollout.canary.bake.max`, and then `rollout.analysis.onNoData` decides. Absent: `24h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soak: Option<Span>,
}

/// When migrations that end the way back are run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PostPolicy {
    /// After a while.
    #[default]
    AfterSoak,
    /// When a person says so.
    Manual,
    /// With the next roll-out.
    WithNextRelease,
    /// At once.
    Immediate,
}
