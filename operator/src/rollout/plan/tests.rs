use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::super::facts::{
    Burn, Command, CommandKind, Evidence, Facts, JobFact, LockFact, Migrated, Pods, Probe, Target, Verdict,
};
use super::super::settings::Settings;
use super::*;
use crate::api::rollout::OnNoData;
use crate::api::rollout::status::{Contract, Revision};
use crate::registry::fixtures::production;
use crate::registry::rollout::Rollout;

pub(super) fn revision(name: &str) -> Revision {
    Revision {
        version: Some(name.to_owned()),
        image: format!("berth/berth-registry:{name}"),
        digest: None,
        revision: name.to_owned(),
    }
}

pub(super) fn pods(name: &str, count: i32) -> Pods {
    Pods {
        revision: Some(name.to_owned()),
        image: revision(name).image,
        rollout: Rollout {
            wanted: count,
            replicas: count,
            updated: count,
            ready: count,
            observed: true,
            ..Rollout::default()
        },
        ..Pods::default()
    }
}

pub(super) fn facts() -> Facts {
    Facts {
        registry: "images".to_owned(),
        uid: "uid-1".to_owned(),
        target: Target {
            revision: revision("2.0.0"),
            has_jobs: true,
            strategy: Strategy::Canary,
            is_of_channel: false,
        },
        generation: 2,
        requested_by: None,
        main: Some(pods("1.0.0", 3)),
        canary: None,
        stage_services: None,
        can_rebuild_old: true,
        preflight: JobFact::Absent,
        pre: JobFact::Absent,
        post: JobFact::Absent,
        earlier: JobFact::Absent,
        can_settle: true,
        lock: LockFact::Held(Vec::new()),
        frozen: None,
        evidence: None,
        approvals: Vec::new(),
        commands: Vec::new(),
    }
}

pub(super) fn settings() -> Settings {
    Settings::of(&production(&json!({})), true)
}

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

pub(super) fn phase(memory: &Memory) -> Phase {
    memory.rollout.as_ref().unwrap().phase
}

/// A roll-out that has come to `wanted`, and the facts there.
pub(super) fn at_phase(wanted: Phase) -> (Memory, Facts) {
    let (mut memory, mut facts) = (Memory::default(), facts());
    let contract = Contract {
        version: "2.0.0".to_owned(),
        pending_post: vec!["m".to_owned()],
        ..Contract::default()
    };
    facts.preflight = JobFact::Succeeded {
        digest: None,
        contract: Some(contract),
        migrated: None,
    };
    facts.pre = JobFact::Succeeded {
        digest: None,
        contract: None,
        migrated: None,
    };
    for turn in 0..20_i64 {
        if memory.rollout.as_ref().is_some_and(|state| state.phase == wanted) {
            break;
        }
        let now = at(turn * 3700);
        facts.canary = Some(pods("2.0.0", 1));
        facts.evidence = Some(evidence(Verdict::Strong, now));
        if memory.rollout.as_ref().is_some_and(main_is_new) {
            facts.main = Some(pods("2.0.0", 3));
        }
        memory = step(&settings(), &memory, &facts, now);
    }
    assert_eq!(phase(&memory), wanted);
    facts.evidence = None;
    (memory, facts)
}

pub(super) fn evidence(verdict: Verdict, at: Timestamp) -> Evidence {
    Evidence {
        at,
        verdict,
        probe: Probe::Passed,
        burn: Burn::Quiet,
        measurements: Vec::new(),
        message: "seen".to_owned(),
    }
}

#[test]
fn two_bad_looks_at_the_canary_bring_the_old_version_back_and_one_does_not() {
    let (memory, mut facts) = at_phase(Phase::CanaryAnalyzing);
    facts.evidence = Some(evidence(Verdict::Fail, at(100_000)));
    let once = step(&settings(), &memory, &facts, at(100_000));
    facts.evidence = Some(evidence(Verdict::Fail, at(100_030)));

    let twice = step(&settings(), &once, &facts, at(100_030));

    assert_eq!(phase(&once), Phase::CanaryAnalyzing);
    assert_eq!(phase(&twice), Phase::RollingBack);
    assert_eq!(twice.refused[0].revision, "2.0.0");
}

