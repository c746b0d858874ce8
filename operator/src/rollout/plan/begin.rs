//! Whether a roll-out begins, and what it looks at before anything moves; pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::super::facts::{ADOPTED, Command, CommandKind, Facts, JobFact, LockFact, Migrated, Pods};
use super::super::guard::{self, Forbidden};
use super::{Memory, Turn};
use crate::api::conditions::Reason;
use crate::api::rollout::status::{Contract, Counters, Refused, Revision, SchemaRead, Trigger, Weight};
use crate::api::rollout::{ApprovalStep, Phase, RolloutState, Strategy};
use crate::content_hash;

/// The image must not go onto this database.
const MUST_NOT: i32 = 40;
/// The image does not know the command: it is older than it.
const UNKNOWN_COMMAND: i32 = 2;
/// How many applied migrations a status has.
const APPLIED: usize = 1000;

/// What the spec asks of pods that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Situation {
    /// The pods are what the spec says, or there are none yet: nothing to roll out.
    AsWanted,
    /// The last roll-out was to what the spec still asks for. Where it ended badly it is not begun again by itself; where it
    /// completed, somebody has changed the pods since, and they are put back without another.
    Ended,
    /// The pods are something else.
    Changed,
}

/// What the spec asks of the pods that are there.
pub fn situation(memory: &Memory, facts: &Facts) -> Situation {
    let wanted = &facts.target.revision;
    let Some(main) = &facts.main else {
        return Situation::AsWanted;
    };
    match &main.revision {
        Some(revision) if *revision == wanted.revision => return Situation::AsWanted,
        // An operator that did not note revisions made these pods.
        None if main.image == wanted.image => return Situation::AsWanted,
        _ => {}
    }
    let ended = memory.rollout.as_ref().is_some_and(|state| {
        matches!(state.phase, Phase::Completed | Phase::Failed | Phase::RolledBack)
            && state.to.revision == wanted.revision
    });
    if ended { Situation::Ended } else { Situation::Changed }
}

/// The roll-out that begins now, if one does.
pub(super) fn begin(memory: &Memory, facts: &Facts, now: Timestamp) -> Memory {
    let is_retry = match situation(memory, facts) {
        Situation::Changed => false,
        Situation::Ended if is_tried_again(memory, facts) => true,
        Situation::AsWanted | Situation::Ended => return memory.clone(),
    };
    let mut memory = memory.clone();
    if is_retry {
        let revision = &facts.target.revision.revision;
        memory.refused.retain(|refused| refused.revision != *revision);
    }
    memory.rollout = Some(started(&memory, facts, is_retry, now));
    memory
}

/// Whether the same is tried again: a person says so, or removed the Job that had failed.
fn is_tried_again(memory: &Memory, facts: &Facts) -> bool {
    let Some(state) = &memory.rollout else { return false };
    let is_retry = |command: &Command| command.kind == CommandKind::Retry && command.rollout == state.id;
    let has_failed_to_migrate = state.phase == Phase::Failed && state.reason == Reason::MigrationFailed.as_str();
    facts.commands.iter().any(is_retry) || (has_failed_to_migrate && facts.pre == JobFact::Absent)
}

fn started(memory: &Memory, facts: &Facts, is_retry: bool, now: Timestamp) -> RolloutState {
    let to = facts.target.revision.clone();
    let main = facts.main.clone().unwrap_or_default();
    let before = memory.rollout.as_ref();
    let attempt = before
        .filter(|before| before.to.revision == to.revision)
        .map_or(1, |before| before.attempt.saturating_add(1));
    let from = old_revision(before, &main);
    let trigger = match (is_retry, from.image == to.image) {
        (true, _) => Trigger::Retry,
        (false, true) => Trigger::Configuration,
        (false, false) if facts.target.is_of_channel => Trigger::Channel,
        (false, false) => Trigger::Version,
    };
    // Whoever changed the Registry last has not asked for what a tag brings.
    let requested_by = facts.requested_by.clone().filter(|_| trigger != Trigger::Channel);
    RolloutState {
        id: id(facts, before),
        from: Some(from),
        to,
        trigger,
        requested_by,
        strategy: facts.strategy(),
        phase: Phase::Preflight,
        phase_since: Time(now),
        started_at: Time(now),
        stands_in: None,
        asks: None,
        job: None,
        pause_next: false,
        reason: Reason::CheckingImage.as_str().to_owned(),
        message: "the new version is compared with what runs and with the database".to_owned(),
        step: 0,
        weight: Weight::default(),
        attempt,
        baking_since: None,
        verdict: None,
        counters: Counters::default(),
        bad_measurements: 0,
        lacking_since: None,
        ended_before: None,
        locks: Vec::new(),
        contract: None,
        schema: None,
        settles: None,
        settled: false,
        commands: Vec::new(),
        approved: Vec::new(),
        decisions: Vec::new(),
        failed_at: None,
        finished_at: None,
    }
}

