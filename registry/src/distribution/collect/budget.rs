//! How much may be deleted in an hour, by all replicas together: a wrong policy must not empty a registry overnight. Pure.

use crate::metadata::Micros;
use crate::metadata::collector::State;

const HOUR: Micros = 3_600_000_000;
/// A window further ahead was begun by a clock that was wrong.
const FARTHEST: Micros = 24 * HOUR;

/// What may be deleted in an hour of the clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budget {
    /// Manifests and blobs; absent: any number.
    pub objects: Option<u64>,
    /// Their bytes; absent: any number.
    pub bytes: Option<u64>,
}

impl Budget {
    /// True when there is no bound.
    pub fn is_unlimited(&self) -> bool {
        self.objects.is_none() && self.bytes.is_none()
    }

    /// When the hour ends in which nothing more may be deleted; `None` as long as something may.
    pub fn exhausted_until(&self, state: &State, now: Micros) -> Option<Micros> {
        let purse = Purse::open(*self, state, now);
        let spent = |limit: Option<u64>, used: u64| limit.is_some_and(|limit| used >= limit);
        let exhausted = spent(self.objects, purse.objects) || spent(self.bytes, purse.bytes);
        exhausted.then(|| purse.window_end())
    }
}

/// What is left of the budget while a batch spends it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Purse {
    budget: Budget,
    /// When the hour began.
    pub(super) window_start: Micros,
    /// Spent in it.
    pub(super) objects: u64,
    /// Spent in it.
    pub(super) bytes: u64,
}

impl Purse {
    pub(super) fn open(budget: Budget, state: &State, now: Micros) -> Self {
        let window_start = now - now.rem_euclid(HOUR);
        // A clock that was set back does not begin an hour anew.
        let ahead = state.window_start.saturating_sub(window_start);
        let same = (0..=FARTHEST).contains(&ahead);
        Self {
            budget,
            window_start: if same { state.window_start } else { window_start },
            objects: if same { state.window_objects } else { 0 },
            bytes: if same { state.window_bytes } else { 0 },
        }
    }

    pub(super) fn window_end(&self) -> Micros {
        self.window_start.saturating_add(HOUR)
    }

    /// Pays for one object. `false`: it must wait for the next hour. One that is larger than the whole budget is paid for
    /// by an hour of its own, or it would never go.
    pub(super) fn pay(&mut self, size: u64) -> bool {
        let fits = |limit: Option<u64>, used: u64, more: u64| {
            limit.is_none_or(|limit| used == 0 || used.saturating_add(more) <= limit)
        };
        let allowed = self.budget.objects.is_none_or(|limit| self.objects < limit);
        if !allowed || !fits(self.budget.bytes, self.bytes, size) {
            return false;
        }
        self.objects += 1;
        self.bytes = self.bytes.saturating_add(size);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(window_start: Micros, window_objects: u64, window_bytes: u64) -> State {
        State {
            paused_at: None,
            paused_by: None,
            window_start,
            window_objects,
            window_bytes,
        }
    }

    fn budget(objects: u64, bytes: u64) -> Budget {
        Budget {
            objects: Some(objects),
            bytes: Some(bytes),
        }
    }

    #[test]
    fn objects_and_bytes_are_paid_until_one_of_them_is_spent() {
        let mut purse = Purse::open(budget(3, 100), &state(0, 0, 0), HOUR + 5);

        assert_eq!(
            [40, 40, 40, 20, 1].map(|size| purse.pay(size)),
            [true, true, false, true, false]
        );
        assert_eq!((purse.objects, purse.bytes, purse.window_start), (3, 100, HOUR));
    }

    #[test]
    fn an_hour_goes_on_where_another_replica_left_it_and_the_next_begins_with_all() {
        let spent = state(HOUR, 3, 10);

        assert!(!Purse::open(budget(3, 100), &spent, HOUR + 5).pay(1));
        assert_eq!(budget(3, 100).exhausted_until(&spent, HOUR + 5), Some(2 * HOUR));
        assert!(Purse::open(budget(3, 100), &spent, 2 * HOUR).pay(1));
        assert_eq!(budget(3, 100).exhausted_until(&spent, 2 * HOUR), None);
    }

    #[test]
    fn a_clock_that_was_set_back_gives_no_second_budget() {
        let spent = state(5 * HOUR, 3, 10);

        assert!(!Purse::open(budget(3, 100), &spent, 2 * HOUR).pay(1));
    }

    #[test]
    fn a_clock_that_was_years_ahead_does_not_stop_collection_for_years() {
        assert!(Purse::open(budget(3, 100), &state(90_000 * HOUR, 3, 10), 2 * HOUR).pay(1));
    }

    #[test]
    fn what_is_larger_than_the_budget_of_an_hour_goes_alone() {
        let mut purse = Purse::open(budget(10, 100), &state(0, 0, 0), 0);

        assert_eq!([500, 1].map(|size| purse.pay(size)), [true, false]);
    }

    #[test]
    fn without_a_budget_everything_is_paid() {
        let mut purse = Purse::open(Budget::default(), &state(0, 0, 0), 0);

        assert!(Budget::default().is_unlimited() && (0..1000).all(|_| purse.pay(u64::MAX)));
    }
}