/// Looks at the canary half a minute apart, as far as a verdict leads.
fn look(memory: Memory, facts: &mut Facts, first: i64, verdicts: &[Verdict]) -> Memory {
    let looks = (first..).step_by(30).zip(verdicts);
    looks.fold(memory, |memory, (second, verdict)| {
        facts.evidence = Some(evidence(*verdict, at(second)));
        step(&settings(), &memory, facts, at(second))
    })
}

fn bad_now_and_then(times: usize) -> Vec<Verdict> {
    [Verdict::Fail, Verdict::Unsure].repeat(times)
}

#[test]
fn a_canary_that_is_bad_now_and_then_is_taken_back_though_it_never_is_twice_in_a_row() {
    let (memory, mut facts) = at_phase(Phase::CanaryAnalyzing);

    let after_four = look(memory, &mut facts, 100_000, &bad_now_and_then(4));
    let after_five = look(after_four.clone(), &mut facts, 101_000, &[Verdict::Fail]);

    assert_eq!(phase(&after_four), Phase::CanaryAnalyzing);
    assert_eq!(phase(&after_five), Phase::RollingBack);
    let message = after_five.rollout.unwrap().message;
    assert!(message.starts_with("5 measurements were bad"), "{message}");
    assert_eq!(after_five.refused[0].revision, "2.0.0");
}

#[test]
fn bad_measurements_of_earlier_steps_count_in_the_next() {
    let (mut memory, mut facts) = at_phase(Phase::CanaryAnalyzing);
    memory = look(memory, &mut facts, 100_000, &bad_now_and_then(4));
    let id = memory.rollout.as_ref().unwrap().id.clone();
    let command = |kind| Command {
        kind,
        value: id.clone(),
        rollout: id.clone(),
        reason: String::new(),
        by: "alice".to_owned(),
    };
    facts.evidence = None;
    for kind in [CommandKind::Pause, CommandKind::Resume] {
        facts.commands = vec![command(kind)];
        memory = step(&settings(), &memory, &facts, at(102_000));
    }

    let after = look(memory.clone(), &mut facts, 103_000, &[Verdict::Fail]);

    assert_eq!(phase(&memory), Phase::CanaryAnalyzing);
    assert_eq!(memory.rollout.unwrap().counters.failures, 0);
    assert_eq!(phase(&after), Phase::RollingBack);
}

#[test]
fn bad_measurements_far_apart_in_a_soak_of_a_day_take_nothing_back() {
    let (memory, mut facts) = at_phase(Phase::Soaking);
    let verdicts = [Verdict::Fail, Verdict::Strong].repeat(20);

    assert_eq!(phase(&look(memory, &mut facts, 60_000, &verdicts)), Phase::Soaking);
}

#[test]
fn what_cannot_be_measured_is_held_and_neither_promoted_nor_taken_back() {
    let (mut memory, mut facts) = at_phase(Phase::CanaryAnalyzing);
    for look in 0..6 {
        facts.evidence = Some(evidence(Verdict::Error, at(100_000 + look * 30)));
        memory = step(&settings(), &memory, &facts, at(100_000 + look * 30));
    }

    assert_eq!(phase(&memory), Phase::Held);
    assert_eq!(memory.refused, Vec::new());
}

/// A canary that could not be measured, and stands still since second 100 150.
fn held() -> (Memory, Facts) {
    let (memory, mut facts) = at_phase(Phase::CanaryAnalyzing);
    let memory = look(memory, &mut facts, 100_000, &[Verdict::Error; 6]);
    assert_eq!(phase(&memory), Phase::Held);
    facts.evidence = None;
    (memory, facts)
}

const TWO_HOURS_LATER: i64 = 100_150 + 7200;

