//! The long watch over the pods of a version that all clients use: whether its error budget burns.
//!
//! [`evaluate`](super::evaluate()) judges all that was counted since the pods serve, and the longer that is the less it says of
//! the last minutes. Here the last minutes are held against the last hours. Windows begin no earlier than the pods served.

use std::time::Duration;

use super::burn::{Burn, PAIRS, Pair, worst};
use super::evaluate::{slowness, sum, unusable};
use super::interval::{Share, Z_PASS};
use super::objectives::Objectives;
use super::sample::Sample;
use super::verdict::{CheckResult, Verdict, Why};

/// Every window that is looked at, the shortest first, each cut to the time since the pods serve. No two are the same.
pub fn windows(served: Duration) -> Vec<Duration> {
    let mut windows: Vec<Duration> = PAIRS
        .iter()
        .flat_map(|pair| [pair.short, pair.long])
        .map(|window| window.min(served))
        .collect();
    windows.sort_unstable();
    windows.dedup();
    windows
}

/// What the windows say of failed and of slow answers, and the checks that say that the budget burns.
pub fn watch(objectives: &Objectives, samples: &[(Duration, Sample)]) -> (Burn, Vec<CheckResult>) {
    let served = samples.iter().map(|(window, _)| *window).max().unwrap_or_default();
    let of = |window: Duration| {
        let window = window.min(served);
        let found = samples.iter().find(|(known, _)| *known == window);
        found
            .map(|(_, sample)| sample)
            .filter(|sample| unusable(sample, "main").is_empty())
    };
    let (mut all, mut checks) = (Vec::new(), Vec::new());
    for pair in PAIRS {
        let (Some(long), Some(short)) = (of(pair.long), of(pair.short)) else {
            all.push(Burn::NoData);
            continue;
        };
        let both = [Some(errors(objectives, long, short)), speed(objectives, long, short)];
        for (name, long, short, objective) in both.into_iter().flatten() {
            let burn = pair.judge(objective, long, short);
            all.push(burn);
            if burn == Burn::Burning {
                checks.push(check(name, &pair, (long, short), objective));
            }
        }
    }
    (worst(all), checks)
}

