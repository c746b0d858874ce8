//! What must be true of all counts.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::sample;
use crate::analysis::evaluate;
use crate::analysis::objectives::{BOUNDS, Objectives};
use crate::analysis::sample::{Bucket, Counts, Sample};
use crate::analysis::verdict::Verdict;
use crate::api::rollout::RouteClass;

/// A class by how long its answers took: one number for each bound, one for more than any, and the failed ones.
fn class() -> impl Strategy<Value = Counts> {
    let fast = prop::collection::vec(0..1500_u32, 6);
    let slow = prop::collection::vec(prop_oneof![20 => Just(0_u32), 2 => 0..4_u32, 1 => 0..2000_u32], 8);
    let failed = prop_oneof![6 => Just(0_u32), 2 => 0..8_u32, 1 => 0..3000_u32];
    let divisor = prop_oneof![3 => Just(1_u32), 1 => 1..200_u32];
    (fast, slow, failed, divisor).prop_map(|(fast, slow, failed, divisor)| {
        let took = fast.into_iter().chain(slow).map(|count| count / divisor);
        let failed = failed / divisor;
        let mut sum = 0.0;
        let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
        let latency = bounds.zip(took).map(|(le, count)| {
            sum += f64::from(count);
            Bucket { le, count: sum }
        });
        let latency = latency.collect();
        Counts {
            total: sum + f64::from(failed),
            good: sum,
            bad: f64::from(failed),
            latency,
            ..Counts::default()
        }
    })
}

fn samples() -> impl Strategy<Value = Sample> {
    prop::collection::vec(class(), 5).prop_map(|counts| sample(RouteClass::ALL.into_iter().zip(counts)))
}

fn times(sample: &Sample, factor: f64) -> Sample {
    let mut scaled = sample.clone();
    for counts in scaled.classes.values_mut() {
        for number in [&mut counts.total, &mut counts.good, &mut counts.bad] {
            *number *= factor;
        }
        counts.latency.iter_mut().for_each(|bucket| bucket.count *= factor);
    }
    scaled
}

/// The same requests, of which the fastest `many` of one class failed instead.
fn with_failures(sample: &Sample, class: RouteClass, many: f64) -> Sample {
    let mut worse = sample.clone();
    let counts = worse.classes.get_mut(&class).unwrap();
    let many = many.min(counts.good);
    counts.good -= many;
    counts.bad += many;
    for bucket in &mut counts.latency {
        bucket.count = (bucket.count - many).max(0.0);
    }
    worse
}

/// The same requests, of which the fastest `many` of one class took longer than any bound.
fn slower(sample: &Sample, class: RouteClass, many: f64) -> Sample {
    let mut worse = sample.clone();
    let counts = worse.classes.get_mut(&class).unwrap();
    for bucket in counts.latency.iter_mut().filter(|bucket| bucket.le.is_finite()) {
        bucket.count = (bucket.count - many).max(0.0);
    }
    worse
}

fn judge(canary: &Sample, main: Option<&Sample>) -> Verdict {
    evaluate(&Objectives::default(), canary, main).verdict
}

/// The properties below say something only if passes and failures are both frequent among the samples.
#[test]
fn the_samples_come_to_every_kind_of_verdict() {
    let mut runner = TestRunner::deterministic();
    let mut found = BTreeMap::<&str, u32>::new();
    for _ in 0..400 {
        let canary = samples().new_tree(&mut runner).unwrap().current();
        let main = samples().new_tree(&mut runner).unwrap().current();
        *found.entry(judge(&canary, Some(&main)).as_str()).or_default() += 1;
    }
    for word in ["Strong", "Unsure", "Shared", "Fail", "HardFail"] {
        assert!(found.get(word).is_some_and(|&times| times >= 8), "{word}: {found:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_shares_of_more_requests_do_not_turn_a_pass_into_a_failure(
        canary in samples(), main in prop::option::of(samples()), factor in 1_u32..1000,
    ) {
        let before = judge(&canary, main.as_ref());
        let factor = f64::from(factor);
        let main = main.map(|main| times(&main, factor));
        let after = judge(&times(&canary, factor), main.as_ref());

        prop_assert!(!(before.is_pass() && (after.is_fail() || after == Verdict::Shared)), "{before:?} {after:?}");
    }

    #[test]
    fn a_failure_of_enough_requests_stays_one_with_more(canary in samples(), factor in 1_u32..1000) {
        let before = judge(&canary, None);
        let after = judge(&times(&canary, f64::from(factor)), None);

        prop_assert!(!before.is_fail() || after.is_fail(), "{before:?} {after:?}");
    }

    #[test]
    fn more_failures_never_help(
        canary in samples(), main in prop::option::of(samples()), class in 0_usize..5, many in 0_u32..500,
    ) {
        let before = judge(&canary, main.as_ref());
        let worse = with_failures(&canary, RouteClass::ALL[class], f64::from(many));
        let after = judge(&worse, main.as_ref());

        prop_assert!(after >= before, "{before:?} became {after:?}");
    }

    #[test]
    fn slower_answers_never_help(
        canary in samples(), main in prop::option::of(samples()), class in 0_usize..5, many in 0_u32..500,
    ) {
        let before = judge(&canary, main.as_ref());
        let worse = slower(&canary, RouteClass::ALL[class], f64::from(many));
        let after = judge(&worse, main.as_ref());

        prop_assert!(after >= before, "{before:?} became {after:?}");
    }

    #[test]
    fn what_is_missing_stale_partial_or_no_number_never_passes(
        canary in samples(), main in samples(), spoilt in 0_usize..8, class in 0_usize..5, of_main: bool,
    ) {
        let (mut canary, mut main) = (canary, main);
        let sample = if of_main { &mut main } else { &mut canary };
        let counts = sample.classes.get_mut(&RouteClass::ALL[class]).unwrap();
        match spoilt {
            0 => sample.age = None,
            1 => sample.age = Some(Duration::from_hours(1)),
            2 => sample.targets_expected = 2,
            3 => counts.total = f64::NAN,
            4 => counts.bad = f64::INFINITY,
            5 => counts.good = -1.0,
            6 => counts.total = counts.total * 1.1 + 10.0,
            _ => counts.latency[2].count = f64::NAN,
        }
        let found = judge(&canary, Some(&main));

        prop_assert!(matches!(found, Verdict::NoData | Verdict::Error), "{found:?}");
    }

    #[test]
    fn too_few_requests_never_pass(canary in samples(), main in prop::option::of(samples())) {
        let total: f64 = canary.classes.values().map(|counts| counts.total).sum();
        let few = times(&canary, (150.0 / total.max(1.0)).min(1.0));

        prop_assert!(!judge(&few, main.as_ref()).is_pass());
    }
}
