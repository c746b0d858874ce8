//! What is so in the cluster, as far as a roll-out depends on it; pure.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

pub use crate::analysis::Burn;
use crate::api::rollout::lock::LockHeld;
use crate::api::rollout::status::{Contract, Measurement, Revision};
use crate::api::rollout::{ApprovalStep, Decision, Strategy};
use crate::registry::rollout::Rollout;
use crate::registry::trouble::Trouble;

/// The name that pods of an operator go by which noted no revisions.
pub const ADOPTED: &str = "adopted";

/// What is so in the cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Name of the Registry.
    pub registry: String,
    /// Which one of that name.
    pub uid: String,
    /// What the spec wants.
    pub target: Target,
    /// Generation of the spec.
    pub generation: i64,
    /// Who asked for it, where that is known.
    pub requested_by: Option<String>,
    /// The pods that serve; `None` before the first installation.
    pub main: Option<Pods>,
    /// The canary's pods.
    pub canary: Option<Pods>,
    /// Since when main and canary each have a Service that a Gateway can be pointed to; `None`: there is no Gateway, or they
    /// have not.
    pub stage_services: Option<Timestamp>,
    /// Whether everything that the old pods were made of is kept.
    pub can_rebuild_old: bool,
    /// Whether the image has looked at the database.
    pub preflight: JobFact,
    /// Migrations before the pods change.
    pub pre: JobFact,
    /// Migrations after.
    pub post: JobFact,
    /// Last migrations of the version before, where they come first.
    pub earlier: JobFact,
    /// Whether everything is kept that those which wait are run with.
    pub can_settle: bool,
    /// The lock.
    pub lock: LockFact,
    /// Why nothing may begin now.
    pub frozen: Option<String>,
    /// What was measured just now.
    pub evidence: Option<Evidence>,
    /// What people have said about this roll-out.
    pub approvals: Vec<ApprovalFact>,
    /// Commands on the Registry.
    pub commands: Vec<Command>,
}

/// What the spec wants.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Image and configuration.
    pub revision: Revision,
    /// Whether the database is migrated by a Job.
    pub has_jobs: bool,
    /// How its pods are replaced.
    pub strategy: Strategy,
    /// Whether a tag asks for it, and no person.
    pub is_of_channel: bool,
}

/// Pods of one stage.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pods {
    /// Hash of what they are made of, where it is known.
    pub revision: Option<String>,
    /// Their image.
    pub image: String,
    /// How far they are.
    pub rollout: Rollout,
    /// What keeps them from serving.
    pub trouble: Option<Trouble>,
    /// How often their containers have ended and were started again.
    pub restarts: i32,
    /// What each of them does by itself.
    pub seen: Vec<PodSeen>,
}

/// What one pod does by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodSeen {
    /// Its name.
    pub name: String,
    /// How often its container has ended.
    pub ends: i32,
    /// When that was the last time, or a little later.
    pub ended_at: Option<Timestamp>,
    /// How long the container had run that ended then.
    pub ran: Option<Duration>,
    /// Whether it was ended for memory the last time.
    pub out_of_memory: bool,
    /// Since when its container runs and is not ready.
    pub unready_since: Option<Timestamp>,
}

/// How far a Job is.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum JobFact {
    /// It is not there.
    #[default]
    Absent,
    /// It runs.
    Running {
        /// What keeps it from running, for people.
        trouble: Option<String>,
    },
    /// It will not be tried again.
    Failed {
        /// Its name.
        job: String,
        /// Code with which its newest container ended.
        code: Option<i32>,
        /// What that printed last, without secrets.
        message: String,
        /// What a migration told of itself.
        migrated: Option<Migrated>,
        /// What a preflight found, where only last migrations that wait speak against the image.
        contract: Option<Contract>,
    },
    /// It did what it was for.
    Succeeded {
        /// Digest of the image that it ran, where that is one of a repository.
        digest: Option<String>,
        /// What a preflight found.
        contract: Option<Contract>,
        /// What a migration told of itself.
        migrated: Option<Migrated>,
    },
}

/// What a migration told of itself when it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Migrated {
    /// Migrations that it applied.
    pub applied: Vec<String>,
    /// Newest migration of the database after it.
    pub level_after: Option<String>,
    /// Migrations of its kind that are missing all the same.
    pub pending: Vec<String>,
}

/// The lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockFact {
    /// Not asked for yet.
    Unasked,
    /// Held.
    Held(Vec<LockHeld>),
    /// Somebody else holds it.
    Busy(String),
    /// Somebody else took it after it had run out.
    Lost(String),
}

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// When.
    pub at: Timestamp,
    /// What it came to.
    pub verdict: Verdict,
    /// What the operator's own requests came to.
    pub probe: Probe,
    /// Whether the error budget burns; of pods that all clients use.
    pub burn: Burn,
    /// In numbers.
    pub measurements: Vec<Measurement>,
    /// For people: what was found.
    pub message: String,
}

/// What a measurement came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Bad, so that one look is enough.
    HardFail,
    /// Bad.
    Fail,
    /// Bad, and the old version is as bad.
    Shared,
    /// No measurement.
    Error,
    /// Too little to say anything.
    NoData,
    /// Neither good nor bad.
    Unsure,
    /// Good, as far as so few requests can show.
    Weak,
    /// Good.
    Strong,
}

impl Verdict {
    /// The word in the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HardFail => "HardFail",
            Self::Fail => "Fail",
            Self::Shared => "Shared",
            Self::Error => "Error",
            Self::NoData => "NoData",
            Self::Unsure => "Unsure",
            Self::Weak => "Weak",
            Self::Strong => "Strong",
        }
    }
}

/// What the operator's own requests came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// All succeeded.
    Passed,
    /// One failed in a way that is the registry's fault.
    Failed(String),
    /// The pods could not be reached.
    Unreachable(String),
}

/// A person's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalFact {
    /// About which step.
    pub step: ApprovalStep,
    /// What they said.
    pub decision: Decision,
    /// Who.
    pub by: String,
    /// About which image.
    pub digest: Option<String>,
    /// Why.
    pub reason: String,
}

/// What a person wants of a roll-out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// What.
    pub kind: CommandKind,
    /// The whole value of the annotation: a command is obeyed once.
    pub value: String,
    /// Of which roll-out.
    pub rollout: String,
    /// Why.
    pub reason: String,
    /// Who, where that is known.
    pub by: String,
}

/// What a person can want.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CommandKind {
    /// Stand still.
    Pause,
    /// Go on.
    Resume,
    /// Go back.
    Abort,
    /// Go on without further measurement.
    Promote,
    /// Do not wait for this step any longer.
    SkipStep,
    /// Try again.
    Retry,
}

impl CommandKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Pause,
        Self::Resume,
        Self::Abort,
        Self::Promote,
        Self::SkipStep,
        Self::Retry,
    ];

    /// The word behind `berth.dev/rollout-`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Abort => "abort",
            Self::Promote => "promote",
            Self::SkipStep => "skip-step",
            Self::Retry => "retry",
        }
    }
}
