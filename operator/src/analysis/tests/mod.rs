//! The evaluator held against vectors worked out by hand, and against what must be true of all counts.

mod gate;
mod golden;
mod properties;

use std::time::Duration;

use super::objectives::{BOUNDS, Objectives};
use super::sample::{Bucket, Counts, Sample};
use crate::api::rollout::RouteClass;

/// Requests of which `bad` failed and `slow` took longer than any bound.
pub(super) fn counts(total: f64, bad: f64, slow: f64) -> Counts {
    let good = total - bad;
    let quick = BOUNDS.map(|le| Bucket {
        le,
        count: (good - slow).max(0.0),
    });
    let all = Bucket {
        le: f64::INFINITY,
        count: good,
    };
    Counts {
        total,
        good,
        bad,
        latency: quick.into_iter().chain([all]).collect(),
        ..Counts::default()
    }
}

/// A fresh sample of one pod.
pub(super) fn sample(classes: impl IntoIterator<Item = (RouteClass, Counts)>) -> Sample {
    Sample {
        age: Some(Duration::from_secs(3)),
        interval: Duration::from_secs(5),
        targets_seen: 1,
        targets_expected: 1,
        classes: classes.into_iter().collect(),
        ..Sample::default()
    }
}

/// A sample with requests of one class only.
pub(super) fn reads(total: f64, bad: f64) -> Sample {
    sample([(RouteClass::ManifestRead, counts(total, bad, 0.0))])
}

/// Objectives under which only failures can be wrong.
pub(super) fn errors_only() -> Objectives {
    Objectives {
        min_samples: 100.0,
        apdex: std::collections::BTreeMap::new(),
        ..Objectives::default()
    }
}
