//! Whether the error budget burns, after every pod was replaced.
//!
//! The long window is the proof, the short one says that it still goes on. Both must be over. What is shorter than its
//! name, because the pods have not served for so long, has few requests: so the proof is one of numbers too.

use std::time::Duration;

use super::interval::{Share, Z_FAIL};
use super::judge::FLOOR;

/// Hours of the budget.
const BUDGET: Duration = Duration::from_hours(720);

/// Where every second request is bad, no objective is kept.
const HIGHEST: f64 = 0.5;

/// Two windows, and the share of the budget that may be gone at the end of the long one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// The long window.
    pub long: Duration,
    /// The short window.
    pub short: Duration,
    /// Share of the budget of thirty days.
    pub budget: f64,
}

/// The pairs that a person is woken for.
pub const PAIRS: [Pair; 2] = [
    Pair {
        long: Duration::from_hours(1),
        short: Duration::from_mins(5),
        budget: 0.02,
    },
    Pair {
        long: Duration::from_hours(6),
        short: Duration::from_mins(30),
        budget: 0.05,
    },
];

/// What the windows of a pair say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Burn {
    /// Within the budget.
    Quiet,
    /// Too few requests in one of the windows.
    NoData,
    /// The budget burns too fast.
    Burning,
}

impl Pair {
    /// How many times faster than evenly the budget may burn.
    pub fn factor(&self) -> f64 {
        self.budget * BUDGET.as_secs_f64() / self.long.as_secs_f64()
    }

    /// The highest share of bad requests for an objective such as 0.99: never so high that nothing is over it.
    pub fn limit(&self, objective: f64) -> f64 {
        (self.factor() * (1.0 - objective)).min(HIGHEST)
    }

    /// What the two windows say for an objective such as 0.99.
    pub fn judge(&self, objective: f64, long: Share, short: Share) -> Burn {
        if long.n < FLOOR || short.n < FLOOR {
            return Burn::NoData;
        }
        let limit = self.limit(objective);
        if long.wilson(Z_FAIL).lower > limit && short.value() > limit {
            Burn::Burning
        } else {
            Burn::Quiet
        }
    }
}

/// What several pairs say: one that burns is enough, and no pair at all says nothing.
pub fn worst(pairs: impl IntoIterator<Item = Burn>) -> Burn {
    pairs.into_iter().max().unwrap_or(Burn::NoData)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factors_are_the_usual_ones() {
        let factors = PAIRS.map(|pair| format!("{:.3}", pair.factor()));

        assert_eq!(factors, ["14.400", "6.000"]);
        assert!((PAIRS[0].limit(0.9) - HIGHEST).abs() < 1e-9);
    }

    #[test]
    fn both_windows_must_be_over() {
        let (calm, burning) = (Share::new(1000.0, 10.0), Share::new(1000.0, 200.0));

        assert_eq!(PAIRS[0].judge(0.99, burning, burning), Burn::Burning);
        assert_eq!(PAIRS[0].judge(0.99, burning, calm), Burn::Quiet);
        assert_eq!(PAIRS[0].judge(0.99, calm, burning), Burn::Quiet);
        assert_eq!(
            PAIRS[1].judge(0.99, Share::new(1000.0, 90.0), Share::new(1000.0, 70.0)),
            Burn::Burning
        );
        let by_chance = Share::new(20.0, 4.0);
        assert_eq!(PAIRS[0].judge(0.99, by_chance, by_chance), Burn::Quiet);
    }

    #[test]
    fn few_requests_say_nothing() {
        assert_eq!(
            PAIRS[0].judge(0.99, Share::new(19.0, 19.0), Share::new(19.0, 19.0)),
            Burn::NoData
        );
        assert_eq!(worst([]), Burn::NoData);
        assert_eq!(worst([Burn::Quiet, Burn::NoData]), Burn::NoData);
        assert_eq!(worst([Burn::NoData, Burn::Burning]), Burn::Burning);
    }
}
