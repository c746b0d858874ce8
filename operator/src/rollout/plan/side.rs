//! What comes from outside: commands, another target, a pause; pure.

use super::super::facts::{Command, CommandKind};
use super::{Turn, main_is_new, standing};
use crate::api::conditions::Reason;
use crate::api::rollout::status::Counters;
use crate::api::rollout::{ApprovalStep, Phase, RollbackMode};

impl Turn<'_> {
    /// Obeys the first command that was not obeyed yet. One whose annotation is gone may be given again in the same words.
    pub(super) fn obey(&mut self) {
        let facts = self.facts;
        let given: Vec<String> = facts.commands.iter().map(line).collect();
        self.state.commands.retain(|obeyed| given.contains(obeyed));
        let noted = |command: &&Command| {
            let line = line(command);
            command.rollout == self.state.id && !self.state.commands.contains(&line)
        };
        let Some(command) = facts.commands.iter().find(noted) else {
            return;
        };
        let prefix = format!("{} ", command.kind.as_str());
        self.state.commands.retain(|obeyed| !obeyed.starts_with(&prefix));
        self.state.commands.push(line(command));
        self.decide(command.kind.as_str(), &command.by, &command.reason);
        match command.kind {
            CommandKind::Pause => self.pause(
                Reason::UserRequested,
                &format!("{} wanted it: {}", command.by, command.reason),
            ),
            CommandKind::Resume => self.resume("a person wanted it to go on"),
            CommandKind::Abort => self.abort(
                Reason::UserAborted,
                &format!("{} wanted it: {}", command.by, command.reason),
            ),
            CommandKind::Promote => self.promote(&command.by),
            CommandKind::SkipStep => self.skip(&command.by),
            CommandKind::Retry => self.retry(),
        }
    }

    fn promote(&mut self, by: &str) {
        let message = format!("{by} wanted it to go on without further measurement");
        match standing(&self.state) {
            Phase::CanaryAnalyzing => {
                self.decide("unmeasured", by, &message);
                self.ask_or(ApprovalStep::Main);
            }
            Phase::MainVerifying => self.after_main(),
            Phase::Soaking => self.ask_or(ApprovalStep::PostMigrations),
            _ => {}
        }
    }

    fn skip(&mut self, by: &str) {
        match standing(&self.state) {
            Phase::CanaryAnalyzing => self.pass_step(&format!("{by} wanted the next step")),
            Phase::MainVerifying => self.after_main(),
            Phase::Soaking => self.ask_or(ApprovalStep::PostMigrations),
            Phase::Preflight if self.state.phase == Phase::Preflight => {
                self.state.strategy = crate::api::rollout::Strategy::Direct;
            }
            _ => {}
        }
    }

    fn retry(&mut self) {
        if self.state.phase != Phase::Held {
            return;
        }
        let stands_in = standing(&self.state);
        if matches!(stands_in, Phase::PreMigrating | Phase::PostMigrating) {
            self.state.attempt = self.state.attempt.saturating_add(1);
        }
        self.state.counters = Counters::default();
        self.state.bad_measurements = 0;
        self.state.failed_at = None;
        self.resume("a person wanted another try");
    }

    pub(super) fn abort(&mut self, reason: Reason, message: &str) {
        match standing(&self.state) {
            // A migration is never cut off: its end decides.
            Phase::PreMigrating if self.state.phase == Phase::PreMigrating => {
                self.abort_after_migration(reason, message);
            }
            Phase::Preflight | Phase::AwaitingLock | Phase::PreMigrating => {
                self.refuse_if_bad(reason, message);
                self.go(Phase::Failed, reason, message);
            }
            Phase::RollingBack | Phase::PostMigrating => {}
            _ if main_is_new(&self.state) && self.settings.rollback == RollbackMode::Never => {
                self.decide("abort-refused", "operator", "spec.rollout.rollback.mode is Never");
            }
            _ => match self.may_go_back() {
                Ok(()) => {
                    self.refuse_if_bad(reason, message);
                    self.go(Phase::RollingBack, reason, message);
                }
                Err(why) => self.decide("abort-refused", "operator", &why),
            },
        }
    }

    fn abort_after_migration(&mut self, reason: Reason, message: &str) {
        use super::super::facts::JobFact;
        match self.facts.pre {
            JobFact::Absent | JobFact::Running { .. } => {
                let message = format!("{message}; the migration that runs is let come to its end");
                // Not obeyed yet: asked again at each pass until the Job has ended.
                self.state.commands.retain(|obeyed| !obeyed.starts_with("abort "));
                self.state.decisions.clone_from(&self.before.decisions);
                self.stay(Reason::Migrating, message);
            }
            JobFact::Failed { .. } | JobFact::Succeeded { .. } => {
                self.refuse_if_bad(reason, message);
                self.go(Phase::Failed, reason, message);
            }
        }
    }

    /// A version that a person took back is not tried again by itself; one that the spec no longer names may be.
    fn refuse_if_bad(&mut self, reason: Reason, message: &str) {
        if reason == Reason::UserAborted {
            self.refuse(message);
        }
    }

    /// What happens when the spec asks for something else in the middle of a roll-out.
    pub(super) fn follow_target(&mut self) {
        use super::super::facts::JobFact;
        let wanted = &self.facts.target.revision;
        if wanted.revision == self.state.to.revision {
            return;
        }
        let is_back = self
            .state
            .from
            .as_ref()
            .is_some_and(|from| from.revision == wanted.revision);
        match standing(&self.state) {
            Phase::RollingBack if self.state.phase == Phase::RollingBack => {}
            // What stands still for a person's word is not half done.
            Phase::Promoting | Phase::MainVerifying | Phase::PostMigrating
                if !matches!(self.state.phase, Phase::Held | Phase::Paused) => {}
            Phase::Soaking => {
                let message = "another version is wanted; the last migrations of this one wait for it";
                self.go(Phase::Completed, Reason::PostPending, message);
            }
            Phase::AwaitingApproval if self.state.asks == Some(ApprovalStep::PostMigrations) => {
                let message = "another version is wanted; the last migrations of this one wait for it";
                self.go(Phase::Completed, Reason::PostPending, message);
            }
            Phase::PreMigrating
                if self.state.phase != Phase::Held
                    && matches!(self.facts.pre, JobFact::Absent | JobFact::Running { .. }) =>
            {
                self.stay(
                    Reason::Migrating,
                    "another version is wanted; the migration that runs is let come to its end",
                );
            }
            Phase::CanaryDeploying | Phase::CanaryAnalyzing | Phase::AwaitingApproval if is_back => {
                self.abort(Reason::Reverted, "the spec asks for the old version again");
            }
            _ => self.go(
                Phase::Superseded,
                Reason::Superseded,
                format!("{} is wanted instead", wanted.image),
            ),
        }
    }

    fn pause(&mut self, reason: Reason, message: &str) {
        if is_safe(self.state.phase) {
            self.go(Phase::Paused, reason, message);
        } else if !matches!(self.state.phase, Phase::Paused | Phase::Held) {
            self.state.pause_next = true;
        }
    }

    /// A pause that is wanted begins where nothing is half done: in a phase in which nothing is, or after one.
    pub(super) fn pause_if_wanted(&mut self) {
        let (reason, message) = if self.settings.paused {
            (Reason::PausedInSpec, "spec.rollout.paused is set")
        } else if self.state.pause_next {
            (Reason::UserRequested, "a person wanted it to stand still")
        } else {
            return;
        };
        let phase = self.state.phase;
        let has_just_come = self.has_moved()
            && matches!(self.before.phase, Phase::PreMigrating | Phase::Promoting)
            && (is_safe(phase) || matches!(phase, Phase::Promoting | Phase::MainVerifying));
        if has_just_come || (!self.has_moved() && is_safe(phase)) {
            self.state.pause_next = false;
            self.go(Phase::Paused, reason, message);
        }
    }

    /// Goes on when the spec no longer says to stand still.
    pub(super) fn paused(&mut self) {
        if self.state.reason == Reason::PausedInSpec.as_str() && !self.settings.paused {
            self.resume("spec.rollout.paused is gone");
        }
    }
}

fn line(command: &Command) -> String {
    format!("{} {}", command.kind.as_str(), command.value)
}

/// Phases in which nothing is half done.
fn is_safe(phase: Phase) -> bool {
    matches!(
        phase,
        Phase::Preflight
            | Phase::AwaitingLock
            | Phase::CanaryDeploying
            | Phase::CanaryAnalyzing
            | Phase::AwaitingApproval
            | Phase::Soaking
    )
}
