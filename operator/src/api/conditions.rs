//! The conditions of a Registry: their types, their reasons, and how one follows another.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

/// The longest message of a condition, in bytes. Kubernetes' events take no more either.
pub const MESSAGE_BYTES: usize = 1000;

/// The types of condition that a Registry always has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConditionType {
    /// As the spec says, and serving.
    Ready,
    /// On the way to what the spec says.
    Progressing,
    /// Something needs a person.
    Degraded,
    /// The database has what the wanted version needs.
    DatabaseMigrated,
    /// Enough pods serve.
    Available,
    /// The operator is at work (as kstatus reads it).
    Reconciling,
    /// Nothing goes on before a person acts (as kstatus reads it).
    Stalled,
    /// The operator holds back because it was told to.
    Paused,
    /// The cluster has every API that the spec needs.
    DependenciesAvailable,
    /// It is known which version is to run.
    VersionResolved,
    /// The image comes from somewhere that does not need this registry.
    ImageSource,
    /// The canary of the newest roll-out was good enough.
    CanaryHealthy,
    /// Every pod runs what the newest roll-out was for.
    Promoted,
    /// Something keeps the newest roll-out from going on.
    RolloutBlocked,
    /// The database has every migration of the version that runs.
    SchemaUpToDate,
    /// The version that runs is as new as everybody needs.
    RequirementsMet,
}

impl ConditionType {
    /// Every type, in the order in which they are shown.
    pub const ALL: [Self; 16] = [
        Self::Ready,
        Self::Progressing,
        Self::Degraded,
        Self::DatabaseMigrated,
        Self::Available,
        Self::Reconciling,
        Self::Stalled,
        Self::Paused,
        Self::DependenciesAvailable,
        Self::VersionResolved,
        Self::ImageSource,
        Self::CanaryHealthy,
        Self::Promoted,
        Self::RolloutBlocked,
        Self::SchemaUpToDate,
        Self::RequirementsMet,
    ];

    /// The word in `status.conditions[].type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Progressing => "Progressing",
            Self::Degraded => "Degraded",
            Self::DatabaseMigrated => "DatabaseMigrated",
            Self::Available => "Available",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::Paused => "Paused",
            Self::DependenciesAvailable => "DependenciesAvailable",
            Self::VersionResolved => "VersionResolved",
            Self::ImageSource => "ImageSource",
            Self::CanaryHealthy => "CanaryHealthy",
            Self::Promoted => "Promoted",
            Self::RolloutBlocked => "RolloutBlocked",
            Self::SchemaUpToDate => "SchemaUpToDate",
            Self::RequirementsMet => "RequirementsMet",
        }
    }
}

