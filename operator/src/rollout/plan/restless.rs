//! What pods that all clients use do by themselves, and what follows.

use super::super::facts::{Facts, PodSeen, Verdict};
use super::tests::{at, at_phase, evidence, phase, settings};
use super::*;
use crate::api::rollout::PostPolicy;

/// Pods that all clients use, of which one has ended so often.
fn ending(facts: &mut Facts, ends: i32) {
    facts.main.as_mut().unwrap().seen = vec![PodSeen {
        name: "a".to_owned(),
        ends,
        ..PodSeen::default()
    }];
}

#[test]
fn a_pod_that_ends_again_and_again_takes_the_version_back_once_all_clients_use_it_and_one_end_does_not() {
    for wanted in [Phase::MainVerifying, Phase::Soaking] {
        let (memory, mut facts) = at_phase(wanted);
        ending(&mut facts, 1);
        let once = step(&settings(), &memory, &facts, at(100_000));
        ending(&mut facts, 2);

        let twice = step(&settings(), &once, &facts, at(100_030));

        assert_eq!(phase(&once), wanted);
        assert_eq!(phase(&twice), Phase::RollingBack);
        assert_eq!(twice.refused[0].revision, "2.0.0");
        assert_eq!(twice.rollout.unwrap().reason, "PodsRestarting");
    }
}

#[test]
fn ends_of_one_pod_that_are_weeks_apart_do_not_take_back_a_version_that_soaks_until_a_person_speaks() {
    let settings = Settings {
        post: PostPolicy::Manual,
        approval_ttl: Duration::from_hours(10_000),
        ..settings()
    };
    let (week, hour) = (7 * 86_400, 3_600);
    let ended = |facts: &mut Facts, ends: i32, second: i64| {
        ending(facts, ends);
        facts.main.as_mut().unwrap().seen[0].ended_at = Some(at(second));
    };
    let (mut asked, facts) = at_phase(Phase::Soaking);
    let state = asked.rollout.as_mut().unwrap();
    (state.phase, state.asks) = (Phase::AwaitingApproval, Some(ApprovalStep::PostMigrations));
    for (mut memory, mut facts) in [at_phase(Phase::Soaking), (asked, facts)] {
        let wanted = phase(&memory);
        for ends in 1..5 {
            ended(&mut facts, ends, i64::from(ends) * week);
            memory = step(&settings, &memory, &facts, at(i64::from(ends) * week + 30));
            assert_eq!(phase(&memory), wanted, "{ends} ends, a week apart");
            let later = at(i64::from(ends) * week + 6 * hour);
            memory = step(&settings, &memory, &facts, later);
            assert_eq!(memory, step(&settings, &memory, &facts, later), "written down once");
        }

        ended(&mut facts, 6, 6 * week);
        let again = step(&settings, &memory, &facts, at(6 * week + 30));
        assert_eq!(
            phase(&again),
            Phase::RollingBack,
            "two ends since it was looked at last"
        );
    }
}

#[test]
fn restless_pods_above_the_floor_leave_the_roll_out_standing_with_the_reason() {
    let (mut memory, mut facts) = at_phase(Phase::Soaking);
    memory.floor = Some(RollbackFloor {
        version: "2.0.0".to_owned(),
        reason: "m is applied".to_owned(),
    });
    ending(&mut facts, 3);

    let after = step(&settings(), &memory, &facts, at(100_000));

    let state = after.rollout.unwrap();
    assert_eq!((state.phase, state.reason.as_str()), (Phase::Held, "CannotRollBack"));
    assert!(state.message.contains("ended by itself 3 times"), "{}", state.message);
}

#[test]
fn what_ended_before_a_phase_or_before_the_status_was_lost_does_not_count_in_it() {
    let (mut memory, mut facts) = at_phase(Phase::Soaking);
    memory.rollout.as_mut().unwrap().ended_before = None;
    ending(&mut facts, 7);
    let noted = step(&settings(), &memory, &facts, at(100_000));
    ending(&mut facts, 8);
    let later = step(&settings(), &noted, &facts, at(100_030));
    assert_eq!((phase(&noted), phase(&later)), (Phase::Soaking, Phase::Soaking));

    let (mut memory, _) = at_phase(Phase::MainVerifying);
    memory.rollout.as_mut().unwrap().ended_before = Some([("a".to_owned(), 8)].into());
    facts.evidence = Some(evidence(Verdict::Strong, at(100_030)));
    let next = step(&settings(), &memory, &facts, at(100_030));
    assert_eq!(phase(&next), Phase::Soaking);
    assert_eq!(next.rollout.unwrap().ended_before, Some([("a".to_owned(), 8)].into()));
}

#[test]
fn a_pod_that_is_missing_late_in_a_long_phase_has_its_time_to_come_back() {
    for wanted in [Phase::CanaryAnalyzing, Phase::MainVerifying] {
        let (memory, mut facts) = at_phase(wanted);
        let serving = (facts.main.clone(), facts.canary.clone());
        let late = 1_000_000;
        for pods in facts.main.iter_mut().chain(&mut facts.canary) {
            pods.rollout.ready -= 1;
        }
        let missing = step(&settings(), &memory, &facts, at(late));
        let still = step(&settings(), &missing, &facts, at(late + 1799));
        let given_up = step(&settings(), &still, &facts, at(late + 1800));
        assert_eq!((phase(&missing), phase(&still)), (wanted, wanted));
        assert_eq!(phase(&given_up), Phase::RollingBack);

        (facts.main, facts.canary) = serving;
        let back = step(&settings(), &still, &facts, at(late + 1800));
        assert_eq!(back.rollout.unwrap().lacking_since, None);
    }
}
