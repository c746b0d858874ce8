//! Reading no faster than is allowed.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Shared by all who read at one time.
#[derive(Debug)]
pub(super) struct Pace {
    bytes_per_second: Option<u64>,
    /// When all bytes that were read so far are paid for.
    all_paid_at: Mutex<Instant>,
}

impl Pace {
    pub(super) fn new(bytes_per_second: Option<u64>) -> Self {
        Self {
            bytes_per_second: bytes_per_second.filter(|rate| *rate > 0),
            all_paid_at: Mutex::new(Instant::now()),
        }
    }

    /// Waits until bytes that were read are paid for.
    pub(super) async fn pay(&self, bytes: u64) {
        if let Some(paid) = self.paid_at(bytes, Instant::now()) {
            sleep_until(paid).await;
        }
    }

    /// When these bytes, and all before them, are paid for. Time in which nothing was read is not saved up.
    fn paid_at(&self, bytes: u64, now: Instant) -> Option<Instant> {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second?);
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let mut paid_at = self.all_paid_at.lock().unwrap_or_else(PoisonError::into_inner);
        *paid_at = (*paid_at).max(now) + cost;
        Some(*paid_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_share_one_rate_and_pauses_are_not_saved_up() {
        let pace = Pace::new(Some(1000));
        let begun = Instant::now();
        let after = |seconds| begun + Duration::from_secs(seconds);

        let paid = [(1000, after(1)), (1500, after(1)), (500, after(2)), (1000, after(60))];
        let paid = paid.map(|(bytes, now)| pace.paid_at(bytes, now).unwrap());

        let expected = [2000, 3500, 4000, 61_000].map(|millis| begun + Duration::from_millis(millis));
        assert_eq!(paid, expected);
    }

    #[test]
    fn without_a_rate_nobody_waits() {
        for rate in [None, Some(0)] {
            assert!(Pace::new(rate).paid_at(u64::MAX, Instant::now()).is_none());
        }
    }
}