/// Why a condition has its status. Fixed words: events and metrics carry them too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Nothing to say.
    AsExpected,
    /// The operator refuses the spec.
    InvalidSpec,
    /// A Secret, or a key in it, is missing.
    SecretMissing,
    /// A Secret or `ConfigMap` that pods mount or read is missing.
    ReferenceMissing,
    /// The claim that the spec names is not there.
    VolumeMissing,
    /// The volume that held the images is gone, or goes.
    VolumeLost,
    /// A node does not answer, and a pod on it cannot be ended.
    NodeGone,
    /// An object of a needed name belongs to somebody else.
    NameTaken,
    /// The API server refused an object.
    ApplyRefused,
    /// A migration runs.
    Migrating,
    /// A migration failed.
    MigrationFailed,
    /// The running version finds migrations that it needs and that are not applied.
    MigrationPending,
    /// Migrations are done.
    Migrated,
    /// New pods start.
    RollingOut,
    /// Pods cannot fetch the image.
    ImagePullFailed,
    /// Pods start and stop again.
    PodsCrash,
    /// All pods are new, and their containers end by themselves again and again.
    PodsRestarting,
    /// All pods are new, and one runs without being ready.
    PodsNotReady,
    /// Pods cannot be made as they are described.
    PodsRefused,
    /// New pods did not serve in time.
    RolloutTimedOut,
    /// Fewer pods serve than are wanted.
    TooFewReplicas,
    /// Not known yet.
    NotObserved,
    /// The cluster lacks an API that the spec needs.
    DependencyUnavailable,
    /// cert-manager has not issued a certificate yet.
    CertificatePending,
    /// No Gateway accepts the route.
    RouteRefused,
    /// At least one pod serves.
    MinimumReplicasAvailable,
    /// No pod serves.
    MainUnavailable,
    /// The spec says that the operator is to leave everything alone.
    Suspended,
    /// The new image looks at the database.
    CheckingImage,
    /// Somebody else holds the lock.
    WaitingForLock,
    /// No roll-out begins at this time.
    FreezeWindow,
    /// The canary's pods start.
    CanaryStarting,
    /// The canary is measured.
    Baking,
    /// A person is asked.
    AwaitingApproval,
    /// The new pods are looked at.
    Verifying,
    /// The new version is watched.
    Soaking,
    /// Migrations run that end the way back.
    PostMigrating,
    /// It goes on.
    Resumed,
    /// A person wanted it to stand still.
    UserRequested,
    /// The spec says to stand still.
    PausedInSpec,
    /// The canary could not be measured.
    NoData,
    /// The canary is neither good nor bad.
    Inconclusive,
    /// The image must not go onto this database.
    PreflightRefused,
    /// The image could not look at the database.
    PreflightFailed,
    /// This version was taken back before.
    VersionRefused,
    /// The database has moved on from this version.
    BelowFloor,
    /// Somebody needs a newer version.
    ConsumerNeedsNewer,
    /// The lock was not free in time.
    LockTimeout,
    /// Somebody else took the lock.
    LockLost,
    /// A person said no.
    ApprovalRejected,
    /// Nobody answered in time.
    ApprovalExpired,
    /// A person wanted it back.
    UserAborted,
    /// The spec asks for the old version again.
    Reverted,
    /// Another version is wanted.
    Superseded,
    /// Pods did not serve in time.
    ProgressDeadlineExceeded,
    /// The canary is worse than it may be.
    CanaryFailing,
    /// All pods are new, and more requests fail or are slow than the error budget allows.
    BudgetBurning,
    /// The operator's own pushes or pulls failed.
    ProbeFailed,
    /// Old and new version are both bad.
    SharedOutage,
    /// Nothing could be measured.
    QueryError,
    /// The last migrations failed.
    PostMigrationFailed,
    /// The last migrations wait.
    PostPending,
    /// It is bad, and the old version cannot come back.
    CannotRollBack,
    /// A canary stood still for long, and nobody said anything.
    HeldTooLong,
    /// The spec names the version.
    Pinned,
    /// The channel came to a version.
    Resolved,
    /// The registry of the channel could not be asked.
    SourceUnreachable,
    /// No tag fits the channel.
    NoMatch,
    /// What fits the channel is older.
    DowngradeRefused,
    /// The image of the channel is not signed as it must be.
    SignatureInvalid,
    /// The registry holds the image that it runs, or the operator's.
    SelfHosted,
    /// There was nothing of the kind yet.
    NotRun,
    /// It was good enough.
    Passed,
    /// It is done.
    Succeeded,
    /// It is under way.
    InProgress,
    /// The old version is back, or comes back.
    RolledBack,
    /// Nothing is left to apply.
    UpToDate,
}

