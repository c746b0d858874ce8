//! Who is told about roll-outs.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::image::SecretRef;

/// One place that is told about roll-outs.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NotificationSink {
    /// A name for it, of its own among the notifications of this Registry.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,

    /// `Webhook`: a signed POST of JSON. `Slack`: a message as Slack, Mattermost and Rocket.Chat take it.
    pub kind: SinkKind,

    /// Secret with the address under `url`; for a `Webhook` also the key of the signature under `key`, at least 16 bytes.
    pub secret_ref: SecretRef,

    /// What is told. Absent or empty: everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub events: Vec<NotificationEvent>,

    /// What is told at the least: `Info`, `Warning` or `Error`. Absent: `Info`, which is everything.
    #[serde(default)]
    pub min_severity: Severity,
}

/// How a place is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SinkKind {
    /// A signed POST of JSON.
    Webhook,
    /// A message as Slack takes it.
    Slack,
}

impl SinkKind {
    /// The word in the spec and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "Webhook",
            Self::Slack => "Slack",
        }
    }
}

/// How much it matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Severity {
    /// All goes its way.
    #[default]
    Info,
    /// Somebody should know.
    Warning,
    /// Somebody has to act, or a version was taken back.
    Error,
}

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum NotificationEvent {
    /// Another version is asked for.
    Requested,
    /// A window is closed.
    Blocked,
    /// Somebody else holds the lock.
    LockWait,
    /// Something begins to change.
    Started,
    /// The database is migrated before the pods change.
    MigrationStarted,
    /// It was.
    MigrationFinished,
    /// A migration failed.
    MigrationFailed,
    /// The canary serves its share.
    CanaryUp,
    /// A measurement came to another result.
    Verdict,
    /// A person is asked.
    ApprovalNeeded,
    /// Every pod runs the new version.
    Promoted,
    /// Migrations wait until the new version has run for a while.
    PostMigrationPending,
    /// Migrations run that the old version would not stand.
    PostMigrationStarted,
    /// They are done.
    PostMigrationDone,
    /// A person wanted it to stand still.
    Paused,
    /// It stands still and needs a person.
    Held,
    /// The old version is brought back.
    RollingBack,
    /// The old version is back.
    RolledBack,
    /// Another version took its place.
    Superseded,
    /// It ended before any pod changed.
    Failed,
    /// Done.
    Completed,
    /// There is no way back to some versions any more.
    FloorMoved,
    /// A consumer needs a higher version than runs.
    RequirementUnmet,
}

impl NotificationEvent {
    /// The word in the spec and in what is sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "Requested",
            Self::Blocked => "Blocked",
            Self::LockWait => "LockWait",
            Self::Started => "Started",
            Self::MigrationStarted => "MigrationStarted",
            Self::MigrationFinished => "MigrationFinished",
            Self::MigrationFailed => "MigrationFailed",
            Self::CanaryUp => "CanaryUp",
            Self::Verdict => "Verdict",
            Self::ApprovalNeeded => "ApprovalNeeded",
            Self::Promoted => "Promoted",
            Self::PostMigrationPending => "PostMigrationPending",
            Self::PostMigrationStarted => "PostMigrationStarted",
            Self::PostMigrationDone => "PostMigrationDone",
            Self::Paused => "Paused",
            Self::Held => "Held",
            Self::RollingBack => "RollingBack",
            Self::RolledBack => "RolledBack",
            Self::Superseded => "Superseded",
            Self::Failed => "Failed",
            Self::Completed => "Completed",
            Self::FloorMoved => "FloorMoved",
            Self::RequirementUnmet => "RequirementUnmet",
        }
    }

    /// How much it matters.
    pub fn severity(self) -> Severity {
        match self {
            Self::MigrationFailed | Self::Held | Self::RollingBack | Self::RolledBack | Self::Failed => Severity::Error,
            Self::Blocked
            | Self::LockWait
            | Self::ApprovalNeeded
            | Self::Paused
            | Self::Superseded
            | Self::RequirementUnmet => Severity::Warning,
            Self::Requested
            | Self::Started
            | Self::MigrationStarted
            | Self::MigrationFinished
            | Self::CanaryUp
            | Self::Verdict
            | Self::Promoted
            | Self::PostMigrationPending
            | Self::PostMigrationStarted
            | Self::PostMigrationDone
            | Self::Completed
            | Self::FloorMoved => Severity::Info,
        }
    }
}

impl NotificationSink {
    /// Whether it wants to be told that.
    pub fn wants(&self, event: NotificationEvent, severity: Severity) -> bool {
        severity >= self.min_severity && (self.events.is_empty() || self.events.contains(&event))
    }
}