#[test]
fn a_canary_that_is_held_for_two_hours_is_taken_out_of_traffic_and_its_version_is_not_refused() {
    let (memory, facts) = held();

    let before = step(&settings(), &memory, &facts, at(TWO_HOURS_LATER - 1));
    let after = step(&settings(), &memory, &facts, at(TWO_HOURS_LATER));

    assert_eq!(before, memory);
    assert_eq!(phase(&after), Phase::RollingBack);
    assert_eq!(after.rollout.unwrap().reason, "HeldTooLong");
    assert_eq!(after.refused, Vec::new());
}

#[test]
fn a_held_canary_that_no_old_version_can_follow_stays_and_says_why() {
    let (mut memory, facts) = held();
    let contract = memory.rollout.as_mut().unwrap().contract.as_mut().unwrap();
    contract.cannot_rollback = true;

    let after = step(&settings(), &memory, &facts, at(TWO_HOURS_LATER));

    assert_eq!(phase(&after), Phase::Held);
    let state = after.rollout.as_ref().unwrap();
    assert_eq!(state.reason, "HeldTooLong");
    assert!(
        state.message.contains("cannot read what this one has written"),
        "{}",
        state.message
    );
    assert_eq!(
        step(&settings(), &after, &facts, at(TWO_HOURS_LATER + 60)),
        after,
        "it is told once"
    );
}

#[test]
fn a_held_canary_waits_for_a_person_where_the_spec_leaves_the_way_back_to_one() {
    let (memory, facts) = held();
    let mut settings = settings();
    settings.rollback = RollbackMode::Manual;

    let after = step(&settings, &memory, &facts, at(TWO_HOURS_LATER));

    assert_eq!(phase(&after), Phase::Held);
    let message = after.rollout.unwrap().message;
    assert!(message.contains("berth.dev/rollout-abort="), "{message}");
}

#[test]
fn what_is_held_without_a_canary_waits_for_a_person() {
    let (memory, mut facts) = at_phase(Phase::PreMigrating);
    facts.pre = JobFact::Failed {
        job: "j".to_owned(),
        code: Some(50),
        message: "half".to_owned(),
        migrated: None,
        contract: None,
    };
    let memory = step(&settings(), &memory, &facts, at(100_000));

    assert_eq!(phase(&memory), Phase::Held);
    assert_eq!(step(&settings(), &memory, &facts, at(1_000_000)), memory);
}

#[test]
fn a_failed_migration_ends_the_roll_out_before_any_pod_has_changed() {
    let (memory, mut facts) = at_phase(Phase::PreMigrating);
    facts.pre = JobFact::Failed {
        job: "j".to_owned(),
        code: Some(1),
        message: "no".to_owned(),
        migrated: None,
        contract: None,
    };

    assert_eq!(phase(&step(&settings(), &memory, &facts, at(100_000))), Phase::Failed);
}

#[test]
fn the_floor_is_remembered_with_the_phase_whose_job_needs_it() {
    let (memory, mut facts) = at_phase(Phase::Soaking);
    facts.evidence = Some(evidence(Verdict::Strong, at(1_000_000)));

    let after = step(&settings(), &memory, &facts, at(1_000_000));

    assert_eq!(phase(&after), Phase::PostMigrating);
    assert_eq!(after.floor.unwrap().version, "2.0.0");
}

pub(super) fn migrated(applied: &[&str], level_after: &str, pending: &[&str]) -> JobFact {
    let ids = |ids: &[&str]| ids.iter().map(ToString::to_string).collect();
    JobFact::Succeeded {
        digest: None,
        contract: None,
        migrated: Some(Migrated {
            applied: ids(applied),
            level_after: Some(level_after.to_owned()),
            pending: ids(pending),
        }),
    }
}

