//! What a roll-out does next; pure: the time is an argument.
//!
//! [`step`] makes at most one transition. The phase that it leaves in the status is the intent: what must exist in that
//! phase follows from it alone ([`super::world`]), so an operator that is started again in any phase goes on from there.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "there are eighteen phases, and most questions are about a few of them"
)]

pub mod begin;
mod canary;
mod main;
mod pending;
mod side;
mod split;
mod unrest;

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::facts::{Facts, LockFact, Pods};
use super::settings::Settings;
use crate::api::RegistryStatus;
use crate::api::conditions::{Reason, shortened};
use crate::api::rollout::status::{Counters, DecisionTaken, HistoryEntry, PendingPost, Refused};
use crate::api::rollout::{ApprovalStep, Phase, RollbackFloor, RollbackMode, RolloutState, Strategy};

/// How many ended roll-outs the status names.
pub(super) const HISTORY: usize = 10;
/// How many pods are remembered whose containers had ended before a phase began.
const PODS: usize = 100;
/// How many versions are remembered as bad.
const REFUSED: usize = 16;
/// How many decisions the status has; the record has them all.
const DECISIONS: usize = 8;
/// Bad measurements in a row that end a roll-out.
const FAILURES: i32 = 2;
/// Bad measurements that end a roll-out, with good ones in between: counters in a row begin anew with each step.
const FAILURES_IN_ALL: i32 = 5;
/// How long a canary that stands still for want of a verdict keeps its share of the requests when nobody says anything.
const HELD: Duration = Duration::from_hours(2);
/// Measurements in a row that did not come about before a person is asked.
const ERRORS: i32 = 6;

/// What is remembered of roll-outs between passes: it is all in the status.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// The newest roll-out.
    pub rollout: Option<RolloutState>,
    /// The lowest version to go back to.
    pub floor: Option<RollbackFloor>,
    /// Versions that turned out bad.
    pub refused: Vec<Refused>,
    /// What has ended.
    pub history: Vec<HistoryEntry>,
    /// Last migrations that wait for the next version.
    pub pending_post: Option<PendingPost>,
}

impl Memory {
    /// What `status` remembers.
    pub fn of(status: Option<&RegistryStatus>) -> Self {
        status.map_or_else(Self::default, |status| Self {
            rollout: status.rollout.clone(),
            floor: status.rollback_floor.clone(),
            refused: status.refused.clone(),
            history: status.history.clone(),
            pending_post: status.pending_post.clone(),
        })
    }

    /// The roll-out that is under way.
    pub fn active(&self) -> Option<&RolloutState> {
        self.rollout.as_ref().filter(|state| !state.phase.is_final())
    }
}

/// What `memory` becomes: itself, when there is nothing to do but wait.
pub fn step(settings: &Settings, memory: &Memory, facts: &Facts, now: Timestamp) -> Memory {
    let Some(state) = memory.active() else {
        return begin::begin(memory, facts, seconds(now));
    };
    let mut turn = Turn {
        settings,
        facts,
        now: seconds(now),
        before: state.clone(),
        state: state.clone(),
        memory: memory.clone(),
    };
    turn.obey();
    if !turn.has_moved() {
        turn.follow_target();
    }
    if !turn.has_moved() {
        turn.go_on();
        turn.pause_if_wanted();
    }
    turn.split();
    turn.memory.rollout = Some(turn.state);
    turn.memory
}

/// The phases that may follow a phase directly.
pub fn followers(phase: Phase) -> &'static [Phase] {
    use Phase::{
        AwaitingApproval, AwaitingLock, CanaryAnalyzing, CanaryDeploying, Completed, Failed, Held, Idle, MainVerifying,
        Paused, PostMigrating, PreMigrating, Preflight, Promoting, RolledBack, RollingBack, Soaking, Superseded,
    };
    #[rustfmt::skip]
    let followers: &'static [Phase] = match phase {
        Idle | Completed | RolledBack | Superseded | Failed => &[Preflight],
        Preflight => &[AwaitingLock, Paused, Superseded, Failed],
        AwaitingLock => &[PreMigrating, CanaryDeploying, AwaitingApproval, Promoting, Paused, Superseded, Failed],
        PreMigrating => &[CanaryDeploying, AwaitingApproval, Promoting, Paused, Held, Superseded, Failed],
        CanaryDeploying => &[CanaryAnalyzing, Paused, Held, RollingBack, Superseded],
        CanaryAnalyzing => &[CanaryAnalyzing, AwaitingApproval, Promoting, Paused, Held, RollingBack, Superseded],
        AwaitingApproval => &[
            CanaryDeploying, Promoting, PostMigrating, Completed, Paused, Held, RollingBack, Superseded, Failed,
        ],
        Promoting => &[MainVerifying, Paused, Held, RollingBack],
        MainVerifying => &[Soaking, AwaitingApproval, PostMigrating, Completed, Paused, Held, RollingBack],
        Soaking => &[AwaitingApproval, PostMigrating, Completed, Paused, Held, RollingBack],
        PostMigrating => &[Completed, Held],
        Paused | Held => &[
            Preflight, AwaitingLock, PreMigrating, CanaryDeploying, CanaryAnalyzing, AwaitingApproval, Promoting,
            MainVerifying, Soaking, PostMigrating, RollingBack, Completed, Superseded, Failed,
        ],
        RollingBack => &[RolledBack, Held],
    };
    followers
}

