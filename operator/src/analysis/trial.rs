//! Whether the gate can fail at all: it is tried before the first canary is judged by it.
//!
//! A limit in the wrong unit passes everything for years. So all bad must fail, all slow must fail, and all good must pass.

use std::collections::BTreeMap;
use std::time::Duration;

use super::evaluate::evaluate;
use super::interval::Z_PASS;
use super::objectives::{BOUNDS, InvalidThreshold, Objectives};
use super::sample::{Bucket, Counts, Sample};
use super::verdict::Verdict;
use crate::api::rollout::RouteClass;

/// A gate that must not judge.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BrokenGate {
    /// A time that cannot be measured.
    #[error(transparent)]
    Threshold(#[from] InvalidThreshold),
    /// Requests that all failed pass.
    #[error("rollout.analysis: a canary of which every request fails would be {found}: lower errorRatio.max")]
    PassesErrors {
        /// What it came to.
        found: &'static str,
    },
    /// Answers that are all too slow pass.
    #[error("rollout.analysis.apdex: a canary that answers every {class} too slowly would be {found}: raise min", class = .class.as_str())]
    PassesSlowness {
        /// Of which class.
        class: RouteClass,
        /// What it came to.
        found: &'static str,
    },
    /// Requests of which none failed and all were fast do not pass.
    #[error(
        "rollout.analysis: a canary without any fault would be {found}: raise errorRatio.max or lower min of apdex"
    )]
    NeverPasses {
        /// What it came to.
        found: &'static str,
    },
}

/// Tries the gate on made-up counts: all bad, all slow in one class after the other, all good.
///
/// # Errors
/// When one of them does not come to what it must.
pub fn try_gate(objectives: &Objectives) -> Result<(), BrokenGate> {
    objectives.check()?;
    let n = enough(objectives);
    let found = verdict_of(objectives, "errors", &sample(|_| failed(n)));
    if found != (Verdict::Fail { hard: true }) {
        return Err(BrokenGate::PassesErrors { found: found.as_str() });
    }
    for &class in objectives.apdex.keys() {
        let check = format!("apdex/{}", class.as_str());
        let found = verdict_of(
            objectives,
            &check,
            &sample(|it| if it == class { slow(n) } else { fast(n) }),
        );
        if !found.is_fail() {
            let found = found.as_str();
            return Err(BrokenGate::PassesSlowness { class, found });
        }
    }
    let found = evaluate(objectives, &sample(|_| fast(n)), None).verdict;
    if found == Verdict::Strong {
        return Ok(());
    }
    Err(BrokenGate::NeverPasses { found: found.as_str() })
}

/// What one check came to: another one that fails must not hide that it cannot.
fn verdict_of(objectives: &Objectives, check: &str, canary: &Sample) -> Verdict {
    let checks = evaluate(objectives, canary, None).checks;
    let found = checks.iter().find(|found| found.check == check);
    found.map_or(Verdict::NoData, |found| found.verdict)
}

/// So many requests that none bad among them is proof.
fn enough(objectives: &Objectives) -> f64 {
    let apdex = objectives.apdex.values().map(|speed| 1.0 - speed.min);
    let strictest = apdex.fold(objectives.max_errors, f64::min).max(1e-6);
    (2.0 * Z_PASS * Z_PASS / strictest)
        .max(objectives.min_samples)
        .max(1000.0)
}

fn sample(counts: impl Fn(RouteClass) -> Counts) -> Sample {
    Sample {
        age: Some(Duration::ZERO),
        interval: Duration::from_secs(1),
        targets_seen: 1,
        targets_expected: 1,
        classes: RouteClass::ALL
            .into_iter()
            .map(|class| (class, counts(class)))
            .collect::<BTreeMap<_, _>>(),
        ..Sample::default()
    }
}

fn fast(n: f64) -> Counts {
    answered(n, n, n)
}

fn slow(n: f64) -> Counts {
    answered(n, n, 0.0)
}

fn failed(n: f64) -> Counts {
    answered(n, 0.0, 0.0)
}

fn answered(total: f64, good: f64, quick: f64) -> Counts {
    let bounds = BOUNDS.map(|le| Bucket { le, count: quick });
    let all = Bucket {
        le: f64::INFINITY,
        count: good,
    };
    Counts {
        total,
        good,
        bad: total - good,
        latency: bounds.into_iter().chain([all]).collect(),
        ..Counts::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_gate_works() {
        assert_eq!(try_gate(&Objectives::default()), Ok(()));
    }

    #[test]
    fn every_gate_that_the_schema_allows_works() {
        for max_errors in [0.0001, 0.01, 0.5] {
            for min in [0.01, 0.5, 0.9999] {
                for min_samples in [1.0, 1e6] {
                    let mut objectives = Objectives {
                        min_samples,
                        max_errors,
                        ..Objectives::default()
                    };
                    objectives.apdex.values_mut().for_each(|speed| speed.min = min);

                    assert_eq!(try_gate(&objectives), Ok(()), "{max_errors} {min} {min_samples}");
                }
            }
        }
    }

    #[test]
    fn a_limit_in_the_wrong_unit_is_found() {
        let percent = Objectives {
            max_errors: 1.0,
            ..Objectives::default()
        };

        assert!(matches!(try_gate(&percent), Err(BrokenGate::PassesErrors { .. })));
    }

    #[test]
    fn a_limit_that_nothing_can_keep_is_found() {
        let zero = Objectives {
            max_errors: 0.0,
            ..Objectives::default()
        };

        assert!(matches!(try_gate(&zero), Err(BrokenGate::NeverPasses { .. })));
    }

    #[test]
    fn a_score_that_everybody_reaches_is_found() {
        let mut objectives = Objectives::default();
        objectives.apdex.values_mut().for_each(|speed| speed.min = 0.0);

        assert!(matches!(try_gate(&objectives), Err(BrokenGate::PassesSlowness { .. })));
    }
}