#[test]
fn what_the_migrations_say_of_the_database_is_remembered_over_both() {
    let (memory, mut facts) = at_phase(Phase::PreMigrating);
    facts.pre = migrated(&["k", "l"], "l", &[]);
    let before = step(&settings(), &memory, &facts, at(100_000));
    let (mut memory, mut facts) = at_phase(Phase::Soaking);
    memory.rollout.as_mut().unwrap().schema = before.rollout.unwrap().schema;
    facts.evidence = Some(evidence(Verdict::Strong, at(1_000_000)));
    memory = step(&settings(), &memory, &facts, at(1_000_000));
    facts.post = migrated(&["m"], "m", &[]);

    let after = step(&settings(), &memory, &facts, at(1_000_010));

    assert_eq!(phase(&after), Phase::Completed);
    let read = after.rollout.unwrap().schema.unwrap();
    assert_eq!(
        (read.level.as_str(), read.applied),
        ("m", vec!["k".into(), "l".into(), "m".into()])
    );
}

#[test]
fn a_job_that_ended_well_and_left_migrations_out_changes_no_pod() {
    let (memory, mut facts) = at_phase(Phase::PreMigrating);
    facts.pre = migrated(&[], "k", &["l"]);

    let after = step(&settings(), &memory, &facts, at(100_000));

    assert_eq!(phase(&after), Phase::Failed);
    let state = after.rollout.as_ref().unwrap();
    assert_eq!(state.reason, "MigrationPending");
    assert!(state.message.contains("still lacks l"), "{}", state.message);
    assert_eq!(
        step(&settings(), &after, &facts, at(100_010)),
        after,
        "it is not tried again by itself"
    );
}

#[test]
fn whatever_job_applied_the_last_migrations_the_floor_rises() {
    let (memory, mut facts) = at_phase(Phase::PreMigrating);
    facts.pre = migrated(&["k", "m"], "m", &[]);

    let after = step(&settings(), &memory, &facts, at(100_000));

    assert_eq!(memory.floor, None);
    assert_eq!(after.floor.unwrap().version, "2.0.0");
}

#[test]
fn a_command_is_obeyed_once() {
    let (memory, mut facts) = at_phase(Phase::CanaryAnalyzing);
    let id = memory.rollout.as_ref().unwrap().id.clone();
    let command = |kind, rollout: &str| Command {
        kind,
        value: rollout.to_owned(),
        rollout: rollout.to_owned(),
        reason: String::new(),
        by: "alice".to_owned(),
    };
    facts.commands = vec![command(CommandKind::Pause, &id), command(CommandKind::Abort, "another")];

    let paused = step(&settings(), &memory, &facts, at(100_000));

    assert_eq!(phase(&paused), Phase::Paused);
    assert_eq!(step(&settings(), &paused, &facts, at(100_001)), paused);
}

#[test]
fn a_command_that_was_taken_off_the_registry_is_obeyed_again_in_the_same_words() {
    let (memory, mut facts) = at_phase(Phase::CanaryAnalyzing);
    let id = memory.rollout.as_ref().unwrap().id.clone();
    let command = |kind| Command {
        kind,
        value: id.clone(),
        rollout: id.clone(),
        reason: String::new(),
        by: "alice".to_owned(),
    };
    facts.commands = vec![command(CommandKind::Pause)];
    let paused = step(&settings(), &memory, &facts, at(100_000));
    facts.commands = vec![command(CommandKind::Resume)];
    let resumed = step(&settings(), &paused, &facts, at(100_010));
    facts.commands.push(command(CommandKind::Pause));
    facts.commands.sort_by_key(|command| command.kind);

    let again = step(&settings(), &resumed, &facts, at(100_020));

    assert_eq!(phase(&paused), Phase::Paused);
    assert_eq!(phase(&resumed), Phase::CanaryAnalyzing);
    assert_eq!(phase(&again), Phase::Paused);
    assert_eq!(step(&settings(), &again, &facts, at(100_021)), again);
}

/// What becomes of a phase by looks that come a second apart, the first of them so many seconds after it was entered.
fn after_looks(from: Phase, passed: i64, looks: &[Evidence], settings: &Settings) -> Memory {
    let (mut memory, mut facts) = at_phase(from);
    let entered = memory.rollout.as_ref().unwrap().phase_since.0.as_second() - at(0).as_second();
    for (look, second) in looks.iter().zip(entered + passed..) {
        facts.evidence = Some(Evidence {
            at: at(second),
            ..look.clone()
        });
        memory = step(settings, &memory, &facts, at(second));
    }
    memory
}