/// Statuses keep whole seconds: what is compared with them must too.
fn seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// Whether the new version is what main is to run in that state.
pub(super) fn main_is_new(state: &RolloutState) -> bool {
    match standing(state) {
        Phase::Promoting | Phase::MainVerifying | Phase::Soaking | Phase::PostMigrating | Phase::Completed => true,
        Phase::AwaitingApproval => state.asks == Some(ApprovalStep::PostMigrations),
        _ => false,
    }
}

/// The phase that a roll-out is in, or stands still in.
pub(super) fn standing(state: &RolloutState) -> Phase {
    match state.phase {
        Phase::Paused | Phase::Held => state.stands_in.unwrap_or(state.phase),
        phase => phase,
    }
}

/// One turn of the machine.
struct Turn<'a> {
    settings: &'a Settings,
    facts: &'a Facts,
    now: Timestamp,
    before: RolloutState,
    state: RolloutState,
    memory: Memory,
}

impl Turn<'_> {
    fn has_moved(&self) -> bool {
        self.state.phase != self.before.phase || self.state.phase_since != self.before.phase_since
    }

    fn time(&self) -> Time {
        Time(self.now)
    }

    fn go_on(&mut self) {
        match self.state.phase {
            Phase::Preflight => self.preflight(),
            Phase::AwaitingLock => self.awaiting_lock(),
            Phase::PreMigrating => self.pre_migrating(),
            Phase::CanaryDeploying => self.canary_deploying(),
            Phase::CanaryAnalyzing => self.canary_analyzing(),
            Phase::AwaitingApproval => self.awaiting_approval(),
            Phase::Promoting => self.promoting(),
            Phase::MainVerifying => self.main_verifying(),
            Phase::Soaking => self.soaking(),
            Phase::PostMigrating => self.post_migrating(),
            Phase::RollingBack => self.rolling_back(),
            Phase::Paused => self.paused(),
            Phase::Held => self.held(),
            Phase::Idle | Phase::Completed | Phase::RolledBack | Phase::Superseded | Phase::Failed => {}
        }
    }

    /// Waits, and says for what.
    fn stay(&mut self, reason: Reason, message: impl AsRef<str>) {
        reason.as_str().clone_into(&mut self.state.reason);
        self.state.message = shortened(message.as_ref(), 1000);
    }

    fn go(&mut self, phase: Phase, reason: Reason, message: impl AsRef<str>) {
        let stood_in = standing(&self.state);
        self.state.phase = phase;
        self.state.phase_since = self.time();
        self.stay(reason, message);
        self.state.stands_in = matches!(phase, Phase::Paused | Phase::Held).then_some(stood_in);
        if !matches!(phase, Phase::Paused | Phase::Held | Phase::AwaitingApproval) {
            self.state.asks = None;
        }
        if matches!(phase, Phase::RollingBack | Phase::Held | Phase::Failed) && self.state.failed_at.is_none() {
            self.state.failed_at = Some(self.time());
        }
        if !matches!(phase, Phase::Paused | Phase::Held) {
            self.state.counters = Counters::default();
        }
        self.note_ends();
        if phase.is_final() {
            self.end();
        }
    }

    /// What is watched in a phase begins with it.
    fn note_ends(&mut self) {
        self.state.lacking_since = None;
        let seen = self
            .facts
            .main
            .as_ref()
            .map(|main| main.seen.as_slice())
            .unwrap_or_default();
        let restless = seen.iter().filter(|pod| pod.ends > 0).take(PODS);
        let ends = restless.map(|pod| (pod.name.clone(), pod.ends)).collect();
        self.state.ended_before = self.is_watched().then_some(ends);
    }

    /// Whether main is new, and nothing else is done than to look at it.
    fn is_watched(&self) -> bool {
        match self.state.phase {
            Phase::MainVerifying | Phase::Soaking => true,
            Phase::AwaitingApproval => self.state.asks == Some(ApprovalStep::PostMigrations),
            _ => false,
        }
    }

    fn end(&mut self) {
        self.state.finished_at = Some(self.time());
        let state = &self.state;
        let entry = HistoryEntry {
            id: state.id.clone(),
            from: state.from.as_ref().and_then(|from| from.version.clone()),
            to: state.to.version.clone(),
            digest: state.to.digest.clone(),
            result: state.phase,
            reason: state.reason.clone(),
            at: self.time(),
            by: state.requested_by.clone(),
        };
        if state.phase == Phase::Completed {
            self.forget_pending();
        }
        self.memory.history.insert(0, entry);
        self.memory.history.truncate(HISTORY);
    }

    /// Notes a decision; the record keeps it.
    fn decide(&mut self, kind: &str, actor: &str, reason: &str) {
        self.state.decisions.push(DecisionTaken {
            at: self.time(),
            kind: kind.to_owned(),
            actor: actor.to_owned(),
            reason: shortened(reason, 500),
        });
        let excess = self.state.decisions.len().saturating_sub(DECISIONS);
        self.state.decisions.drain(..excess);
    }

    fn waited(&self) -> Duration {
        since(&self.state.phase_since, self.now)
    }

    fn is_late(&self) -> bool {
        self.waited() >= self.settings.deadline
    }

    /// The new version is bad.
    fn bad(&mut self, reason: Reason, message: &str) {
        if self.state.failed_at.is_none() {
            self.state.failed_at = Some(self.time());
        }
        match self.may_go_back() {
            Err(why) => self.go(Phase::Held, Reason::CannotRollBack, format!("{message}. {why}")),
            Ok(()) if self.settings.rollback == RollbackMode::Auto => {
                self.refuse(message);
                self.decide("rollback", "operator", message);
                self.go(Phase::RollingBack, reason, message);
            }
            Ok(()) => {
                let message = format!(
                    "{message}. spec.rollout.rollback.mode leaves the decision to a person: annotate the Registry with \
                     berth.dev/rollout-abort={} to go back",
                    self.state.id
                );
                self.go(Phase::Held, reason, message);
            }
        }
    }

    fn refuse(&mut self, reason: &str) {
        let to = &self.state.to;
        self.memory.refused.retain(|refused| refused.revision != to.revision);
        let refused = Refused {
            revision: to.revision.clone(),
            image: to.image.clone(),
            digest: to.digest.clone(),
            rollout: self.state.id.clone(),
            reason: shortened(reason, 500),
        };
        self.memory.refused.insert(0, refused);
        self.memory.refused.truncate(REFUSED);
    }

    /// Whether the old version can serve again, or why not.
    fn may_go_back(&self) -> Result<(), String> {
        let state = &self.state;
        let fix = "Set spec.version to a newer version that is good, or annotate the Registry with \
                   berth.dev/rollout-retry to try this one again";
        let Some(from) = &state.from else {
            return Err(format!("There is no version to go back to. {fix}"));
        };
        let has_served = !matches!(
            standing(state),
            Phase::Preflight | Phase::AwaitingLock | Phase::PreMigrating
        );
        if has_served && state.contract.as_ref().is_some_and(|contract| contract.cannot_rollback) {
            return Err(format!("Older versions cannot read what this one has written. {fix}"));
        }
        if main_is_new(state) && !self.facts.can_rebuild_old {
            return Err(format!("What the old pods were made of is not kept any more. {fix}"));
        }
        if main_is_new(state) && !self.facts.target.has_jobs && from.image != state.to.image {
            return Err(format!(
                "The new version's pod has migrated the database file by itself, so the old version may not read it. {fix}"
            ));
        }
        let version = from.version.as_deref();
        let forbidden = super::guard::forbidden(version, self.memory.floor.as_ref(), &self.settings.requirements);
        match forbidden.filter(|_| main_is_new(state)) {
            Some((_, why)) => Err(format!("Going back is refused: {why}")),
            None => Ok(()),
        }
    }

    fn is_direct(&self) -> bool {
        self.state.strategy == Strategy::Direct
    }

    /// The lock was taken by somebody else: two are at work on one database. Or it is waited for again.
    fn has_lost_lock(&mut self) -> bool {
        match &self.facts.lock {
            LockFact::Held(locks) => {
                self.state.locks.clone_from(locks);
                false
            }
            LockFact::Unasked => false,
            LockFact::Busy(holder) => {
                self.stay(Reason::WaitingForLock, holder);
                true
            }
            LockFact::Lost(holder) => {
                let message = format!(
                    "the lock ran out while the operator was away: {holder}. When that is done, annotate the Registry with \
                     berth.dev/rollout-resume={}",
                    self.state.id
                );
                self.state.locks = Vec::new();
                self.go(Phase::Held, Reason::LockLost, message);
                true
            }
        }
    }
}

/// How long ago `then` was.
pub(super) fn since(then: &Time, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then.0)).unwrap_or_default()
}

/// `at` moved by `by` into the future.
fn later(at: &Time, by: Duration) -> Time {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::ZERO);
    Time(at.0.checked_add(by).unwrap_or(at.0))
}

/// Whether all `pods` are of that revision, and serve.
fn serve(pods: Option<&Pods>, revision: &str) -> bool {
    pods.is_some_and(|pods| pods.revision.as_deref() == Some(revision) && pods.rollout.is_complete())
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod restless;
#[cfg(test)]
mod table;
#[cfg(test)]
mod tests;
