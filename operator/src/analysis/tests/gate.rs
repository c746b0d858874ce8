//! Several looks, one decision.

use std::time::Duration;

use crate::analysis::gate::{Bake, Conclusion, Evidence, Synthetic, conclude};
use crate::analysis::verdict::{Evaluation, Verdict};
use crate::api::rollout::OnNoData;
use crate::api::rollout::status::Counters;

const FAIL: Verdict = Verdict::Fail { hard: false };
const GREEN: Synthetic = Synthetic {
    probes_green: true,
    pods_calm: true,
};

fn look(verdict: Verdict) -> Evaluation {
    Evaluation {
        verdict,
        checks: Vec::new(),
    }
}

/// The conclusions of looks half a minute apart, with a bake of one to five minutes.
fn conclusions(verdicts: &[Verdict], synthetic: Synthetic, on_no_data: OnNoData) -> Vec<Conclusion> {
    let mut counters = Counters::default();
    let mut elapsed = Duration::ZERO;
    let mut conclusions = Vec::new();
    for verdict in verdicts {
        elapsed += Duration::from_secs(30);
        let bake = Bake {
            elapsed,
            min: Duration::from_mins(1),
            max: Duration::from_mins(5),
        };
        let (after, conclusion) = conclude(counters, &look(*verdict), bake, synthetic, on_no_data);
        counters = after;
        conclusions.push(conclusion);
    }
    conclusions
}

fn last(verdicts: &[Verdict]) -> Conclusion {
    *conclusions(verdicts, GREEN, OnNoData::Pause).last().unwrap()
}

#[test]
fn a_good_canary_passes_after_the_shortest_bake_and_not_before() {
    let found = conclusions(&[Verdict::Strong, Verdict::Strong], GREEN, OnNoData::Pause);

    assert_eq!(found, [Conclusion::Wait, Conclusion::Pass(Evidence::Strong)]);
}

#[test]
fn two_bad_looks_in_a_row_are_bad_and_one_is_not() {
    assert_eq!(last(&[FAIL]), Conclusion::Wait);
    assert_eq!(last(&[FAIL, FAIL]), Conclusion::Fail);
    assert_eq!(last(&[FAIL, Verdict::Unsure, FAIL]), Conclusion::Wait);
}

#[test]
fn a_look_that_saw_nothing_does_not_make_a_bad_one_forgotten() {
    assert_eq!(last(&[FAIL, Verdict::Error, FAIL]), Conclusion::Fail);
    assert_eq!(last(&[FAIL, Verdict::NoData, FAIL]), Conclusion::Fail);
    assert_eq!(last(&[FAIL, Verdict::NoData, Verdict::Strong]), Conclusion::Wait);
}

#[test]
fn a_very_bad_look_is_enough() {
    assert_eq!(last(&[Verdict::Fail { hard: true }]), Conclusion::Fail);
}

#[test]
fn a_canary_that_swings_around_the_limit_never_passes() {
    let swinging = [FAIL, Verdict::Strong].repeat(10);
    let found = conclusions(&swinging, GREEN, OnNoData::ProceedIfSynthetic);

    assert!(!found.iter().any(|it| matches!(it, Conclusion::Pass(_))), "{found:?}");
    assert_eq!(found[9], Conclusion::Inconclusive);
}

#[test]
fn weak_evidence_passes_at_the_end_when_the_operators_own_requests_do() {
    let weak = [Verdict::Weak; 10];
    let red = Synthetic {
        probes_green: false,
        ..GREEN
    };
    let restarted = Synthetic {
        pods_calm: false,
        ..GREEN
    };

    assert_eq!(last(&weak[..9]), Conclusion::Wait);
    assert_eq!(last(&weak), Conclusion::Pass(Evidence::Weak));
    assert_eq!(conclusions(&weak, red, OnNoData::Pause)[9], Conclusion::Inconclusive);
    assert_eq!(
        conclusions(&weak, restarted, OnNoData::Pause)[9],
        Conclusion::Inconclusive
    );
}

#[test]
fn without_requests_a_person_is_asked_unless_the_settings_say_otherwise() {
    let nothing = [Verdict::NoData; 10];
    let red = Synthetic {
        probes_green: false,
        ..GREEN
    };
    let end = |synthetic, on_no_data| conclusions(&nothing, synthetic, on_no_data)[9];

    assert_eq!(end(GREEN, OnNoData::Pause), Conclusion::Inconclusive);
    assert_eq!(end(GREEN, OnNoData::Fail), Conclusion::Fail);
    assert_eq!(
        end(GREEN, OnNoData::ProceedIfSynthetic),
        Conclusion::Pass(Evidence::Synthetic)
    );
    assert_eq!(end(red, OnNoData::ProceedIfSynthetic), Conclusion::Inconclusive);
}

#[test]
fn what_is_unsure_never_passes() {
    let found = conclusions(&[Verdict::Unsure; 40], GREEN, OnNoData::ProceedIfSynthetic);

    assert!(!found.iter().any(|it| matches!(it, Conclusion::Pass(_))), "{found:?}");
}

#[test]
fn a_source_that_is_away_holds_after_six_looks_and_any_answer_begins_anew() {
    assert_eq!(last(&[Verdict::Error; 5]), Conclusion::Wait);
    assert_eq!(last(&[Verdict::Error; 6]), Conclusion::HoldErrors);
    let mut interrupted = vec![Verdict::Error; 5];
    interrupted.push(Verdict::NoData);
    interrupted.push(Verdict::Error);
    assert_eq!(last(&interrupted), Conclusion::Wait);
}

#[test]
fn a_fault_of_both_versions_holds_after_two_looks() {
    assert_eq!(last(&[Verdict::Shared]), Conclusion::Wait);
    assert_eq!(last(&[Verdict::Shared, Verdict::Shared]), Conclusion::HoldShared);
}
