//! Whatever happens, in whatever order: what a roll-out never does.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy as Draw, any, prop_oneof};
use proptest::sample::select;
use proptest::{prop_assert, proptest};
use serde_json::json;

use super::super::facts::{
    ApprovalFact, Burn, Command, CommandKind, Evidence, Facts, JobFact, LockFact, Pods, Probe, Verdict,
};
use super::super::guard;
use super::super::settings::Settings;
use super::super::world::{JobKind, world};
use super::tests::{at, at_phase, evidence, facts, phase, pods, revision, settings};
use super::*;
use crate::api::rollout::status::{Contract, DecisionTaken};
use crate::api::rollout::{Decision, OnNoData, PostPolicy};
use crate::registry::fixtures::production;

/// More turns than one pass makes.
const TURNS: usize = 24;

pub(super) const VERDICTS: [Verdict; 8] = [
    Verdict::HardFail,
    Verdict::Fail,
    Verdict::Shared,
    Verdict::Error,
    Verdict::NoData,
    Verdict::Unsure,
    Verdict::Weak,
    Verdict::Strong,
];

const STEPS: [ApprovalStep; 3] = [ApprovalStep::Canary, ApprovalStep::Main, ApprovalStep::PostMigrations];

/// What is so at one moment.
#[derive(Clone, Debug)]
struct Moment {
    target: &'static str,
    main: Option<Pods>,
    canary: Option<Pods>,
    jobs: [JobFact; 3],
    lock: LockFact,
    evidence: Option<(Verdict, Probe)>,
    burn: Burn,
    frozen: bool,
    command: Option<CommandKind>,
    approval: Option<(ApprovalStep, Decision)>,
    can_rebuild_old: bool,
    seconds: i64,
}

fn some_pods() -> impl Draw<Value = Pods> {
    let parts = (select(&["1.0.0", "2.0.0", "3.0.0"][..]), 0..4_i32, 1..4_i32, 0..8_i32);
    parts.prop_map(|(name, ready, wanted, restarts)| {
        let mut pods = pods(name, wanted);
        pods.rollout.ready = ready.min(wanted);
        // Most pods do not end by themselves.
        pods.restarts = (restarts - 5).max(0);
        pods
    })
}

fn some_job() -> impl Draw<Value = JobFact> {
    let contract = (
        option::of(select(&["1.0.0", "2.0.0"][..])),
        any::<bool>(),
        any::<bool>(),
    );
    let contract = contract.prop_map(|(min_version, cannot_rollback, has_post)| Contract {
        version: "2.0.0".to_owned(),
        min_version: min_version.map(str::to_owned),
        cannot_rollback,
        min_level: None,
        pending_pre: Vec::new(),
        pending_post: if has_post { vec!["m".to_owned()] } else { Vec::new() },
    });
    let failed = select(&[None, Some(1), Some(2), Some(40), Some(50)][..]).prop_map(|code| JobFact::Failed {
        job: "j".to_owned(),
        code,
        message: "no".to_owned(),
        migrated: None,
        contract: None,
    });
    prop_oneof![
        1 => Just(JobFact::Absent),
        1 => Just(JobFact::Running { trouble: None }),
        1 => failed,
        6 => option::of(contract).prop_map(|contract| JobFact::Succeeded { digest: None, contract, migrated: None }),
    ]
}

fn some_lock() -> impl Draw<Value = LockFact> {
    prop_oneof![
        6 => Just(LockFact::Held(Vec::new())),
        1 => Just(LockFact::Unasked),
        1 => Just(LockFact::Busy("another".to_owned())),
        1 => Just(LockFact::Lost("another".to_owned())),
    ]
}

fn some_evidence() -> impl Draw<Value = Option<(Verdict, Probe)>> {
    let probe = prop_oneof![
        6 => Just(Probe::Passed),
        1 => Just(Probe::Failed("corrupt".to_owned())),
        1 => Just(Probe::Unreachable("refused".to_owned())),
    ];
    let verdict = prop_oneof![1 => select(&VERDICTS[..]), 1 => Just(Verdict::Strong)];
    option::of((verdict, probe))
}

