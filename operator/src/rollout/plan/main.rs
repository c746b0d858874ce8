//! Every pod, and what comes after; pure.

use super::super::facts::{Evidence, JobFact, Probe, Verdict};
use super::canary::outcome;
use super::unrest::{forgiven, unrest};
use super::{ERRORS, PODS, Turn, serve};
use crate::api::conditions::Reason;
use crate::api::rollout::{ApprovalStep, Phase, PostPolicy};

/// How long the new pods are watched at most before the canary goes.
const VERIFY: std::time::Duration = std::time::Duration::from_mins(2);

/// What a look at pods shows, once all clients use them.
enum Shown {
    Good,
    Bad,
    /// Too little was measured, or nothing.
    Nothing,
}

impl Turn<'_> {
    pub(super) fn promoting(&mut self) {
        if self.has_lost_lock() {
            return;
        }
        let main = self.facts.main.clone().unwrap_or_default();
        if serve(Some(&main), &self.state.to.revision) {
            let message = "every pod runs the new version; they are looked at before the canary goes";
            return self.go(Phase::MainVerifying, Reason::Verifying, message);
        }
        let message = format!(
            "{} of {} pods are of the wanted version",
            main.rollout.updated, main.rollout.wanted
        );
        self.wait_for(&main, Reason::RollingOut, &message);
    }

    /// Whether the pods that all clients use are restless by the version's fault: then the roll-out is on its way out.
    pub(super) fn is_restless(&mut self) -> bool {
        let Some(main) = &self.facts.main else { return false };
        let Some(before) = &self.state.ended_before else {
            // The status was lost, or is of an operator that noted nothing: what ends from now on counts.
            self.note_ends();
            return false;
        };
        let since = self.state.phase_since.0;
        let before = forgiven(&main.seen, before, PODS, self.now);
        let found = unrest(&main.seen, &before, since, self.now)
            .filter(|_| main.revision.as_deref() == Some(self.state.to.revision.as_str()));
        self.state.ended_before = Some(before);
        let Some((reason, message)) = found else { return false };
        let words = main.trouble.as_ref().map(|trouble| format!(". {}", trouble.message));
        let message = format!("{message}{}", words.unwrap_or_default());
        self.bad(reason, &message);
        true
    }

    pub(super) fn main_verifying(&mut self) {
        let main = self.facts.main.clone().unwrap_or_default();
        if self.is_restless() {
            return;
        }
        if !self.serves_again(serve(Some(&main), &self.state.to.revision)) {
            return self.wait_for(&main, Reason::TooFewReplicas, "not all of the new pods serve");
        }
        let Some(evidence) = self.facts.evidence.clone() else {
            return;
        };
        let enough = if self.is_direct() {
            std::time::Duration::ZERO
        } else {
            VERIFY.min(self.settings.bake_min)
        };
        self.weigh_main(&evidence);
        if self.has_moved() {
            return;
        }
        if matches!(evidence.probe, Probe::Unreachable(_)) {
            return self.unreachable(&evidence.message);
        }
        let subject = "the new pods could not be judged by the end of the longest bake, though the canary was";
        match self.shown(&evidence) {
            Shown::Good if self.waited() >= enough => self.after_main(),
            Shown::Nothing if self.waited() >= enough.max(self.settings.bake_max) => {
                self.cannot_tell(&evidence, subject, |turn, _| turn.after_main());
            }
            Shown::Good | Shown::Nothing | Shown::Bad => {}
        }
    }

    /// What a look at pods without a canary beside them shows.
    fn shown(&self, evidence: &Evidence) -> Shown {
        let is_out_of_reach = self.is_direct() && matches!(evidence.probe, Probe::Unreachable(_));
        let verdict = if is_out_of_reach {
            evidence.verdict
        } else {
            outcome(evidence).0
        };
        match verdict {
            Verdict::HardFail | Verdict::Fail | Verdict::Shared => Shown::Bad,
            Verdict::Strong | Verdict::Weak => Shown::Good,
            Verdict::NoData | Verdict::Unsure | Verdict::Error if self.needs_no_measurement() => Shown::Good,
            Verdict::NoData | Verdict::Unsure | Verdict::Error => Shown::Nothing,
        }
    }

    /// Pods on a volume have no canary, and are found good by the operator's own requests. And what a person has put forward
    /// unmeasured, or the spec, is not asked to be measured afterwards.
    fn needs_no_measurement(&self) -> bool {
        let unmeasured = ["unmeasured", "synthetic-only"];
        let mut decisions = self.state.decisions.iter();
        self.is_direct()
            || self.settings.skip.is_some()
            || decisions.any(|taken| unmeasured.contains(&taken.kind.as_str()))
    }

    /// There is no canary any more that main could be compared with.
    fn weigh_main(&mut self, evidence: &Evidence) {
        let mut evidence = evidence.clone();
        if evidence.verdict == Verdict::Shared {
            evidence.verdict = Verdict::Fail;
        }
        if self.is_direct() && matches!(evidence.probe, Probe::Unreachable(_)) {
            self.state.counters.errors = self.state.counters.errors.saturating_add(1);
            return;
        }
        self.weigh(&evidence);
        if !self.has_moved() {
            self.stay(
                Reason::Verifying,
                "every pod runs the new version; they are looked at before the canary goes",
            );
        }
    }

    /// Pods on a volume are found good by Kubernetes' own probes where the operator cannot reach them.
    fn unreachable(&mut self, why: &str) {
        if self.is_direct() && self.state.counters.errors >= ERRORS {
            self.decide("unprobed", "operator", why);
            self.after_main();
        }
    }

    pub(super) fn after_main(&mut self) {
        let pending = self
            .state
            .contract
            .as_ref()
            .is_some_and(|contract| !contract.pending_post.is_empty());
        if !pending || self.settings.external {
            return self.go(Phase::Completed, Reason::AsExpected, "every pod runs the new version");
        }
        match self.settings.post {
            PostPolicy::Immediate | PostPolicy::WithNextRelease => self.ask_or(ApprovalStep::PostMigrations),
            PostPolicy::AfterSoak => {
                let message = "every pod runs the new version; it is watched before migrations that end the way back";
                self.go(Phase::Soaking, Reason::Soaking, message);
            }
            PostPolicy::Manual => {
                let message = format!(
                    "every pod runs the new version; its last migrations are run once the Registry is annotated with \
                     berth.dev/rollout-promote={}",
                    self.state.id
                );
                self.go(Phase::Soaking, Reason::Soaking, message);
            }
        }
    }

    pub(super) fn soaking(&mut self) {
        if self.is_restless() {
            return;
        }
        if let Some(evidence) = self.facts.evidence.clone() {
            // A source that is away for some minutes of a day stops nothing; what is good or bad counts.
            if !matches!(outcome(&evidence).0, Verdict::Error | Verdict::NoData | Verdict::Unsure) {
                self.weigh_main(&evidence);
            }
            if !self.has_moved() {
                self.end_of_soak(&evidence);
            }
        }
        if !self.has_moved() {
            self.before.message.clone_into(&mut self.state.message);
            self.before.reason.clone_into(&mut self.state.reason);
        }
    }

    /// The way back is closed only behind pods that were seen to be good.
    fn end_of_soak(&mut self, evidence: &Evidence) {
        let main = self.facts.main.clone().unwrap_or_default();
        let is_over = self.settings.post == PostPolicy::AfterSoak && self.waited() >= self.settings.soak;
        if !is_over || !serve(Some(&main), &self.state.to.revision) {
            return;
        }
        let longest = self.settings.soak.saturating_add(self.settings.bake_max);
        let subject = "the new pods were watched, and at the end nothing showed that they are good";
        match self.shown(evidence) {
            Shown::Good => self.ask_or(ApprovalStep::PostMigrations),
            Shown::Nothing if self.waited() >= longest => {
                self.cannot_tell(evidence, subject, |turn, _| turn.ask_or(ApprovalStep::PostMigrations));
            }
            Shown::Nothing | Shown::Bad => {}
        }
    }

    /// The floor is written with the phase, so before the Job that needs it.
    pub(super) fn migrate_after(&mut self) {
        if self.settings.post == PostPolicy::WithNextRelease {
            return self.postpone();
        }
        let contract = self.state.contract.clone().unwrap_or_default();
        self.raise_floor_after(&contract.pending_post);
        let message = "migrations that the old version would not stand are run";
        self.go(Phase::PostMigrating, Reason::PostMigrating, message);
    }

    fn raise_floor_after(&mut self, migrations: &[String]) {
        let contract = self.state.contract.clone().unwrap_or_default();
        let named = Some(contract.version.clone()).filter(|version| !version.is_empty());
        let version = contract.min_version.or(named).or_else(|| self.state.to.version.clone());
        let reason = format!(
            "{} has run its last migrations: {}",
            contract.version,
            migrations.join(", ")
        );
        self.raise_floor(version.unwrap_or_default(), reason);
    }

    /// Whatever Job has applied them: with the last migrations of a version no older one works.
    pub(super) fn raise_floor_by(&mut self, applied: &[String]) {
        let last = self
            .state
            .contract
            .as_ref()
            .map(|contract| contract.pending_post.clone());
        let mut last = last.unwrap_or_default();
        last.retain(|id| applied.contains(id));
        if !last.is_empty() {
            self.raise_floor_after(&last);
        }
    }

    pub(super) fn post_migrating(&mut self) {
        if self.has_lost_lock() {
            return;
        }
        match &self.facts.post {
            JobFact::Succeeded { migrated, .. } => match self.read_back(migrated.as_ref()) {
                Ok(()) => {
                    let message = "every pod runs the new version, and every migration is applied";
                    self.go(Phase::Completed, Reason::AsExpected, message);
                }
                Err(why) => self.go(Phase::Held, Reason::PostMigrationFailed, why),
            },
            JobFact::Failed { message, migrated, .. } => {
                self.read_back(migrated.as_ref()).ok();
                let message = format!(
                    "the last migrations failed; the pods go on serving. Put the cause right and annotate the Registry with \
                     berth.dev/rollout-retry={}. The Job's last lines: {message}",
                    self.state.id
                );
                self.go(Phase::Held, Reason::PostMigrationFailed, message);
            }
            JobFact::Absent | JobFact::Running { trouble: None } => {
                self.stay(
                    Reason::PostMigrating,
                    "migrations that the old version would not stand are run",
                );
            }
            JobFact::Running { trouble: Some(trouble) } => self.stay(Reason::PostMigrating, trouble),
        }
    }

    pub(super) fn rolling_back(&mut self) {
        let from = self.state.from.clone().unwrap_or_default();
        let main = self.facts.main.clone().unwrap_or_default();
        let canary_pods = self
            .facts
            .canary
            .as_ref()
            .map_or(0, |canary| canary.rollout.wanted.max(canary.rollout.replicas));
        let is_back = main.revision.as_deref() == Some(from.revision.as_str()) && main.rollout.is_complete();
        if is_back && canary_pods == 0 {
            self.state.weight = crate::api::rollout::status::Weight::default();
            let (reason, message) = (self.reason(), self.state.message.clone());
            return self.go(Phase::RolledBack, reason, message);
        }
        if self.is_late() {
            let message = format!(
                "the old version did not come back in time ({} of {} pods serve), so a person must look: {}",
                main.rollout.ready, main.rollout.wanted, self.state.message
            );
            self.go(Phase::Held, Reason::ProgressDeadlineExceeded, message);
        }
    }

    /// The reason that was given last.
    fn reason(&self) -> Reason {
        Reason::of_rollout(&self.state.reason)
    }
}
