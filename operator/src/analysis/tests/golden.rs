//! Vectors worked out by hand.

use std::time::Duration;

use super::{counts, errors_only, reads, sample};
use crate::analysis::evaluate;
use crate::analysis::objectives::Objectives;
use crate::analysis::sample::{Sample, Unclean};
use crate::analysis::verdict::{Evaluation, Verdict, Why};
use crate::api::rollout::RouteClass;

const FAIL: Verdict = Verdict::Fail { hard: false };
const HARD: Verdict = Verdict::Fail { hard: true };

fn alone(n: f64, bad: f64) -> Verdict {
    evaluate(&errors_only(), &reads(n, bad), None).verdict
}

fn beside(canary: (f64, f64), main: (f64, f64)) -> (Verdict, Why) {
    let (canary, main) = (reads(canary.0, canary.1), reads(main.0, main.1));
    let evaluation = evaluate(&errors_only(), &canary, Some(&main));
    (evaluation.verdict, evaluation.worst().unwrap().why)
}

fn only(evaluation: &Evaluation) -> (Verdict, Why) {
    (evaluation.verdict, evaluation.worst().unwrap().why)
}

#[test]
fn a_limit_of_one_percent_fails_from_the_published_counts() {
    // The exact binomial table of how many failures make a canary bad.
    for (n, bad) in [
        (120.0, 5.0),
        (200.0, 6.0),
        (400.0, 10.0),
        (1000.0, 19.0),
        (2000.0, 32.0),
    ] {
        assert_eq!(alone(n, bad), FAIL, "{bad} of {n}");
        assert!(!alone(n, bad - 1.0).is_fail(), "{} of {n}", bad - 1.0);
    }
}

#[test]
fn a_limit_of_one_percent_is_kept_for_sure_up_to_the_published_counts() {
    for (n, bad) in [(400.0, 0.0), (1000.0, 3.0), (2000.0, 11.0)] {
        assert_eq!(alone(n, bad), Verdict::Strong, "{bad} of {n}");
        assert_ne!(alone(n, bad + 1.0), Verdict::Strong, "{} of {n}", bad + 1.0);
    }
    assert_eq!(alone(200.0, 0.0), Verdict::Weak);
    assert_eq!(alone(200.0, 3.0), Verdict::Unsure);
}

#[test]
fn a_quarter_of_failures_is_not_looked_at_twice() {
    assert_eq!(alone(20.0, 20.0), HARD);
    assert_eq!(alone(100.0, 40.0), HARD);
    assert_eq!(alone(100.0, 30.0), FAIL);
}

#[test]
fn one_failure_of_very_few_requests_is_no_verdict() {
    assert_eq!(alone(0.0, 0.0), Verdict::NoData);
    assert_eq!(alone(19.0, 0.0), Verdict::NoData);
    assert!(!alone(19.0, 19.0).is_pass() && !alone(19.0, 19.0).is_fail());
    assert_eq!(alone(99.0, 0.0), Verdict::NoData);
}

#[test]
fn a_canary_that_is_worse_than_main_fails_within_its_limit() {
    let loose = |canary, main| {
        let mut objectives = errors_only();
        objectives.max_errors = 0.1;
        only(&evaluate(&objectives, &canary, Some(&main)))
    };
    assert_eq!(
        loose(reads(5000.0, 150.0), reads(50_000.0, 50.0)),
        (FAIL, Why::Regression)
    );
    assert_eq!(
        loose(reads(200.0, 3.0), reads(50_000.0, 50.0)),
        (Verdict::Unsure, Why::SeemsRegression)
    );
    assert_eq!(loose(reads(5000.0, 5.0), reads(50_000.0, 50.0)).0, Verdict::Strong);
}

#[test]
fn a_canary_that_is_as_bad_as_main_is_not_to_blame() {
    assert_eq!(
        beside((1000.0, 1000.0), (9000.0, 9000.0)),
        (Verdict::Shared, Why::MainIsBadToo)
    );
    assert_eq!(
        beside((1000.0, 50.0), (9000.0, 400.0)),
        (Verdict::Shared, Why::MainIsBadToo)
    );
}

