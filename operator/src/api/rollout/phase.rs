//! Where a roll-out is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a roll-out is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Nothing is rolled out.
    #[default]
    Idle,
    /// The new version is compared with the database, the floor and what was refused before.
    Preflight,
    /// Somebody else holds the lock, or a window is closed.
    AwaitingLock,
    /// The database is migrated; every pod still runs the old version.
    PreMigrating,
    /// The canary's pods start.
    CanaryDeploying,
    /// The canary serves and is measured.
    CanaryAnalyzing,
    /// A person is asked.
    AwaitingApproval,
    /// Every pod is replaced.
    Promoting,
    /// The new pods are looked at before the canary goes.
    MainVerifying,
    /// Watched for a while before migrations that end the way back.
    Soaking,
    /// Migrations that the old version would not stand; there is no way back below the floor.
    PostMigrating,
    /// Done.
    Completed,
    /// A person wanted it to stand still.
    Paused,
    /// It stands still and needs a person.
    Held,
    /// The old version comes back.
    RollingBack,
    /// The old version is back.
    RolledBack,
    /// Another version took its place.
    Superseded,
    /// It ended before any pod changed.
    Failed,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Self; 18] = [
        Self::Idle,
        Self::Preflight,
        Self::AwaitingLock,
        Self::PreMigrating,
        Self::CanaryDeploying,
        Self::CanaryAnalyzing,
        Self::AwaitingApproval,
        Self::Promoting,
        Self::MainVerifying,
        Self::Soaking,
        Self::PostMigrating,
        Self::Completed,
        Self::Paused,
        Self::Held,
        Self::RollingBack,
        Self::RolledBack,
        Self::Superseded,
        Self::Failed,
    ];

    /// The word in `status.rollout.phase`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "Idle",
            Self::Preflight => "Preflight",
            Self::AwaitingLock => "AwaitingLock",
            Self::PreMigrating => "PreMigrating",
            Self::CanaryDeploying => "CanaryDeploying",
            Self::CanaryAnalyzing => "CanaryAnalyzing",
            Self::AwaitingApproval => "AwaitingApproval",
            Self::Promoting => "Promoting",
            Self::MainVerifying => "MainVerifying",
            Self::Soaking => "Soaking",
            Self::PostMigrating => "PostMigrating",
            Self::Completed => "Completed",
            Self::Paused => "Paused",
            Self::Held => "Held",
            Self::RollingBack => "RollingBack",
            Self::RolledBack => "RolledBack",
            Self::Superseded => "Superseded",
            Self::Failed => "Failed",
        }
    }

    /// Whether nothing follows any more.
    pub fn is_final(self) -> bool {
        matches!(
            self,
            Self::Idle | Self::Completed | Self::RolledBack | Self::Superseded | Self::Failed
        )
    }
}