fn moment() -> impl Draw<Value = Moment> {
    let pods = (
        prop_oneof![8 => some_pods().prop_map(Some), 1 => Just(None)],
        option::of(some_pods()),
        [some_job(), some_job(), some_job()],
    );
    let people = (
        prop_oneof![6 => Just(None), 1 => select(&CommandKind::ALL[..]).prop_map(Some)],
        option::of((
            select(&STEPS[..]),
            select(&[Decision::Approve, Decision::Approve, Decision::Reject][..]),
        )),
    );
    let rest = (
        prop_oneof![12 => Just("2.0.0"), 1 => Just("1.0.0"), 1 => Just("3.0.0")],
        some_lock(),
        some_evidence(),
        select(&[false, false, false, true][..]),
        any::<bool>(),
        select(&[Burn::Quiet, Burn::Quiet, Burn::NoData, Burn::Burning][..]),
        0..4000_i64,
    );
    (pods, people, rest).prop_map(|((main, canary, jobs), (command, approval), rest)| {
        let (target, lock, evidence, frozen, can_rebuild_old, burn, seconds) = rest;
        Moment {
            target,
            main,
            canary,
            jobs,
            lock,
            evidence,
            burn,
            frozen,
            command,
            approval,
            can_rebuild_old,
            seconds,
        }
    })
}

fn some_settings() -> impl Draw<Value = Settings> {
    let rollback = select(&[RollbackMode::Auto, RollbackMode::Manual, RollbackMode::Never][..]);
    let on_no_data = select(&[OnNoData::Pause, OnNoData::Fail, OnNoData::ProceedIfSynthetic][..]);
    let post = select(
        &[
            PostPolicy::AfterSoak,
            PostPolicy::Manual,
            PostPolicy::WithNextRelease,
            PostPolicy::Immediate,
        ][..],
    );
    let parts = (
        rollback,
        on_no_data,
        post,
        any::<bool>(),
        select(&[false, false, true][..]),
    );
    parts.prop_map(|(rollback, on_no_data, post, asks, paused)| {
        let mut settings = Settings::of(&production(&json!({})), true);
        (settings.rollback, settings.on_no_data, settings.post) = (rollback, on_no_data, post);
        settings.paused = paused;
        if asks {
            settings.approval.before = vec![ApprovalStep::Main];
        }
        settings
    })
}

impl Moment {
    fn facts(&self, memory: &Memory, now: Timestamp) -> Facts {
        let id = memory
            .rollout
            .as_ref()
            .map(|state| state.id.clone())
            .unwrap_or_default();
        let [preflight, pre, post] = self.jobs.clone();
        let mut facts = facts();
        facts.target.revision = revision(self.target);
        (facts.main, facts.canary) = (self.main.clone(), self.canary.clone());
        (facts.preflight, facts.pre, facts.post) = (preflight, pre, post);
        facts.earlier = facts.post.clone();
        facts.can_settle = self.can_rebuild_old;
        facts.lock = self.lock.clone();
        facts.can_rebuild_old = self.can_rebuild_old;
        facts.frozen = self.frozen.then(|| "frozen".to_owned());
        facts.evidence = self.evidence.clone().map(|(verdict, probe)| Evidence {
            probe,
            burn: self.burn,
            ..evidence(verdict, now)
        });
        facts.commands.extend(self.command.map(|kind| Command {
            kind,
            value: format!("{id} {}", now.as_second()),
            rollout: id.clone(),
            reason: String::new(),
            by: "alice".to_owned(),
        }));
        facts
            .approvals
            .extend(self.approval.map(|(step, decision)| ApprovalFact {
                step,
                decision,
                by: "bob".to_owned(),
                digest: None,
                reason: String::new(),
            }));
        facts
    }

    /// Whether somebody's word or measurement lets every pod follow the canary.
    fn passes(&self, settings: &Settings) -> bool {
        let is_synthetic = settings.on_no_data == OnNoData::ProceedIfSynthetic;
        let is_good = match &self.evidence {
            Some((Verdict::Strong | Verdict::Weak, Probe::Passed)) => true,
            Some((Verdict::NoData, Probe::Passed)) => is_synthetic,
            _ => false,
        };
        is_good || matches!(self.command, Some(CommandKind::Promote | CommandKind::SkipStep))
    }
}