#[test]
fn a_canary_that_is_twice_as_bad_as_a_bad_main_is_to_blame() {
    assert_eq!(beside((1000.0, 1000.0), (9000.0, 200.0)).0, HARD);
    assert_eq!(beside((1000.0, 200.0), (9000.0, 360.0)).0, FAIL);
}

#[test]
fn a_good_canary_beside_a_bad_main_is_good() {
    assert_eq!(beside((1000.0, 0.0), (9000.0, 900.0)).0, Verdict::Strong);
}

#[test]
fn without_requests_to_main_the_comparison_is_missing() {
    assert_eq!(
        beside((1000.0, 0.0), (0.0, 0.0)),
        (Verdict::Weak, Why::SeemsWithinLimit)
    );
}

#[test]
fn a_broken_route_that_few_use_is_found() {
    let canary = sample([
        (RouteClass::ManifestRead, counts(50_000.0, 0.0, 0.0)),
        (RouteClass::BlobUpload, counts(40.0, 40.0, 0.0)),
    ]);
    let evaluation = evaluate(&errors_only(), &canary, None);

    assert_eq!(evaluation.verdict, HARD);
    assert_eq!(evaluation.worst().unwrap().check, "errors/blob_upload");
}

#[test]
fn a_class_with_few_requests_is_left_to_all_of_them() {
    let canary = sample([
        (RouteClass::ManifestRead, counts(5000.0, 0.0, 0.0)),
        (RouteClass::BlobUpload, counts(12.0, 0.0, 0.0)),
    ]);
    let evaluation = evaluate(&Objectives::default(), &canary, None);

    assert_eq!(evaluation.verdict, Verdict::Strong);
    let names: Vec<_> = evaluation.checks.iter().map(|check| check.check.as_str()).collect();
    assert_eq!(
        names,
        ["errors", "errors/manifest_read", "apdex/manifest_read", "apdex"]
    );
}

#[test]
fn slow_answers_fail_though_none_is_an_error() {
    let canary = sample([(RouteClass::ManifestRead, counts(400.0, 0.0, 100.0))]);
    let evaluation = evaluate(&Objectives::default(), &canary, None);

    assert_eq!(evaluation.verdict, FAIL);
    assert_eq!(evaluation.worst().unwrap().check, "apdex/manifest_read");
    assert!((evaluation.worst().unwrap().value.unwrap() - 0.75).abs() < 1e-9);
}

#[test]
fn failures_that_are_fast_do_not_satisfy() {
    let canary = sample([(RouteClass::ManifestRead, counts(400.0, 200.0, 0.0))]);
    let objectives = Objectives {
        max_errors: 0.9,
        ..Objectives::default()
    };
    let evaluation = evaluate(&objectives, &canary, None);

    assert!(evaluation.verdict.is_fail());
    assert!((evaluation.worst().unwrap().value.unwrap() - 0.5).abs() < 1e-9);
}

#[test]
fn the_score_counts_a_tolerated_answer_half() {
    let mut canary = counts(400.0, 0.0, 0.0);
    // Of 400 answers 392 - 8 satisfy and 16 are tolerated: 0.98, which is 0.961 to 0.990 with 400 requests.
    for bucket in &mut canary.latency {
        bucket.count = if bucket.le < 0.9 { 384.0 } else { 400.0 };
    }
    let evaluation = evaluate(
        &Objectives::default(),
        &sample([(RouteClass::ManifestRead, canary)]),
        None,
    );
    let apdex = evaluation
        .checks
        .iter()
        .find(|check| check.check == "apdex/manifest_read")
        .unwrap();

    let rounded = [apdex.value, apdex.lower, apdex.upper].map(|number| format!("{:.3}", number.unwrap()));
    assert_eq!(rounded, ["0.980", "0.961", "0.990"]);
    assert_eq!(apdex.verdict, Verdict::Strong);
}

#[test]
fn everybody_turned_away_is_found_though_none_is_an_error() {
    let mut canary = counts(1000.0, 0.0, 0.0);
    canary.unauthorized = 1000.0;
    let mut main = counts(9000.0, 0.0, 0.0);
    main.unauthorized = 900.0;
    let only_reads = |counts| sample([(RouteClass::ManifestRead, counts)]);
    let evaluation = evaluate(&Objectives::default(), &only_reads(canary), Some(&only_reads(main)));

    assert_eq!(evaluation.verdict, FAIL);
    assert_eq!(evaluation.worst().unwrap().check, "code_401");
}

