//! What a source of measurements counted.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::api::rollout::RouteClass;

/// How far two counts of the same requests may be apart: a hundredth, or two that ended while they were counted.
const TOLERANCE: f64 = 0.01;
/// More requests than anybody counts: what is greater is a mistake in the answer.
const ABSURD: f64 = 1e15;

/// The requests to the pods of one stage in one window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// Age of the newest measurement of the pod that was heard of least recently. Absent: no pod was heard of.
    pub age: Option<Duration>,
    /// How often the source measures.
    pub interval: Duration,
    /// Pods of the stage that the source measures.
    pub targets_seen: u32,
    /// Pods of the stage that are ready.
    pub targets_expected: u32,
    /// Requests that ended in a panic.
    pub panics: f64,
    /// By class of route.
    pub classes: BTreeMap<RouteClass, Counts>,
    /// The question that was asked, or the address: for the record.
    pub query: String,
}

/// The requests of one class.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// All of them, asked for by themselves.
    pub total: f64,
    /// Those that did not end with a code of 500 or more.
    pub good: f64,
    /// Those that did.
    pub bad: f64,
    /// Those that ended with 401.
    pub unauthorized: f64,
    /// Those that ended with 403.
    pub forbidden: f64,
    /// Those that ended with 404.
    pub missing: f64,
    /// How long the good ones took: rising bounds, the last of them infinite.
    pub latency: Vec<Bucket>,
}

/// How many took at most that long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Seconds.
    pub le: f64,
    /// How many, those of the smaller bounds included.
    pub count: f64,
}

/// Why counts cannot be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unclean {
    /// Not a number, infinite, negative or absurd.
    NotACount,
    /// Good and bad are not all.
    Inconsistent,
    /// There is no bucket with that bound.
    NoSuchBound,
}

impl Sample {
    /// True when a pod was not heard of for more than two measurements and a little.
    pub fn is_stale(&self) -> bool {
        let limit = self.interval.saturating_mul(2).saturating_add(Duration::from_secs(15));
        self.age.is_none_or(|age| age > limit)
    }
}

impl Counts {
    /// Refuses counts that cannot be: what is missing or has another name must not look like no failure.
    ///
    /// # Errors
    /// When a number is no count, or good and bad are not all.
    pub fn check(&self) -> Result<(), Unclean> {
        let parts = [self.unauthorized, self.forbidden, self.missing];
        let sums = [self.total, self.good, self.bad];
        let buckets = self.latency.iter().map(|bucket| bucket.count);
        if !parts.into_iter().chain(sums).chain(buckets).all(is_count) {
            return Err(Unclean::NotACount);
        }
        if !same(self.good + self.bad, self.total) || parts.into_iter().sum::<f64>() > slack(self.good) {
            return Err(Unclean::Inconsistent);
        }
        Ok(())
    }

    /// How many good ones took at most `seconds`.
    ///
    /// # Errors
    /// When no bucket has that bound, or the buckets are not about the good requests.
    pub fn within(&self, seconds: f64) -> Result<f64, Unclean> {
        let rising = |pair: &[Bucket]| pair[0].le < pair[1].le && pair[0].count <= slack(pair[1].count);
        let last = self.latency.last().ok_or(Unclean::NoSuchBound)?;
        if !self.latency.windows(2).all(rising) || last.le.is_finite() || !same(last.count, self.good) {
            return Err(Unclean::Inconsistent);
        }
        let found = self.latency.iter().find(|bucket| (bucket.le - seconds).abs() < 1e-9);
        found.map(|bucket| bucket.count).ok_or(Unclean::NoSuchBound)
    }
}

fn is_count(number: f64) -> bool {
    (0.0..ABSURD).contains(&number)
}

fn same(left: f64, right: f64) -> bool {
    (left - right).abs() <= (TOLERANCE * left.max(right)).max(2.0)
}

fn slack(count: f64) -> f64 {
    count + (TOLERANCE * count).max(2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(total: f64, good: f64, bad: f64) -> Counts {
        Counts {
            total,
            good,
            bad,
            ..Counts::default()
        }
    }

    #[test]
    fn a_label_with_another_name_is_not_zero_failures() {
        assert_eq!(counts(100.0, 0.0, 0.0).check(), Err(Unclean::Inconsistent));
        assert_eq!(counts(100.0, 90.0, 0.0).check(), Err(Unclean::Inconsistent));
        assert_eq!(counts(100.0, 90.0, 9.5).check(), Ok(()));
    }

    #[test]
    fn what_is_no_number_is_no_count() {
        for number in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
            assert_eq!(counts(number, number, 0.0).check(), Err(Unclean::NotACount), "{number}");
        }
    }

    #[test]
    fn a_time_between_two_bounds_is_refused() {
        let mut counts = counts(10.0, 10.0, 0.0);
        counts.latency = [(0.5, 4.0), (1.0, 9.0), (f64::INFINITY, 10.0)]
            .map(|(le, count)| Bucket { le, count })
            .to_vec();

        assert_eq!(counts.within(1.0), Ok(9.0));
        assert_eq!(counts.within(0.7), Err(Unclean::NoSuchBound));
    }

    #[test]
    fn buckets_that_fall_or_do_not_end_are_refused() {
        let buckets = |list: &[(f64, f64)]| Counts {
            latency: list.iter().map(|&(le, count)| Bucket { le, count }).collect(),
            ..counts(10.0, 10.0, 0.0)
        };

        assert_eq!(
            buckets(&[(0.5, 9.0), (1.0, 4.0), (f64::INFINITY, 10.0)]).within(0.5),
            Err(Unclean::Inconsistent)
        );
        assert_eq!(
            buckets(&[(0.5, 9.0), (1.0, 10.0)]).within(0.5),
            Err(Unclean::Inconsistent)
        );
        assert_eq!(
            buckets(&[(0.5, 9.0), (f64::INFINITY, 20.0)]).within(0.5),
            Err(Unclean::Inconsistent)
        );
        assert_eq!(counts(10.0, 10.0, 0.0).within(0.5), Err(Unclean::NoSuchBound));
    }

    #[test]
    fn a_sample_of_nobody_is_stale() {
        let mut sample = Sample {
            interval: Duration::from_secs(30),
            ..Sample::default()
        };
        assert!(sample.is_stale());
        sample.age = Some(Duration::from_secs(75));
        assert!(!sample.is_stale());
        sample.age = Some(Duration::from_secs(76));
        assert!(sample.is_stale());
    }
}