/// What must hold between two turns; in words what does not.
fn broken(settings: &Settings, moment: &Moment, facts: &Facts, before: &Memory, after: &Memory) -> Option<String> {
    floor_falls(before, after)
        .or_else(|| leaves_the_end(facts, before, after))
        .or_else(|| jumps(before, after))
        .or_else(|| promotes_unjudged(settings, moment, before, after))
        .or_else(|| ends_unwatched(settings, moment, before, after))
        .or_else(|| goes_below_the_floor(before, after))
        .or_else(|| runs_a_wrong_job(settings, after))
}

fn floor_falls(before: &Memory, after: &Memory) -> Option<String> {
    let (before, after) = (before.floor.as_ref()?, after.floor.as_ref());
    let has_fallen = after.is_none_or(|after| {
        guard::compare(&after.version, &before.version).is_none_or(|order| order == std::cmp::Ordering::Less)
    });
    has_fallen.then(|| format!("the floor fell from {before:?} to {after:?}"))
}

/// A roll-out that has ended is followed by one of something else, or because a person or a removed Job asks for it.
fn leaves_the_end(facts: &Facts, before: &Memory, after: &Memory) -> Option<String> {
    let ended = before.rollout.as_ref().filter(|state| state.phase.is_final())?;
    let begun = after.active()?;
    let is_there = facts.main.as_ref().and_then(|main| main.revision.as_ref()) == Some(&begun.to.revision);
    let is_same = matches!(ended.phase, Phase::Failed | Phase::RolledBack) && ended.to.revision == begun.to.revision;
    let is_asked = facts.commands.iter().any(|command| command.kind == CommandKind::Retry)
        || (ended.phase == Phase::Failed && facts.pre == JobFact::Absent);
    (is_there || (is_same && !is_asked)).then(|| format!("{:?} was begun again", ended.phase))
}

fn jumps(before: &Memory, after: &Memory) -> Option<String> {
    let (from, to) = (before.active()?.phase, after.rollout.as_ref()?.phase);
    (from != to && !followers(from).contains(&to)).then(|| format!("{from:?} is followed by {to:?}"))
}

fn promotes_unjudged(settings: &Settings, moment: &Moment, before: &Memory, after: &Memory) -> Option<String> {
    let (from, to) = (before.active()?, after.rollout.as_ref()?);
    let is_past = |state: &RolloutState| main_is_new(state) || state.asks == Some(ApprovalStep::Main);
    let has_promoted = to.strategy == Strategy::Canary && is_past(to) && !is_past(from);
    (has_promoted && !moment.passes(settings)).then(|| format!("{:?} led to {:?} unjudged", from.phase, to.phase))
}

/// The new pods of a canary that was measured are themselves seen to be good before the canary goes, and before the way back
/// is closed.
fn ends_unwatched(settings: &Settings, moment: &Moment, before: &Memory, after: &Memory) -> Option<String> {
    let (from, to) = (before.active()?, after.rollout.as_ref()?);
    let is_left = match from.phase {
        Phase::MainVerifying => !matches!(
            to.phase,
            Phase::MainVerifying | Phase::RollingBack | Phase::Held | Phase::Paused
        ),
        Phase::Soaking => matches!(to.phase, Phase::AwaitingApproval | Phase::PostMigrating),
        _ => false,
    };
    let unmeasured = |taken: &DecisionTaken| matches!(taken.kind.as_str(), "unmeasured" | "synthetic-only");
    let is_waived = from.strategy == Strategy::Direct || to.decisions.iter().chain(&from.decisions).any(unmeasured);
    let is_seen = moment.passes(settings) && moment.burn != Burn::Burning
        || matches!(moment.command, Some(CommandKind::Promote | CommandKind::SkipStep));
    (is_left && !is_waived && !is_seen).then(|| format!("{:?} led to {:?} unwatched", from.phase, to.phase))
}