#[test]
fn as_many_challenges_as_before_are_the_normal_traffic_of_a_registry() {
    let challenged = |n: f64| {
        let mut counts = counts(n, 0.0, 0.0);
        (counts.unauthorized, counts.missing) = (n * 0.4, n * 0.3);
        sample([(RouteClass::BlobRead, counts)])
    };
    let evaluation = evaluate(&Objectives::default(), &challenged(1000.0), Some(&challenged(9000.0)));

    assert_eq!(evaluation.verdict, Verdict::Strong);
}

fn spoilt(spoil: impl FnOnce(&mut Sample)) -> (Verdict, Why) {
    let mut canary = reads(5000.0, 0.0);
    spoil(&mut canary);
    let evaluation = evaluate(&Objectives::default(), &canary, Some(&reads(5000.0, 0.0)));
    only(&evaluation)
}

#[test]
fn what_is_old_is_no_verdict() {
    assert_eq!(
        spoilt(|it| it.age = Some(Duration::from_secs(26))),
        (Verdict::NoData, Why::Stale)
    );
    assert_eq!(spoilt(|it| it.age = None), (Verdict::NoData, Why::Stale));
    assert_eq!(spoilt(|it| it.age = Some(Duration::from_secs(25))).0, Verdict::Strong);
}

#[test]
fn a_pod_that_nobody_measures_is_no_verdict() {
    assert_eq!(
        spoilt(|it| it.targets_expected = 2),
        (Verdict::NoData, Why::TargetsMissing)
    );
    let nobody = spoilt(|it| (it.targets_seen, it.targets_expected) = (0, 0));
    assert_eq!(nobody, (Verdict::NoData, Why::TargetsMissing));
}

#[test]
fn counts_that_are_none_are_an_error() {
    let read = |it: &mut Sample, change: fn(&mut crate::analysis::Counts)| {
        change(it.classes.get_mut(&RouteClass::ManifestRead).unwrap());
    };
    let inconsistent = (Verdict::Error, Why::Unclean(Unclean::Inconsistent));
    let no_count = (Verdict::Error, Why::Unclean(Unclean::NotACount));
    assert_eq!(spoilt(|it| read(it, |counts| counts.good = 0.0)), inconsistent);
    assert_eq!(spoilt(|it| read(it, |counts| counts.bad = f64::NAN)), no_count);
    assert_eq!(spoilt(|it| read(it, |counts| counts.total = f64::INFINITY)), no_count);
    assert_eq!(spoilt(|it| read(it, |counts| counts.bad = -3.0)), no_count);
    assert_eq!(
        spoilt(|it| read(it, |counts| counts.latency[3].count = f64::NAN)),
        no_count
    );
    assert_eq!(spoilt(|it| read(it, |counts| counts.latency.clear())).0, Verdict::Error);
    assert_eq!(spoilt(|it| it.panics = f64::NAN), no_count);
}

#[test]
fn a_broken_measurement_of_main_is_no_pass_either() {
    let mut main = reads(5000.0, 0.0);
    main.targets_expected = 3;
    let evaluation = evaluate(&Objectives::default(), &reads(5000.0, 0.0), Some(&main));

    assert_eq!(only(&evaluation), (Verdict::NoData, Why::TargetsMissing));
    assert_eq!(evaluation.worst().unwrap().stage, "main");
}

#[test]
fn a_panic_is_bad_unless_main_panics_too() {
    assert_eq!(spoilt(|it| it.panics = 1.0), (FAIL, Why::Panicked));
    let mut panicking = reads(5000.0, 0.0);
    panicking.panics = 1.0;
    let evaluation = evaluate(&Objectives::default(), &panicking, Some(&panicking));
    assert_eq!(evaluation.verdict, Verdict::Unsure);
}

#[test]
fn a_look_without_checks_has_not_passed() {
    assert_eq!(Evaluation::of(Vec::new()).verdict, Verdict::NoData);
    assert_eq!(Evaluation::unmeasured("canary", "503").verdict, Verdict::Error);
}
