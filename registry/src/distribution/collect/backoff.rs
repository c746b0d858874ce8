//! When to try again what did not go: later each time, never at once, never all at one moment.

use std::time::Duration;

/// After the first failure.
const FIRST: Duration = Duration::from_secs(5);
/// After many.
const LONGEST: Duration = Duration::from_hours(24);

/// How long to wait after so many failures in a row. `chance`, from 0 to 1, spreads those that failed together.
///
/// Counted from now, not from when it was due: what is long overdue would be due again at once.
pub(super) fn backoff(failures: i64, chance: f64) -> Duration {
    let doublings = u32::try_from(failures.saturating_sub(1).clamp(0, 32)).unwrap_or_default();
    let longest = LONGEST.mul_f64(0.75);
    let whole = FIRST.saturating_mul(2_u32.saturating_pow(doublings)).min(longest);
    whole.mul_f64(0.75 + chance.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, proptest};

    proptest! {
        #[test]
        fn a_wait_is_positive_and_bounded_whatever_is_asked(failures in any::<i64>(), chance in any::<f64>()) {
            let wait = backoff(failures, chance);

            prop_assert!(wait >= Duration::from_secs(3) && wait <= LONGEST, "{wait:?}");
        }

        #[test]
        fn one_failure_more_is_never_a_shorter_wait(failures in 0..200_i64, chance in 0.0..1.0) {
            prop_assert!(backoff(failures, chance) <= backoff(failures + 1, chance));
        }
    }

    #[test]
    fn waits_double_until_they_are_most_of_a_day() {
        let seconds = |failures| backoff(failures, 0.5).as_secs();

        assert_eq!([1, 2, 3, 4].map(seconds), [5, 10, 20, 40]);
        assert_eq!(seconds(100), 18 * 3600);
    }
}