impl Reason {
    /// The word in `status.conditions[].reason`.
    #[expect(clippy::too_many_lines, reason = "one line a reason")]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AsExpected => "AsExpected",
            Self::InvalidSpec => "InvalidSpec",
            Self::SecretMissing => "SecretMissing",
            Self::ReferenceMissing => "ReferenceMissing",
            Self::VolumeMissing => "VolumeMissing",
            Self::VolumeLost => "VolumeLost",
            Self::NodeGone => "NodeGone",
            Self::NameTaken => "NameTaken",
            Self::ApplyRefused => "ApplyRefused",
            Self::Migrating => "Migrating",
            Self::MigrationFailed => "MigrationFailed",
            Self::MigrationPending => "MigrationPending",
            Self::Migrated => "Migrated",
            Self::RollingOut => "RollingOut",
            Self::ImagePullFailed => "ImagePullFailed",
            Self::PodsCrash => "PodsCrash",
            Self::PodsRestarting => "PodsRestarting",
            Self::PodsNotReady => "PodsNotReady",
            Self::PodsRefused => "PodsRefused",
            Self::RolloutTimedOut => "RolloutTimedOut",
            Self::TooFewReplicas => "TooFewReplicas",
            Self::NotObserved => "NotObserved",
            Self::DependencyUnavailable => "DependencyUnavailable",
            Self::CertificatePending => "CertificatePending",
            Self::RouteRefused => "RouteRefused",
            Self::MinimumReplicasAvailable => "MinimumReplicasAvailable",
            Self::MainUnavailable => "MainUnavailable",
            Self::Suspended => "Suspended",
            Self::CheckingImage => "CheckingImage",
            Self::WaitingForLock => "WaitingForLock",
            Self::FreezeWindow => "FreezeWindow",
            Self::CanaryStarting => "CanaryStarting",
            Self::Baking => "Baking",
            Self::AwaitingApproval => "AwaitingApproval",
            Self::Verifying => "Verifying",
            Self::Soaking => "Soaking",
            Self::PostMigrating => "PostMigrating",
            Self::Resumed => "Resumed",
            Self::UserRequested => "UserRequested",
            Self::PausedInSpec => "PausedInSpec",
            Self::NoData => "NoData",
            Self::Inconclusive => "Inconclusive",
            Self::PreflightRefused => "PreflightRefused",
            Self::PreflightFailed => "PreflightFailed",
            Self::VersionRefused => "VersionRefused",
            Self::BelowFloor => "BelowFloor",
            Self::ConsumerNeedsNewer => "ConsumerNeedsNewer",
            Self::LockTimeout => "LockTimeout",
            Self::LockLost => "LockLost",
            Self::ApprovalRejected => "ApprovalRejected",
            Self::ApprovalExpired => "ApprovalExpired",
            Self::UserAborted => "UserAborted",
            Self::Reverted => "Reverted",
            Self::Superseded => "Superseded",
            Self::ProgressDeadlineExceeded => "ProgressDeadlineExceeded",
            Self::CanaryFailing => "CanaryFailing",
            Self::BudgetBurning => "BudgetBurning",
            Self::ProbeFailed => "ProbeFailed",
            Self::SharedOutage => "SharedOutage",
            Self::QueryError => "QueryError",
            Self::PostMigrationFailed => "PostMigrationFailed",
            Self::PostPending => "PostPending",
            Self::CannotRollBack => "CannotRollBack",
            Self::HeldTooLong => "HeldTooLong",
            Self::Pinned => "Pinned",
            Self::Resolved => "Resolved",
            Self::SourceUnreachable => "SourceUnreachable",
            Self::NoMatch => "NoMatch",
            Self::DowngradeRefused => "DowngradeRefused",
            Self::SignatureInvalid => "SignatureInvalid",
            Self::SelfHosted => "SelfHosted",
            Self::NotRun => "NotRun",
            Self::Passed => "Passed",
            Self::Succeeded => "Succeeded",
            Self::InProgress => "InProgress",
            Self::RolledBack => "RolledBack",
            Self::UpToDate => "UpToDate",
        }
    }

    /// The reason that the status of a roll-out has noted as that word.
    pub fn of_rollout(word: &str) -> Self {
        Self::OF_ROLLOUTS
            .into_iter()
            .find(|reason| reason.as_str() == word)
            .unwrap_or(Self::NotObserved)
    }

    /// The reasons that `VersionResolved` can have with a channel.
    pub const OF_CHANNELS: [Self; 7] = [
        Self::Resolved,
        Self::SourceUnreachable,
        Self::NoMatch,
        Self::DowngradeRefused,
        Self::SignatureInvalid,
        Self::SecretMissing,
        Self::InvalidSpec,
    ];

    /// The reasons that a roll-out can have.
    pub const OF_ROLLOUTS: [Self; 46] = [
        Self::AsExpected,
        Self::Migrating,
        Self::MigrationFailed,
        Self::MigrationPending,
        Self::RollingOut,
        Self::PodsCrash,
        Self::PodsRestarting,
        Self::PodsNotReady,
        Self::TooFewReplicas,
        Self::CheckingImage,
        Self::MainUnavailable,
        Self::WaitingForLock,
        Self::FreezeWindow,
        Self::CanaryStarting,
        Self::Baking,
        Self::AwaitingApproval,
        Self::Verifying,
        Self::Soaking,
        Self::PostMigrating,
        Self::Resumed,
        Self::UserRequested,
        Self::PausedInSpec,
        Self::NoData,
        Self::Inconclusive,
        Self::PreflightRefused,
        Self::PreflightFailed,
        Self::VersionRefused,
        Self::BelowFloor,
        Self::ConsumerNeedsNewer,
        Self::LockTimeout,
        Self::LockLost,
        Self::ApprovalRejected,
        Self::ApprovalExpired,
        Self::UserAborted,
        Self::Reverted,
        Self::Superseded,
        Self::ProgressDeadlineExceeded,
        Self::CanaryFailing,
        Self::BudgetBurning,
        Self::ProbeFailed,
        Self::SharedOutage,
        Self::QueryError,
        Self::PostMigrationFailed,
        Self::PostPending,
        Self::CannotRollBack,
        Self::HeldTooLong,
    ];
}