type Judged = (&'static str, Share, Share, f64);

fn errors(objectives: &Objectives, long: &Sample, short: &Sample) -> Judged {
    let share = |sample: &Sample| {
        sum(sample
            .classes
            .values()
            .map(|counts| Share::new(counts.total, counts.bad)))
    };
    ("errors", share(long), share(short), 1.0 - objectives.max_errors)
}

/// All classes together, each with its own times; the objective is that of what was asked for. `None`: counts without times.
fn speed(objectives: &Objectives, long: &Sample, short: &Sample) -> Option<Judged> {
    let share = |sample: &Sample| {
        let (mut shares, mut allowed) = (Vec::new(), 0.0);
        for (class, speed) in &objectives.apdex {
            let counts = sample.classes.get(class);
            let share = counts.map_or_else(|| Ok(Share::default()), |counts| slowness(counts, speed));
            let share = share.ok()?;
            allowed += share.n * (1.0 - speed.min);
            shares.push(share);
        }
        Some((sum(shares.into_iter()), allowed))
    };
    let ((long, allowed), (short, _)) = (share(long)?, share(short)?);
    (long.n > 0.0).then(|| ("apdex", long, short, 1.0 - allowed / long.n))
}

fn check(name: &str, pair: &Pair, (long, short): (Share, Share), objective: f64) -> CheckResult {
    let minutes = |window: Duration| window.as_secs() / 60;
    let likely = long.wilson(Z_PASS);
    CheckResult {
        check: format!("burn/{name}/{}m", minutes(pair.long)),
        stage: "main",
        verdict: Verdict::Fail { hard: false },
        why: Why::BudgetBurning,
        samples: long.n,
        value: Some(long.value()),
        lower: Some(likely.lower),
        upper: Some(likely.upper),
        limit: Some(pair.limit(objective)),
        detail: format!(
            "bad in the last {} minutes: {:.4} of {:.0} requests",
            minutes(pair.short),
            short.value(),
            short.n
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::objectives::BOUNDS;
    use crate::analysis::{Bucket, Counts};
    use crate::api::rollout::RouteClass;

    /// So many requests, of which some fail and some take 30 s.
    fn sample(total: f64, bad: f64, slow: f64) -> Sample {
        let good = total - bad;
        let bucket = |le| Bucket {
            le,
            count: if le < 30.0 { good - slow } else { good },
        };
        let counts = Counts {
            total,
            good,
            bad,
            latency: BOUNDS.into_iter().chain([f64::INFINITY]).map(bucket).collect(),
            ..Counts::default()
        };
        Sample {
            age: Some(Duration::ZERO),
            interval: Duration::from_secs(30),
            targets_seen: 3,
            targets_expected: 3,
            classes: [(RouteClass::BlobRead, counts)].into(),
            ..Sample::default()
        }
    }

    /// Samples of a version that has served for a day: the last half hour, and what was before it.
    fn day(last: &Sample, before: &Sample) -> Vec<(Duration, Sample)> {
        let of = |window: Duration| {
            if window <= Duration::from_mins(30) {
                last
            } else {
                before
            }
        };
        let all = windows(Duration::from_hours(24)).into_iter();
        all.map(|window| (window, of(window).clone())).collect()
    }

    fn judged(samples: &[(Duration, Sample)]) -> Burn {
        watch(&Objectives::default(), samples).0
    }

    #[test]
    fn windows_are_cut_to_the_time_since_the_pods_serve() {
        let minutes = |served| -> Vec<u64> {
            let windows = windows(Duration::from_mins(served));
            windows.iter().map(|window| window.as_secs() / 60).collect()
        };

        assert_eq!(minutes(3), [3]);
        assert_eq!(minutes(40), [5, 30, 40]);
        assert_eq!(minutes(1000), [5, 30, 60, 360]);
    }

    #[test]
    fn what_fails_now_and_for_long_enough_burns_the_budget_and_what_is_over_does_not() {
        let (good, bad, slow) = (
            sample(10_000.0, 5.0, 0.0),
            sample(10_000.0, 2_000.0, 0.0),
            sample(10_000.0, 0.0, 9_000.0),
        );

        assert_eq!(judged(&day(&good, &good)), Burn::Quiet);
        assert_eq!(judged(&day(&bad, &bad)), Burn::Burning);
        assert_eq!(judged(&day(&good, &bad)), Burn::Quiet, "it is over");
        assert_eq!(judged(&day(&bad, &good)), Burn::Quiet, "it has only begun");
        let (burn, checks) = watch(&Objectives::default(), &day(&slow, &slow));
        assert_eq!(burn, Burn::Burning);
        assert_eq!(checks[0].check, "burn/apdex/60m");
        assert_eq!(
            (checks[0].verdict, checks[0].stage),
            (Verdict::Fail { hard: false }, "main")
        );
    }

    #[test]
    fn a_version_that_has_just_begun_is_judged_by_what_there_is() {
        let since = windows(Duration::from_mins(2));
        let of = |sample: &Sample| -> Vec<(Duration, Sample)> {
            since.iter().map(|window| (*window, sample.clone())).collect()
        };

        assert_eq!(judged(&of(&sample(300.0, 150.0, 0.0))), Burn::Burning);
        assert_eq!(judged(&of(&sample(300.0, 3.0, 0.0))), Burn::Quiet);
        assert_eq!(judged(&of(&sample(3.0, 3.0, 0.0))), Burn::NoData);
        assert_eq!(judged(&[]), Burn::NoData);
    }

    #[test]
    fn counts_that_cannot_be_believed_say_nothing() {
        let bad = sample(10_000.0, 2_000.0, 0.0);
        let stale = Sample {
            age: Some(Duration::from_hours(1)),
            ..bad.clone()
        };
        let unseen = Sample {
            targets_seen: 2,
            ..bad.clone()
        };
        let mut unclean = bad;
        unclean.classes.entry(RouteClass::BlobRead).or_default().good = f64::NAN;

        for broken in [stale, unseen, unclean] {
            assert_eq!(judged(&day(&broken, &broken)), Burn::NoData);
        }
    }
}
