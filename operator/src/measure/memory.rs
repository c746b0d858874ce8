//! How much the counters of changing pods grew; pure: time is an argument.
//!
//! A counter begins anew when its process does, and pods come and go. So only what a pod's counters grew by between two
//! looks is added up. The first two looks at a pod count for nothing: what it did before, and its first, cold requests.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::analysis::objectives::BOUNDS;
use crate::analysis::{Bucket, Counts};
use crate::api::rollout::RouteClass;

/// Looks at a pod that count for nothing.
const SKIPPED: u32 = 2;
/// Past sums that are kept; of more, every second old one is left out.
const KEPT: usize = 400;
const PARTS: usize = 6;
const OF_CLASS: usize = PARTS + BOUNDS.len() + 1;
const ALL: usize = 1 + RouteClass::ALL.len() * OF_CLASS;

/// Where a counter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Requests that ended in a panic.
    Panics,
    /// All requests.
    Total(RouteClass),
    /// Without a code of 500 or more.
    Good(RouteClass),
    /// With one.
    Bad(RouteClass),
    /// With 401.
    Unauthorized(RouteClass),
    /// With 403.
    Forbidden(RouteClass),
    /// With 404.
    Missing(RouteClass),
    /// Good ones within a bound; the last is infinite.
    Within(RouteClass, usize),
}

impl Place {
    fn index(self) -> usize {
        let (class, part) = match self {
            Self::Panics => return 0,
            Self::Total(class) => (class, 0),
            Self::Good(class) => (class, 1),
            Self::Bad(class) => (class, 2),
            Self::Unauthorized(class) => (class, 3),
            Self::Forbidden(class) => (class, 4),
            Self::Missing(class) => (class, 5),
            Self::Within(class, bound) => (class, PARTS + bound.min(BOUNDS.len())),
        };
        1 + class as usize * OF_CLASS + part
    }
}

/// Every counter of a pod, or of several.
#[derive(Clone, Debug, PartialEq)]
pub struct Counters(Vec<f64>);

impl Default for Counters {
    fn default() -> Self {
        Self(vec![0.0; ALL])
    }
}

impl Counters {
    /// Adds to one of them.
    pub fn add(&mut self, place: Place, count: f64) {
        self.0[place.index()] += count;
    }

    /// One of them.
    pub fn get(&self, place: Place) -> f64 {
        self.0[place.index()]
    }

    /// What they are to the evaluator.
    pub fn classes(&self) -> BTreeMap<RouteClass, Counts> {
        let of = |class| Counts {
            total: self.get(Place::Total(class)),
            good: self.get(Place::Good(class)),
            bad: self.get(Place::Bad(class)),
            unauthorized: self.get(Place::Unauthorized(class)),
            forbidden: self.get(Place::Forbidden(class)),
            missing: self.get(Place::Missing(class)),
            latency: self.latency(class),
        };
        RouteClass::ALL.into_iter().map(|class| (class, of(class))).collect()
    }

    fn latency(&self, class: RouteClass) -> Vec<Bucket> {
        let bounds = BOUNDS.into_iter().chain([f64::INFINITY]).enumerate();
        let bucket = |(place, le)| Bucket {
            le,
            count: self.get(Place::Within(class, place)),
        };
        bounds.map(bucket).collect()
    }

    fn is_reset_since(&self, before: &Self) -> bool {
        self.0.iter().zip(&before.0).any(|(now, before)| now < before)
    }

    fn grow(&mut self, now: &Self, before: Option<&Self>) {
        for (place, sum) in self.0.iter_mut().enumerate() {
            *sum += now.0[place] - before.map_or(0.0, |before| before.0[place]);
        }
    }

    fn minus(&self, before: &Self) -> Self {
        Self(self.0.iter().zip(&before.0).map(|(now, before)| now - before).collect())
    }
}

/// What the pods of one stage counted since it was first looked at.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pods: BTreeMap<String, Remembered>,
    sum: Counters,
    past: VecDeque<(Duration, Counters)>,
}

#[derive(Clone, Debug)]
struct Remembered {
    looks: u32,
    last: Counters,
}

impl Memory {
    /// Notes what one pod shows.
    pub fn note(&mut self, pod: &str, shown: &Counters) {
        let Some(known) = self.pods.get_mut(pod) else {
            let last = shown.clone();
            self.pods.insert(pod.to_owned(), Remembered { looks: 1, last });
            return;
        };
        known.looks += 1;
        if known.looks > SKIPPED {
            // All counters of a process begin anew together, though some may already be greater than before.
            let is_reset = shown.is_reset_since(&known.last);
            self.sum.grow(shown, (!is_reset).then_some(&known.last));
        }
        known.last = shown.clone();
    }

    /// Forgets the pods that are no more; what they counted stays.
    pub fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        self.pods.retain(|pod, _| is_there(pod));
    }

    /// What was counted in the last `window`; of one that is longer than the memory, all that is remembered. `now` is any
    /// time that only grows.
    pub fn counted(&self, now: Duration, window: Duration) -> Counters {
        let begin = now.saturating_sub(window);
        let before = self.past.iter().rev().find(|(at, _)| *at <= begin);
        before.map_or_else(|| self.sum.clone(), |(_, sum)| self.sum.minus(sum))
    }

    /// Remembers what was counted until now.
    pub fn mark(&mut self, now: Duration) {
        self.past.push_back((now, self.sum.clone()));
        if self.past.len() > KEPT {
            let old = KEPT / 2;
            let mut place = 0;
            self.past.retain(|_| {
                place += 1;
                // The first of all stays: a window that begins with it is no longer than it says.
                place > old || place % 2 == 1
            });
        }
    }
}