/// The three values of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Nobody can say.
    Unknown,
}

impl Truth {
    /// The word in `status.conditions[].status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// What a condition says now, before it is known since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Which condition.
    pub type_: ConditionType,
    /// Whether it holds.
    pub truth: Truth,
    /// Why.
    pub reason: Reason,
    /// The same for people, with the remedy.
    pub message: String,
}

/// `verdicts` as conditions, each with the time since when `previous` has had that status.
///
/// Only a change of status moves `lastTransitionTime`; a new reason or message does not.
pub fn follow(
    previous: &[Condition],
    verdicts: Vec<Verdict>,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let condition = |verdict: Verdict| {
        let before = find(previous, verdict.type_).filter(|before| before.status == verdict.truth.as_str());
        Condition {
            type_: verdict.type_.as_str().to_owned(),
            status: verdict.truth.as_str().to_owned(),
            reason: verdict.reason.as_str().to_owned(),
            message: shortened(&verdict.message, MESSAGE_BYTES),
            observed_generation: generation,
            last_transition_time: before.map_or(Time(now), |before| before.last_transition_time.clone()),
        }
    };
    verdicts.into_iter().map(condition).collect()
}

/// The condition of that type, if it is there.
pub fn find(conditions: &[Condition], type_: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == type_.as_str())
}

/// At most `bytes` of `text`, cut between characters, with an ellipsis where something is missing.
pub fn shortened(text: &str, bytes: usize) -> String {
    const ELLIPSIS: &str = "…";
    if text.len() <= bytes {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(bytes.saturating_sub(ELLIPSIS.len()));
    format!("{}{ELLIPSIS}", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn verdict(truth: Truth, reason: Reason) -> Verdict {
        Verdict {
            type_: ConditionType::Ready,
            truth,
            reason,
            message: "text".to_owned(),
        }
    }

    #[test]
    fn a_new_reason_keeps_the_time_of_the_last_transition() {
        let first = follow(&[], vec![verdict(Truth::False, Reason::Migrating)], Some(1), at(10));

        let second = follow(&first, vec![verdict(Truth::False, Reason::RollingOut)], Some(2), at(20));

        assert_eq!(second[0].last_transition_time, Time(at(10)));
        assert_eq!(second[0].observed_generation, Some(2));
        assert_eq!(second[0].reason, "RollingOut");
    }

    #[test]
    fn a_new_status_moves_the_time_of_the_last_transition() {
        let first = follow(&[], vec![verdict(Truth::False, Reason::Migrating)], Some(1), at(10));

        let second = follow(&first, vec![verdict(Truth::True, Reason::AsExpected)], Some(1), at(20));

        assert_eq!(second[0].last_transition_time, Time(at(20)));
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let text = shortened(&"ä".repeat(600), 999);

        assert!(text.len() <= 999, "{} bytes", text.len());
        assert!(text.ends_with("ä…"));
    }
}