fn old_revision(before: Option<&RolloutState>, main: &Pods) -> Revision {
    let revision = main.revision.clone().unwrap_or_else(|| ADOPTED.to_owned());
    let known = before
        .into_iter()
        .flat_map(|before| before.from.iter().chain([&before.to]));
    known
        .into_iter()
        .find(|known| known.revision == revision && revision != ADOPTED)
        .cloned()
        .unwrap_or_else(|| Revision {
            version: guard::version_of(&main.image),
            image: main.image.clone(),
            digest: None,
            revision,
        })
}

/// The same decision gives the same name, so a record that was begun is found again.
fn id(facts: &Facts, before: Option<&RolloutState>) -> String {
    let before = before.map(|before| before.id.as_str()).unwrap_or_default();
    let generation = facts.generation.to_string();
    let hash = content_hash::short(&[&facts.uid, &facts.target.revision.revision, &generation, before]);
    format!("{}-{hash}", facts.registry)
}

impl Facts {
    fn strategy(&self) -> Strategy {
        let serving = self.main.as_ref().map_or(0, |main| main.rollout.ready);
        // Where no pod serves there is nothing to compare a canary with, and nothing to protect.
        if serving == 0 {
            Strategy::Direct
        } else {
            self.target.strategy
        }
    }
}

