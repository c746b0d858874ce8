//! The canary: a few pods first, measured before the others follow; pure.

use super::super::facts::{Burn, Evidence, Pods, Probe, Verdict};
use super::super::guard;
use super::{ERRORS, FAILURES, FAILURES_IN_ALL, HELD, Turn, later, serve, since, standing};
use crate::api::conditions::Reason;
use crate::api::rollout::status::LastVerdict;
use crate::api::rollout::{ApprovalStep, Decision, OnNoData, Phase, RollbackFloor, RollbackMode};
use crate::registry::trouble::Needs;

/// How often a container of a new version may be started before it counts as one that does not start.
const STARTS: i32 = 2;

impl Turn<'_> {
    /// Goes to `step`, or asks for it first.
    pub(super) fn ask_or(&mut self, step: ApprovalStep) {
        if self.must_ask(step) {
            let message = format!(
                "{} of {} needs the word of {} {}: create a RegistryApproval for roll-out {} and step {}, such as with \
                 `kubectl berth rollout approve`",
                self.naming(step),
                self.state.to.image,
                self.settings.approval.min_approvers.unwrap_or(1),
                if self.settings.approval.min_approvers.unwrap_or(1) == 1 {
                    "person"
                } else {
                    "people"
                },
                self.state.id,
                step.as_str()
            );
            self.go(Phase::AwaitingApproval, Reason::AwaitingApproval, message);
            self.state.asks = Some(step);
            self.note_ends();
            return;
        }
        match step {
            ApprovalStep::Canary => self.deploy_canary(),
            ApprovalStep::Main => self.go(Phase::Promoting, Reason::RollingOut, "every pod is replaced"),
            ApprovalStep::PostMigrations => self.migrate_after(),
        }
    }

    fn naming(&self, step: ApprovalStep) -> &'static str {
        match step {
            ApprovalStep::Canary => "the canary",
            ApprovalStep::Main if self.is_direct() => "the replacement of every pod",
            ApprovalStep::Main => "the promotion",
            ApprovalStep::PostMigrations => "the last migration",
        }
    }

    /// A version that no other can follow back is not started without a person.
    fn must_ask(&self, step: ApprovalStep) -> bool {
        if self.state.approved.contains(&step) {
            return false;
        }
        let first = if self.is_direct() {
            ApprovalStep::Main
        } else {
            ApprovalStep::Canary
        };
        let is_one_way = self
            .state
            .contract
            .as_ref()
            .is_some_and(|contract| contract.cannot_rollback);
        self.settings.approval.before.contains(&step) || (is_one_way && step == first)
    }

    fn deploy_canary(&mut self) {
        self.raise_floor_of_one_way();
        self.state.step = 0;
        self.state.baking_since = None;
        self.go(
            Phase::CanaryDeploying,
            Reason::CanaryStarting,
            "the canary's pods start",
        );
    }

    /// Once such a version serves, what it writes keeps every older one away.
    pub(super) fn raise_floor_of_one_way(&mut self) {
        let Some(contract) = self.state.contract.clone().filter(|contract| contract.cannot_rollback) else {
            return;
        };
        let reason = format!("no older version can read what {} has written", contract.version);
        self.raise_floor(contract.min_version.unwrap_or(contract.version), reason);
    }

    /// The floor only ever rises.
    pub(super) fn raise_floor(&mut self, version: String, reason: String) {
        let is_higher = self.memory.floor.as_ref().is_none_or(|floor| {
            guard::compare(&floor.version, &version).is_none_or(|order| order == std::cmp::Ordering::Less)
        });
        if is_higher && !version.is_empty() {
            self.decide("floor", "operator", &format!("{version}: {reason}"));
            self.memory.floor = Some(RollbackFloor { version, reason });
        }
    }

    pub(super) fn canary_deploying(&mut self) {
        if self.has_lost_lock() {
            return;
        }
        let canary = self.facts.canary.clone().unwrap_or_default();
        if !serve(Some(&canary), &self.state.to.revision) {
            return self.wait_for(&canary, Reason::CanaryStarting, "the canary's pods start");
        }
        let Some(evidence) = self.facts.evidence.clone() else {
            return self.stay(
                Reason::CanaryStarting,
                "the canary's pods serve; the operator pushes and pulls through them",
            );
        };
        match &evidence.probe {
            Probe::Passed => {
                let message = "the canary serves, and the operator has pushed and pulled through it";
                self.note(&evidence);
                self.go(Phase::CanaryAnalyzing, Reason::Baking, message);
            }
            Probe::Failed(_) | Probe::Unreachable(_) => self.weigh(&evidence),
        }
    }

    /// Waits for pods to serve, unless it is clear that they will not.
    pub(super) fn wait_for(&mut self, pods: &Pods, reason: Reason, message: &str) {
        let is_ours = pods.revision.as_deref() == Some(self.state.to.revision.as_str());
        let trouble = pods.trouble.clone().filter(|_| is_ours);
        let crashes = trouble.as_ref().filter(|trouble| {
            trouble.needs == Needs::Person && matches!(trouble.reason, Reason::PodsCrash | Reason::MigrationFailed)
        });
        if let Some(crash) = crashes.filter(|_| pods.restarts >= STARTS) {
            return self.bad(crash.reason, &crash.message.clone());
        }
        let message = trouble.map_or_else(|| message.to_owned(), |trouble| trouble.message);
        let is_late = match &self.state.lacking_since {
            Some(from) => since(from, self.now) >= self.settings.deadline,
            None => self.is_late(),
        };
        if is_late || (is_ours && pods.rollout.timed_out) {
            let message = format!("the new pods did not serve in time: {message}");
            return self.bad(Reason::ProgressDeadlineExceeded, &message);
        }
        self.stay(reason, message);
    }

    pub(super) fn canary_analyzing(&mut self) {
        if self.has_lost_lock() {
            return;
        }
        let canary = self.facts.canary.clone().unwrap_or_default();
        if canary.restarts > 0 {
            let why = canary
                .trouble
                .map(|trouble| format!(": {}", trouble.message))
                .unwrap_or_default();
            let message = format!(
                "the canary's containers ended by themselves {} times{why}",
                canary.restarts
            );
            return self.bad(Reason::PodsCrash, &message);
        }
        let is_whole = serve(Some(&canary), &self.state.to.revision) && canary.rollout.wanted == self.wanted_pods();
        if !self.serves_again(is_whole) {
            self.state.baking_since = None;
            return self.wait_for(&canary, Reason::Baking, "not all of the canary's pods serve");
        }
        self.weight(canary.rollout.ready);
        if self.state.baking_since.is_none() {
            self.state.baking_since = Some(self.time());
        }
        if let Some(reason) = self.settings.skip.clone() {
            self.decide("skip-analysis", "spec", &reason);
            return self.pass_step("nothing was measured, as the spec says");
        }
        match self.facts.evidence.clone() {
            Some(evidence) => self.judge(&evidence),
            None => self.stay(Reason::Baking, self.baking()),
        }
    }

    /// Notes since when pods that served do not: a pod that is gone late in a long phase has its time to come back.
    pub(super) fn serves_again(&mut self, serve: bool) -> bool {
        let lacking = if serve {
            None
        } else {
            self.state.lacking_since.clone().or_else(|| Some(self.time()))
        };
        self.state.lacking_since = lacking;
        serve
    }

    fn baking(&self) -> String {
        let step = self.state.step.saturating_add(1);
        format!("the canary is measured, step {step} of {}", self.settings.step_count())
    }

    pub(super) fn wanted_pods(&self) -> i32 {
        let main = self.facts.main.as_ref().map_or(1, |main| main.rollout.wanted);
        self.settings.canary_pods(self.state.step, main)
    }

    fn weight(&mut self, canary: i32) {
        let main = self.facts.main.as_ref().map_or(0, |main| main.rollout.ready);
        let share = |canary: i32, main: i32| canary.saturating_mul(100) / canary.saturating_add(main).max(1);
        let step = usize::try_from(self.state.step)
            .ok()
            .and_then(|step| self.settings.steps.get(step));
        self.state.weight.actual = share(canary, main);
        self.state.weight.wanted = step.copied().unwrap_or_else(|| share(canary, main));
    }

    fn judge(&mut self, evidence: &Evidence) {
        let is_known = self.state.verdict.as_ref().is_some_and(|last| last.at.0 >= evidence.at);
        if is_known {
            return;
        }
        self.weigh(evidence);
        if self.has_moved() {
            return;
        }
        let baked = self
            .state
            .baking_since
            .as_ref()
            .map(|from| since(from, self.now))
            .unwrap_or_default();
        let is_over = baked >= self.settings.bake_max;
        let subject = "the canary could not be judged by the end of the longest bake";
        // What was measured of others does not outweigh a request of the operator's own that failed.
        match outcome(evidence).0 {
            Verdict::Strong if baked >= self.settings.bake_min => self.pass_step(&evidence.message),
            Verdict::Strong | Verdict::Weak if is_over => {
                let message = format!("{}; so few requests show no more", evidence.message);
                self.decide("weak-evidence", "operator", &message);
                self.pass_step(&message);
            }
            Verdict::Unsure | Verdict::NoData | Verdict::Error if is_over => {
                self.cannot_tell(evidence, subject, Self::pass_step);
            }
            _ => {}
        }
    }

    /// Counts a measurement, and ends what has been bad too often.
    pub(super) fn weigh(&mut self, evidence: &Evidence) {
        let (verdict, reason, message) = outcome(evidence);
        let counters = &mut self.state.counters;
        counters.failures = if verdict == Verdict::Fail {
            counters.failures.saturating_add(1)
        } else {
            0
        };
        counters.shared = if verdict == Verdict::Shared {
            counters.shared.saturating_add(1)
        } else {
            0
        };
        counters.errors = if verdict == Verdict::Error {
            counters.errors.saturating_add(1)
        } else {
            0
        };
        let counters = *counters;
        self.count_in_all(verdict);
        self.note(evidence);
        match verdict {
            Verdict::HardFail => self.bad(reason, &message),
            Verdict::Fail if counters.failures >= FAILURES => self.bad(reason, &message),
            Verdict::Fail if self.is_bad_too_often() => {
                let count = self.state.bad_measurements;
                let message = format!("{count} measurements were bad, with others in between; the last: {message}");
                self.bad(reason, &message);
            }
            Verdict::Shared if counters.shared >= FAILURES => self.go(Phase::Held, reason, message),
            Verdict::Error if counters.errors >= ERRORS => {
                let message = format!(
                    "{message}. Nothing is promoted and nothing is taken back on no evidence: put that right and annotate \
                     the Registry with berth.dev/rollout-resume={}",
                    self.state.id
                );
                self.go(Phase::Held, reason, message);
            }
            Verdict::Fail | Verdict::Shared | Verdict::Error => self.stay(reason, message),
            Verdict::NoData => self.stay(
                Reason::Baking,
                format!("{}; too little has come for a verdict", self.baking()),
            ),
            Verdict::Unsure => self.stay(Reason::Baking, format!("{}; neither good nor bad yet", self.baking())),
            Verdict::Weak | Verdict::Strong => self.stay(Reason::Baking, self.baking()),
        }
    }

    /// Of the thousands of measurements of a soak some are bad by chance, so that only those in a row count there.
    fn count_in_all(&mut self, verdict: Verdict) {
        if verdict == Verdict::Fail && self.state.phase != Phase::Soaking {
            self.state.bad_measurements = self.state.bad_measurements.saturating_add(1);
        }
    }

    fn is_bad_too_often(&self) -> bool {
        self.state.bad_measurements >= FAILURES_IN_ALL && self.state.phase != Phase::Soaking
    }

    /// Keeps what was measured where it says something new: a status that is written at each tick says nothing.
    fn note(&mut self, evidence: &Evidence) {
        let (verdict, ..) = outcome(evidence);
        let counters_moved = self.state.counters != self.before.counters;
        let is_new = self
            .state
            .verdict
            .as_ref()
            .is_none_or(|last| last.word != verdict.as_str());
        if is_new || counters_moved || verdict == Verdict::HardFail {
            self.keep(evidence);
        }
    }

    fn keep(&mut self, evidence: &Evidence) {
        let (verdict, ..) = outcome(evidence);
        let mut measurements = evidence.measurements.clone();
        measurements.truncate(16);
        self.state.verdict = Some(LastVerdict {
            at: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(super::seconds(evidence.at)),
            word: verdict.as_str().to_owned(),
            measurements,
        });
    }

    pub(super) fn pass_step(&mut self, message: &str) {
        if let Some(evidence) = self.facts.evidence.clone() {
            self.keep(&evidence);
        }
        let next = self.state.step.saturating_add(1);
        if next < self.settings.step_count() {
            self.state.step = next;
            self.state.baking_since = None;
            return self.go(
                Phase::CanaryAnalyzing,
                Reason::Baking,
                format!("the next step: {message}"),
            );
        }
        self.ask_or(ApprovalStep::Main);
    }

    /// The time for a verdict is over. `pass` goes on where the operator's own requests are proof enough.
    pub(super) fn cannot_tell(&mut self, evidence: &Evidence, subject: &str, pass: fn(&mut Self, &str)) {
        let (verdict, _, message) = outcome(evidence);
        let reason = match verdict {
            Verdict::NoData => Reason::NoData,
            Verdict::Error => Reason::QueryError,
            _ => Reason::Inconclusive,
        };
        let said = format!("{subject}: {message}");
        match self.settings.on_no_data {
            OnNoData::Fail => self.bad(reason, &said),
            OnNoData::ProceedIfSynthetic if verdict == Verdict::NoData => {
                self.decide("synthetic-only", "operator", &said);
                pass(self, &said);
            }
            OnNoData::Pause | OnNoData::ProceedIfSynthetic => {
                let id = &self.state.id;
                let message = format!(
                    "{said}. Annotate the Registry with berth.dev/rollout-promote={id} to go on, \
                     berth.dev/rollout-resume={id} to measure longer, or berth.dev/rollout-abort={id} to go back"
                );
                self.keep(evidence);
                self.go(Phase::Paused, reason, message);
            }
        }
    }

    pub(super) fn awaiting_approval(&mut self) {
        let Some(step) = self.state.asks else {
            return self.start_pods();
        };
        let canary = self
            .facts
            .canary
            .as_ref()
            .filter(|_| step == ApprovalStep::Main && !self.is_direct());
        if let Some(restarts) = canary.map(|canary| canary.restarts).filter(|restarts| *restarts > 0) {
            let message = format!("the canary's containers ended by themselves {restarts} times");
            return self.bad(Reason::PodsCrash, &message);
        }
        if step == ApprovalStep::PostMigrations && self.is_restless() {
            return;
        }
        let mut approvers: Vec<&str> = Vec::new();
        for word in self.facts.approvals.clone().iter().filter(|word| word.step == step) {
            if word.digest.is_some() && word.digest != self.state.to.digest {
                continue;
            }
            if word.decision == Decision::Reject {
                self.decide("reject", &word.by, &word.reason);
                return self.not_approved(
                    step,
                    Reason::ApprovalRejected,
                    &format!("{} said no: {}", word.by, word.reason),
                );
            }
        }
        let own = self
            .state
            .requested_by
            .as_deref()
            .filter(|_| self.settings.approval.four_eyes);
        for word in self.facts.approvals.iter().filter(|word| word.step == step) {
            let is_this = word.digest == self.state.to.digest;
            if is_this && Some(word.by.as_str()) != own && !approvers.contains(&word.by.as_str()) {
                approvers.push(&word.by);
            }
        }
        let needed = usize::try_from(self.settings.approval.min_approvers.unwrap_or(1)).unwrap_or(1);
        if approvers.len() >= needed {
            let approvers: Vec<String> = approvers.into_iter().map(str::to_owned).collect();
            for by in &approvers {
                self.decide("approve", by, step.as_str());
            }
            self.state.approved.push(step);
            return self.ask_or(step);
        }
        if self.waited() >= self.settings.approval_ttl {
            self.not_approved(step, Reason::ApprovalExpired, "nobody approved in time");
        }
    }

    fn not_approved(&mut self, step: ApprovalStep, reason: Reason, message: &str) {
        match step {
            ApprovalStep::PostMigrations => {
                let message = format!("{message}: the last migrations wait for the next roll-out");
                self.go(Phase::Completed, Reason::PostPending, message);
            }
            ApprovalStep::Main if !self.is_direct() => {
                self.refuse(message);
                self.go(Phase::RollingBack, reason, message);
            }
            ApprovalStep::Canary | ApprovalStep::Main => self.go(Phase::Failed, reason, message),
        }
    }

    /// A canary that nobody judges does not answer clients for ever. The version is not refused: nothing bad is known of it.
    pub(super) fn held(&mut self) {
        let is_told = self.state.reason == Reason::HeldTooLong.as_str();
        if is_told || !self.has_canary() || self.waited() < HELD {
            return;
        }
        let hours = HELD.as_secs() / 3600;
        let long = format!("the canary has stood still for {hours} h and nobody has said anything");
        let was = self.state.message.clone();
        let why = match self.may_go_back() {
            Err(why) => why,
            Ok(()) if self.settings.rollback != RollbackMode::Auto => format!(
                "spec.rollout.rollback.mode leaves the decision to a person: annotate the Registry with \
                 berth.dev/rollout-abort={} to go back",
                self.state.id
            ),
            Ok(()) => {
                let message = format!("{long}, so it is taken out of traffic: {was}");
                self.decide("rollback", "operator", &message);
                return self.go(Phase::RollingBack, Reason::HeldTooLong, message);
            }
        };
        self.stay(
            Reason::HeldTooLong,
            format!("{long}; it goes on answering clients. {why}. It was held because {was}"),
        );
    }

    /// Whether the canary answers clients, and main is the old version.
    fn has_canary(&self) -> bool {
        let is_out = match standing(&self.state) {
            Phase::CanaryDeploying | Phase::CanaryAnalyzing => true,
            Phase::AwaitingApproval => self.state.asks == Some(ApprovalStep::Main),
            _ => false,
        };
        is_out && !self.is_direct()
    }

    /// Goes on where it stood still; what was baked before still counts, the time in between does not.
    pub(super) fn resume(&mut self, message: &str) {
        let stood = self.waited();
        let Some(phase) = self.state.stands_in else { return };
        self.state.baking_since = self.state.baking_since.as_ref().map(|from| later(from, stood));
        self.go(phase, Reason::Resumed, message);
    }
}

pub(super) fn outcome(evidence: &Evidence) -> (Verdict, Reason, String) {
    match &evidence.probe {
        Probe::Failed(why) => (Verdict::Fail, Reason::ProbeFailed, why.clone()),
        Probe::Passed | Probe::Unreachable(_)
            if evidence.burn == Burn::Burning && evidence.verdict != Verdict::HardFail =>
        {
            (Verdict::Fail, Reason::BudgetBurning, evidence.message.clone())
        }
        Probe::Unreachable(why) if !matches!(evidence.verdict, Verdict::HardFail | Verdict::Fail) => {
            (Verdict::Error, Reason::QueryError, why.clone())
        }
        Probe::Passed | Probe::Unreachable(_) => {
            let reason = match evidence.verdict {
                Verdict::HardFail | Verdict::Fail => Reason::CanaryFailing,
                Verdict::Shared => Reason::SharedOutage,
                Verdict::Error => Reason::QueryError,
                _ => Reason::Baking,
            };
            (evidence.verdict, reason, evidence.message.clone())
        }
    }
}