fn goes_below_the_floor(before: &Memory, after: &Memory) -> Option<String> {
    let (old, new) = (before.active()?, after.rollout.as_ref()?);
    if new.phase != Phase::RollingBack || old.phase == Phase::RollingBack || !main_is_new(old) {
        return None;
    }
    let version = new.from.as_ref().and_then(|from| from.version.as_deref());
    let forbidden = guard::forbidden(version, before.floor.as_ref(), &[]);
    forbidden.map(|(_, why)| format!("it goes back though {why}"))
}

/// A Job before the pods change is not run after, and the other way round; what ends the way back is noted first.
fn runs_a_wrong_job(settings: &Settings, after: &Memory) -> Option<String> {
    let state = after.rollout.as_ref()?;
    match world(settings, state, 3).job? {
        JobKind::Preflight | JobKind::Pre => main_is_new(state).then(|| "a migration before after the pods".to_owned()),
        JobKind::Earlier if main_is_new(state) => Some("what comes first after the pods".to_owned()),
        JobKind::Post if !main_is_new(state) => Some("a migration after before the pods".to_owned()),
        JobKind::Post | JobKind::Earlier => after
            .floor
            .is_none()
            .then(|| "a last migration without a floor".to_owned()),
    }
}

proptest! {
    #[test]
    fn no_order_of_events_leads_a_roll_out_where_it_must_not_go(
        settings in some_settings(),
        moments in vec(moment(), 1..60),
    ) {
        let (mut memory, mut second) = (Memory::default(), 0);
        for moment in &moments {
            second += moment.seconds;
            let facts = moment.facts(&memory, at(second));
            let after = step(&settings, &memory, &facts, at(second));
            let broken = broken(&settings, moment, &facts, &memory, &after);
            prop_assert!(broken.is_none(), "{}\n{moment:?}\n{:?}", broken.unwrap_or_default(), memory.rollout);
            memory = after;
        }
    }

    #[test]
    fn while_nothing_happens_a_roll_out_comes_to_rest(
        settings in some_settings(),
        moments in vec(moment(), 1..30),
        last in moment(),
    ) {
        let (mut memory, mut second) = (Memory::default(), 0);
        for moment in &moments {
            second += moment.seconds;
            memory = step(&settings, &memory, &moment.facts(&memory, at(second)), at(second));
        }
        let last = Moment { evidence: None, ..last };
        let facts = last.facts(&memory, at(second));
        let turns = (0..TURNS).take_while(|_| {
            let after = step(&settings, &memory, &facts, at(second));
            let moves = after != memory;
            memory = after;
            moves
        });
        let turns = turns.count();
        prop_assert!(turns < TURNS, "{:?}", memory.rollout);
    }
}

#[test]
fn a_request_of_the_operators_own_that_failed_is_not_outweighed_by_what_was_measured() {
    let (mut memory, mut facts) = at_phase(Phase::CanaryAnalyzing);
    for (second, probe) in [(0, Probe::Passed), (10_000, Probe::Failed("corrupt".to_owned()))] {
        let verdict = if second == 0 { Verdict::Unsure } else { Verdict::Strong };
        facts.evidence = Some(Evidence {
            probe,
            ..evidence(verdict, at(100_000 + second))
        });
        memory = step(&settings(), &memory, &facts, at(100_000 + second));
    }

    assert_eq!(phase(&memory), Phase::CanaryAnalyzing);
}

#[test]
fn pods_that_somebody_put_back_after_a_roll_out_has_completed_begin_no_other() {
    let (memory, mut facts) = at_phase(Phase::Soaking);
    facts.evidence = Some(evidence(Verdict::Strong, at(1_000_000)));
    let mut memory = step(&settings(), &memory, &facts, at(1_000_000));
    facts.post = JobFact::Succeeded {
        digest: None,
        contract: None,
        migrated: None,
    };
    memory = step(&settings(), &memory, &facts, at(2_000_000));
    facts.main = Some(pods("1.0.0", 3));

    let after = step(&settings(), &memory, &facts, at(2_000_010));

    assert_eq!(phase(&memory), Phase::Completed);
    assert_eq!(after, memory);
    assert!(
        main_is_new(memory.rollout.as_ref().unwrap()),
        "main is put forward again"
    );
}