impl Turn<'_> {
    /// Nothing has moved yet, so whatever is wrong ends the roll-out.
    pub(super) fn preflight(&mut self) {
        if let Some((reason, message)) = self.refusal(self.state.to.version.as_deref()) {
            return self.fail(reason, &message);
        }
        if self.is_main_ailing() {
            let message = "not all pods of the old version serve; the roll-out begins when they do, or with \
                           berth.dev/rollout-skip-step";
            return self.stay(Reason::MainUnavailable, message);
        }
        let has_job = self.facts.target.has_jobs && self.state.trigger != Trigger::Configuration;
        if has_job && !self.has_looked() {
            return;
        }
        self.await_lock();
    }

    fn fail(&mut self, reason: Reason, message: &str) {
        self.go(Phase::Failed, reason, message);
    }

    fn refusal(&self, version: Option<&str>) -> Option<(Reason, String)> {
        let to = &self.state.to;
        let is_it = |refused: &&Refused| {
            refused.revision == to.revision || (refused.digest.is_some() && refused.digest == to.digest)
        };
        if let Some(refused) = self.memory.refused.iter().find(is_it) {
            let message = format!(
                "roll-out {} of {} was taken back: {}. Set spec.version to another version, or annotate the Registry with \
                 berth.dev/rollout-retry={} to try this one again",
                refused.rollout, refused.image, refused.reason, self.state.id
            );
            return Some((Reason::VersionRefused, message));
        }
        let forbidden = guard::forbidden(version, self.memory.floor.as_ref(), &self.settings.requirements);
        forbidden.map(|(kind, message)| {
            let reason = match kind {
                Forbidden::BelowFloor => Reason::BelowFloor,
                Forbidden::ConsumerNeedsNewer => Reason::ConsumerNeedsNewer,
            };
            (reason, message)
        })
    }

    /// Some serve and some do not. When none does, a new version can only help.
    fn is_main_ailing(&self) -> bool {
        let main = self.facts.main.as_ref().map(|main| main.rollout).unwrap_or_default();
        main.ready > 0 && main.ready < main.wanted && !self.is_late() && !self.is_direct()
    }

    /// Whether the image has looked at the database, and found nothing against it.
    fn has_looked(&mut self) -> bool {
        match &self.facts.preflight {
            JobFact::Absent | JobFact::Running { trouble: None } => {
                self.stay(Reason::CheckingImage, "the new image looks at the database");
            }
            JobFact::Running { trouble: Some(trouble) } => {
                self.stay(Reason::CheckingImage, trouble);
            }
            JobFact::Failed {
                code: Some(UNKNOWN_COMMAND),
                ..
            } => {
                self.decide(
                    "preflight",
                    "operator",
                    "the image is too old to look at the database by itself",
                );
                return true;
            }
            JobFact::Failed {
                code: Some(MUST_NOT),
                contract: Some(contract),
                ..
            } if self.settleable(Some(&contract.version)).is_some() => return self.learn(None, Some(contract.clone())),
            JobFact::Failed {
                code: Some(MUST_NOT),
                message,
                ..
            } => {
                let message = format!("the image refuses this database, and nothing was changed: {message}");
                self.fail(Reason::PreflightRefused, &message);
                return false;
            }
            JobFact::Failed { message, .. } => {
                let message = format!(
                    "the image could not look at the database, and nothing was changed: {message}. Put that right and \
                     annotate the Registry with berth.dev/rollout-retry={}",
                    self.state.id
                );
                self.fail(Reason::PreflightFailed, &message);
                return false;
            }
            JobFact::Succeeded { digest, contract, .. } => return self.learn(digest.clone(), contract.clone()),
        }
        if self.is_late() {
            let message = format!("the image did not look at the database in time: {}", self.state.message);
            self.fail(Reason::PreflightFailed, &message);
        }
        false
    }

    fn learn(&mut self, digest: Option<String>, contract: Option<Contract>) -> bool {
        if self.state.to.digest.is_none() {
            self.state.to.digest = digest;
        }
        self.state.contract = contract;
        let contract = self.state.contract.clone().unwrap_or_default();
        let version = (!contract.version.is_empty()).then_some(contract.version.as_str());
        if let Some((reason, message)) = self.refusal(version.or(self.state.to.version.as_deref())) {
            self.fail(reason, &message);
            return false;
        }
        if self.settings.external && !contract.pending_pre.is_empty() {
            let message = format!(
                "spec.migrations.mode is External, and migrations are missing: {}. Run them, then annotate the Registry \
                 with berth.dev/rollout-retry={}",
                contract.pending_pre.join(", "),
                self.state.id
            );
            self.fail(Reason::MigrationPending, &message);
            return false;
        }
        true
    }

    fn await_lock(&mut self) {
        match &self.facts.frozen {
            Some(why) => self.go(Phase::AwaitingLock, Reason::FreezeWindow, why),
            None => self.go(Phase::AwaitingLock, Reason::WaitingForLock, "the lock is asked for"),
        }
    }

    pub(super) fn awaiting_lock(&mut self) {
        if let Some(why) = &self.facts.frozen {
            return self.stay(Reason::FreezeWindow, why);
        }
        match &self.facts.lock {
            LockFact::Held(locks) => {
                self.state.locks.clone_from(locks);
                if self.facts.target.has_jobs && !self.settings.external {
                    self.take_up_pending();
                    let message = "the database is migrated; the pods change after that";
                    self.go(Phase::PreMigrating, Reason::Migrating, message);
                } else {
                    self.start_pods();
                }
                return;
            }
            LockFact::Unasked => self.stay(Reason::WaitingForLock, "the lock is asked for"),
            LockFact::Busy(holder) | LockFact::Lost(holder) => self.stay(Reason::WaitingForLock, holder),
        }
        if self.waited() >= self.settings.wait_timeout {
            let message = format!("the lock was not free in time: {}", self.state.message);
            self.fail(Reason::LockTimeout, &message);
        }
    }

    pub(super) fn pre_migrating(&mut self) {
        if self.has_lost_lock() {
            return;
        }
        if self.state.settles.is_some() && !self.state.settled {
            return self.settle();
        }
        match &self.facts.pre {
            JobFact::Succeeded { digest, migrated, .. } => {
                if self.state.to.digest.is_none() {
                    self.state.to.digest.clone_from(digest);
                }
                match self.read_back(migrated.as_ref()) {
                    Ok(()) => self.start_pods(),
                    Err(why) => self.fail(Reason::MigrationPending, &why),
                }
            }
            JobFact::Failed {
                code: Some(50),
                message,
                job,
                migrated,
                ..
            } => {
                // What was applied stays applied, so a word of what is missing changes nothing here.
                self.read_back(migrated.as_ref()).ok();
                self.state.job = Some(job.clone());
                let message = format!(
                    "a migration stopped half-way, so a person must look at the database; pods that run were not changed. \
                     Then annotate the Registry with berth.dev/rollout-retry={}. The Job's last lines: {message}",
                    self.state.id
                );
                self.go(Phase::Held, Reason::MigrationFailed, message);
            }
            JobFact::Failed { message, job, .. } => {
                self.state.job = Some(job.clone());
                let message = message.clone();
                self.fail(Reason::MigrationFailed, &message);
            }
            JobFact::Absent | JobFact::Running { trouble: None } => {
                self.stay(
                    Reason::Migrating,
                    "the database is migrated; the pods change after that",
                );
            }
            JobFact::Running { trouble: Some(trouble) } => self.stay(Reason::Migrating, trouble),
        }
    }

    /// Notes what a migration has done to the database, or says what it left out though it ended well. One that told nothing
    /// is believed: its words are lost with its pod.
    pub(super) fn read_back(&mut self, migrated: Option<&Migrated>) -> Result<(), String> {
        let Some(migrated) = migrated else { return Ok(()) };
        if let Some(level) = &migrated.level_after {
            let mut applied = self.state.schema.take().map(|read| read.applied).unwrap_or_default();
            let new = migrated.applied.iter().filter(|id| !applied.contains(id)).cloned();
            let new: Vec<String> = new.collect();
            applied.extend(new);
            applied.truncate(APPLIED);
            let level = level.clone();
            self.state.schema = Some(SchemaRead { level, applied });
        }
        self.raise_floor_by(&migrated.applied);
        if migrated.pending.is_empty() {
            return Ok(());
        }
        Err(format!(
            "the migration ended well and the database still lacks {}, so somebody else may migrate it too. See to it that \
             nobody does, then annotate the Registry with berth.dev/rollout-retry={}",
            migrated.pending.join(", "),
            self.state.id
        ))
    }

    /// The database is ready: pods may change, if nobody must be asked.
    pub(super) fn start_pods(&mut self) {
        if self.is_direct() {
            return self.ask_or(ApprovalStep::Main);
        }
        self.ask_or(ApprovalStep::Canary);
    }
}
