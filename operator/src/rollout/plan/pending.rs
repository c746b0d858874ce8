//! Last migrations of a version that wait for the next one; pure.
//!
//! They are run with the image of the version that left them, before anything of the next one: a migration of that may build
//! on them. While they wait there is a way back, so that nothing but a newer version takes them up.

use std::cmp::Ordering;

use super::super::facts::{JobFact, Migrated};
use super::super::guard;
use super::Turn;
use crate::api::conditions::Reason;
use crate::api::rollout::Phase;
use crate::api::rollout::status::{PendingPost, Trigger};

impl Turn<'_> {
    /// Ends the roll-out; its last migrations wait.
    pub(super) fn postpone(&mut self) {
        let contract = self.state.contract.clone().unwrap_or_default();
        let named = Some(contract.version).filter(|version| !version.is_empty());
        let pending = PendingPost {
            rollout: self.state.id.clone(),
            revision: self.state.to.clone(),
            version: named.or_else(|| self.state.to.version.clone()).unwrap_or_default(),
            min_version: contract.min_version,
            migrations: contract.pending_post,
        };
        let message = format!(
            "every pod runs the new version; its last migrations are run before those of the next version: {}",
            pending.migrations.join(", ")
        );
        self.go(Phase::Completed, Reason::PostPending, message);
        self.memory.pending_post = Some(pending);
    }

    /// Every pod runs another image now: what an older one left is no longer its to run, and a newer one has it among its own.
    pub(super) fn forget_pending(&mut self) {
        let image = &self.state.to.image;
        self.memory
            .pending_post
            .take_if(|pending| pending.revision.image != *image);
    }

    /// What waits, if `version` is newer and the pods that run are those that left it.
    pub(super) fn settleable(&self, version: Option<&str>) -> Option<PendingPost> {
        let pending = self.memory.pending_post.as_ref()?;
        let runs = self.state.from.as_ref()?;
        let is_running = runs.image == pending.revision.image;
        let is_newer = guard::compare(version?, &pending.version) == Some(Ordering::Greater);
        (is_running && is_newer && self.facts.can_settle && !self.settings.external).then(|| pending.clone())
    }

    /// The lock is held: what waits comes first. The floor is written with it, so before the Job that needs it.
    pub(super) fn take_up_pending(&mut self) {
        let contract = self.state.contract.clone().unwrap_or_default();
        let named = Some(contract.version).filter(|version| !version.is_empty());
        let version = named.or_else(|| self.state.to.version.clone());
        let Some(pending) = self.settleable(version.as_deref()) else {
            return self.leave_pending();
        };
        let floor = pending.min_version.clone().unwrap_or_else(|| pending.version.clone());
        let reason = format!(
            "{} has run its last migrations: {}",
            pending.version,
            pending.migrations.join(", ")
        );
        self.raise_floor(floor, reason);
        self.state.settles = Some(pending);
        self.state.settled = false;
    }

    fn leave_pending(&mut self) {
        let Some(pending) = self.memory.pending_post.clone() else {
            return;
        };
        if self.state.trigger == Trigger::Configuration {
            return;
        }
        let reason = if self.facts.can_settle {
            format!(
                "the last migrations of {} are run before a newer version only",
                pending.version
            )
        } else {
            format!(
                "what the last migrations of {} are run with is not kept any more",
                pending.version
            )
        };
        self.decide("post-pending", "operator", &reason);
    }

    /// Waits for the migrations that come first.
    pub(super) fn settle(&mut self) {
        let pending = self.state.settles.clone().unwrap_or_default();
        match self.facts.earlier.clone() {
            JobFact::Succeeded { migrated, .. } => {
                self.disown(&pending.migrations, migrated.as_ref());
                if let Err(why) = self.read_back(migrated.as_ref()) {
                    return self.go(Phase::Failed, Reason::PostMigrationFailed, why);
                }
                self.state.settled = true;
                self.memory.pending_post = None;
                let message = format!(
                    "the last migrations of {} are applied; those of this version follow",
                    pending.version
                );
                self.stay(Reason::Migrating, message);
            }
            JobFact::Failed {
                code,
                message,
                migrated,
                job,
                ..
            } => {
                self.disown(&[], migrated.as_ref());
                self.read_back(migrated.as_ref()).ok();
                self.state.job = Some(job);
                let message = format!(
                    "the last migrations of {} failed, which come before this version; its pods go on serving. Put the \
                     cause right and annotate the Registry with berth.dev/rollout-retry={}. The Job's last lines: {message}",
                    pending.version, self.state.id
                );
                let is_half_done = code == Some(50);
                let phase = if is_half_done { Phase::Held } else { Phase::Failed };
                self.go(phase, Reason::PostMigrationFailed, message);
            }
            JobFact::Absent | JobFact::Running { trouble: None } => {
                let message = format!("the last migrations of {} are run first", pending.version);
                self.stay(Reason::PostMigrating, message);
            }
            JobFact::Running { trouble: Some(trouble) } => self.stay(Reason::PostMigrating, trouble),
        }
    }

    /// Migrations of the version before are in the newer image too; applied with the older one they are none of its own.
    fn disown(&mut self, migrations: &[String], migrated: Option<&Migrated>) {
        let applied = migrated.map(|migrated| migrated.applied.clone()).unwrap_or_default();
        if let Some(contract) = &mut self.state.contract {
            contract
                .pending_post
                .retain(|id| !migrations.contains(id) && !applied.contains(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::facts::Facts;
    use super::super::super::settings::Settings;
    use super::super::super::world::{JobKind, world};
    use super::super::tests::{at, at_phase, evidence, migrated, phase, pods, revision, settings};
    use super::super::{Memory, step};
    use super::*;
    use crate::api::rollout::status::Contract;
    use crate::api::rollout::{ApprovalStep, PostPolicy};
    use crate::rollout::facts::Verdict;

    fn with_next_release() -> Settings {
        let mut settings = settings();
        settings.post = PostPolicy::WithNextRelease;
        settings
    }

    /// 2.0.0 runs, and has left its last migration `m`.
    fn left() -> (Memory, Facts) {
        let (memory, mut facts) = at_phase(Phase::MainVerifying);
        facts.evidence = Some(evidence(Verdict::Strong, at(100_000)));
        facts.canary = None;
        let memory = step(&with_next_release(), &memory, &facts, at(100_000));
        facts.evidence = None;
        (memory, facts)
    }

    fn contract(version: &str, pending_post: &[&str]) -> Contract {
        Contract {
            version: version.to_owned(),
            pending_post: pending_post.iter().map(ToString::to_string).collect(),
            ..Contract::default()
        }
    }

    /// The roll-out of `version`, whose image finds `pending_post`, up to where the database is migrated.
    fn next(memory: Memory, facts: &mut Facts, version: &str, pending_post: &[&str]) -> Memory {
        facts.target.revision = revision(version);
        facts.preflight = JobFact::Succeeded {
            digest: None,
            contract: Some(contract(version, pending_post)),
            migrated: None,
        };
        facts.pre = JobFact::Absent;
        on(memory, facts)
    }

    fn on(memory: Memory, facts: &Facts) -> Memory {
        (0..4).fold(memory, |memory, turn| {
            step(&with_next_release(), &memory, facts, at(200_000 + turn))
        })
    }

    fn job(memory: &Memory) -> Option<JobKind> {
        world(&with_next_release(), memory.rollout.as_ref().unwrap(), 3).job
    }

    #[test]
    fn last_migrations_that_are_left_to_the_next_version_are_told_and_close_no_way_back() {
        let (memory, _) = left();

        assert_eq!(phase(&memory), Phase::Completed);
        assert_eq!(memory.rollout.as_ref().unwrap().reason, "PostPending");
        let pending = memory.pending_post.unwrap();
        assert_eq!(
            (pending.version.as_str(), pending.migrations),
            ("2.0.0", vec!["m".to_owned()])
        );
        assert_eq!(memory.floor, None);
    }

    #[test]
    fn the_next_version_runs_them_first_and_with_the_image_that_left_them() {
        let (memory, mut facts) = left();

        let first = next(memory, &mut facts, "3.0.0", &["m", "n"]);
        facts.earlier = migrated(&["m"], "m", &[]);
        let then = on(first.clone(), &facts);

        assert_eq!(
            (phase(&first), job(&first)),
            (Phase::PreMigrating, Some(JobKind::Earlier))
        );
        assert_eq!(
            first.floor.as_ref().unwrap().version,
            "2.0.0",
            "it is written before the Job"
        );
        assert_eq!(first.rollout.unwrap().settles.unwrap().revision, revision("2.0.0"));
        assert_eq!((phase(&then), job(&then)), (Phase::PreMigrating, Some(JobKind::Pre)));
        assert_eq!(then.pending_post, None);
        assert_eq!(then.floor.unwrap().version, "2.0.0", "the way back to 2.0.0 stays open");
        assert_eq!(then.rollout.unwrap().contract.unwrap().pending_post, ["n"]);
    }

    #[test]
    fn nothing_but_a_newer_version_takes_them_up() {
        for version in ["1.9.0", "2.0.0-rc.1", "latest"] {
            let (memory, mut facts) = left();

            let after = next(memory, &mut facts, version, &[]);

            assert_eq!(
                (phase(&after), job(&after)),
                (Phase::PreMigrating, Some(JobKind::Pre)),
                "{version}"
            );
            assert!(after.pending_post.is_some(), "{version}");
            assert_eq!(after.floor, None, "{version}");
        }
    }

    #[test]
    fn pods_of_another_image_than_the_one_that_left_them_are_not_broken_by_them() {
        let (memory, mut facts) = left();
        facts.main = Some(pods("1.0.0", 3));

        let after = next(memory, &mut facts, "3.0.0", &["m"]);

        assert_eq!(job(&after), Some(JobKind::Pre));
    }

    #[test]
    fn without_what_they_were_made_of_they_are_left_to_the_newer_image() {
        let (memory, mut facts) = left();
        facts.can_settle = false;

        let after = next(memory, &mut facts, "3.0.0", &["m"]);

        assert_eq!(job(&after), Some(JobKind::Pre));
        let decisions = after.rollout.unwrap().decisions;
        assert!(
            decisions.iter().any(|taken| taken.kind == "post-pending"),
            "{decisions:?}"
        );
    }

    #[test]
    fn when_they_fail_no_pod_changes_and_they_go_on_waiting() {
        let (memory, mut facts) = left();
        let first = next(memory, &mut facts, "3.0.0", &["m"]);
        facts.earlier = JobFact::Failed {
            job: "images-mig-post-1".to_owned(),
            code: Some(1),
            message: "no".to_owned(),
            migrated: None,
            contract: None,
        };

        let after = on(first, &facts);

        assert_eq!(phase(&after), Phase::Failed);
        assert_eq!(after.rollout.as_ref().unwrap().reason, "PostMigrationFailed");
        assert!(after.pending_post.is_some());
    }

    #[test]
    fn an_image_that_waits_for_them_alone_is_not_refused_by_its_preflight() {
        let refused = |contract| JobFact::Failed {
            job: "images-preflight-1".to_owned(),
            code: Some(40),
            message: "no".to_owned(),
            migrated: None,
            contract,
        };
        let of = |contract| {
            let (memory, mut facts) = left();
            facts.target.revision = revision("3.0.0");
            facts.preflight = refused(contract);
            facts.pre = JobFact::Absent;
            on(memory, &facts)
        };

        let waits = of(Some(contract("3.0.0", &["m"])));

        assert_eq!(
            (phase(&waits), job(&waits)),
            (Phase::PreMigrating, Some(JobKind::Earlier))
        );
        assert_eq!(phase(&of(None)), Phase::Failed);
    }

    #[test]
    fn a_person_who_is_to_be_asked_about_last_migrations_is_asked_when_they_are_left() {
        let (memory, mut facts) = at_phase(Phase::MainVerifying);
        facts.evidence = Some(evidence(Verdict::Strong, at(100_000)));
        let mut settings = with_next_release();
        settings.approval.before = vec![ApprovalStep::PostMigrations];

        let asked = step(&settings, &memory, &facts, at(100_000));

        assert_eq!(phase(&asked), Phase::AwaitingApproval);
        assert_eq!(asked.pending_post, None);
    }

    #[test]
    fn once_another_image_runs_everywhere_nothing_is_owed_any_more() {
        let (mut memory, mut facts) = left();
        memory = next(memory, &mut facts, "1.9.0", &[]);
        facts.pre = migrated(&[], "l", &[]);
        for turn in 0..12_i64 {
            let now = at(300_000 + turn * 3700);
            facts.canary = Some(pods("1.9.0", 1));
            facts.evidence = Some(evidence(Verdict::Strong, now));
            if memory.rollout.as_ref().is_some_and(super::super::main_is_new) {
                facts.main = Some(pods("1.9.0", 3));
            }
            memory = step(&with_next_release(), &memory, &facts, now);
        }

        assert_eq!(phase(&memory), Phase::Completed);
        assert_eq!(memory.pending_post, None);
    }
}