const LONG_AFTER: i64 = 1_000_000;

#[test]
fn a_soak_of_which_nothing_was_seen_closes_no_way_back() {
    for verdict in [Verdict::NoData, Verdict::Error, Verdict::Unsure] {
        let unseen = evidence(verdict, at(0));
        let phase_at = |second, settings: &Settings| {
            let after = after_looks(Phase::Soaking, second, std::slice::from_ref(&unseen), settings);
            phase(&after)
        };
        let just_over = i64::try_from(settings().soak.as_secs()).unwrap() + 60;

        assert_eq!(
            phase_at(just_over, &settings()),
            Phase::Soaking,
            "{verdict:?}: it is waited for"
        );
        assert_eq!(phase_at(LONG_AFTER, &settings()), Phase::Paused, "{verdict:?}");
        let mut fails = settings();
        fails.on_no_data = OnNoData::Fail;
        assert_eq!(phase_at(LONG_AFTER, &fails), Phase::RollingBack, "{verdict:?}");
        let mut synthetic = settings();
        synthetic.on_no_data = OnNoData::ProceedIfSynthetic;
        let wanted = if verdict == Verdict::NoData {
            Phase::PostMigrating
        } else {
            Phase::Paused
        };
        assert_eq!(phase_at(LONG_AFTER, &synthetic), wanted, "{verdict:?}");
    }
}

#[test]
fn a_budget_that_burns_in_two_looks_brings_the_old_version_back_though_the_whole_was_good() {
    let burning = Evidence {
        burn: Burn::Burning,
        ..evidence(Verdict::Strong, at(0))
    };
    let good = evidence(Verdict::Strong, at(0));
    for from in [Phase::MainVerifying, Phase::Soaking] {
        let after = after_looks(from, LONG_AFTER, &[burning.clone(), burning.clone()], &settings());

        assert_eq!(phase(&after), Phase::RollingBack, "{from:?}");
        assert_eq!(after.rollout.unwrap().reason, "BudgetBurning");
        let once = after_looks(from, LONG_AFTER, &[burning.clone(), good.clone()], &settings());
        assert_ne!(phase(&once), Phase::RollingBack, "{from:?}");
    }
}

#[test]
fn a_request_of_the_operators_own_that_fails_in_a_soak_counts_whether_others_were_measured_or_not() {
    let failed = Evidence {
        probe: Probe::Failed("corrupt".to_owned()),
        ..evidence(Verdict::NoData, at(0))
    };

    let after = after_looks(Phase::Soaking, 60, &[failed.clone(), failed], &settings());

    assert_eq!(phase(&after), Phase::RollingBack);
    assert_eq!(after.rollout.unwrap().reason, "ProbeFailed");
}

#[test]
fn new_pods_of_which_nothing_was_seen_are_waited_for_and_then_a_person_is_asked() {
    let unseen = evidence(Verdict::NoData, at(0));

    let waits = after_looks(Phase::MainVerifying, 1_000, std::slice::from_ref(&unseen), &settings());
    let asks = after_looks(
        Phase::MainVerifying,
        LONG_AFTER,
        std::slice::from_ref(&unseen),
        &settings(),
    );

    assert_eq!(phase(&waits), Phase::MainVerifying);
    assert_eq!(phase(&asks), Phase::Paused);
    let state = asks.rollout.as_ref().unwrap();
    assert!(
        state.message.contains("berth.dev/rollout-promote="),
        "{}",
        state.message
    );
    let mut skips = settings();
    skips.skip = Some("an emergency".to_owned());
    let skipped = after_looks(Phase::MainVerifying, LONG_AFTER, &[unseen], &skips);
    assert_eq!(phase(&skipped), Phase::Soaking);
}
