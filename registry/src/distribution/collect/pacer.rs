//! How much to do at once and how long to rest, by how long the last batch took. Pure.
//!
//! A database or store that becomes slow is not to be slowed further by its collector: then batches become small, and rests
//! grow with the square of what a batch takes.

use std::time::Duration;

/// What a batch of rows may take: short enough that nobody who waits for its locks notices.
const ROWS: Duration = Duration::from_millis(250);
/// What the deletion of some objects may take: nobody waits for it, and a request for many costs little more than for one.
const OBJECTS: Duration = Duration::from_secs(1);
/// After work on rows so many times as long is left to others as it took, at the least: who pushes waits for the same writer.
const REST_OF_ROWS: f64 = 2.0;
/// The same after unlinking files, on the disk that takes what is pushed.
const REST_OF_FILES: f64 = 2.0;
/// The same after a request to a bucket, which keeps neither a lock nor a disk of ours: at 0.5, 8 clients that push lose about
/// a tenth, and 1.0 deletes a fifth less.
const REST_OF_OBJECTS: f64 = 0.5;
const LONGEST_REST: Duration = Duration::from_mins(1);
const LEAST_BATCH: u32 = 20;
/// Objects are deleted by so many more than rows; S3 takes a thousand with one request.
const MORE_OBJECTS: u32 = 5;
const MOST_OBJECTS: u32 = 1000;

/// The pace of one queue.
#[derive(Debug, Clone)]
pub struct Pacer {
    most: u32,
    batch: u32,
    target: Duration,
    least_rest: f64,
}

impl Pacer {
    /// For rows, at most `most` at once.
    pub fn of_rows(most: u32) -> Self {
        Self::new(most, ROWS, REST_OF_ROWS)
    }

    /// For objects, where rows are taken by `most`; `local` objects are files.
    pub fn of_objects(most: u32, local: bool) -> Self {
        let most = most.saturating_mul(MORE_OBJECTS).min(MOST_OBJECTS.max(most));
        let least_rest = if local { REST_OF_FILES } else { REST_OF_OBJECTS };
        Self::new(most, OBJECTS, least_rest)
    }

    fn new(most: u32, target: Duration, least_rest: f64) -> Self {
        let most = most.max(1);
        Self {
            most,
            batch: most.min(50),
            target,
            least_rest,
        }
    }

    /// How many items to take next.
    pub fn batch(&self) -> u32 {
        self.batch
    }

    /// Takes note of a batch, and says how long to rest before the next.
    pub fn rest_after(&mut self, took: Duration) -> Duration {
        if took <= self.target {
            self.batch = self.batch.saturating_add(self.batch / 4 + 1).min(self.most);
        } else if took > self.target * 2 {
            self.batch = (self.batch / 2).max(LEAST_BATCH.min(self.most));
        }
        self.rest(took)
    }

    /// Grows with `took`, never zero, bounded.
    fn rest(&self, took: Duration) -> Duration {
        let slowness = (took.as_secs_f64() / self.target.as_secs_f64()).max(1.0);
        let rest = took.as_secs_f64() * self.least_rest * slowness;
        let longest = LONGEST_REST.as_secs_f64();
        Duration::from_secs_f64(rest.min(longest)).max(Duration::from_millis(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{prop_assert, proptest};

    /// Items done in `length`, when a batch takes `latency` for each of its statements and 40 µs an item.
    fn done(pacer: &mut Pacer, latency: Duration, length: Duration) -> u64 {
        let (mut items, mut time) = (0, Duration::ZERO);
        loop {
            let took = latency * 12 + Duration::from_micros(40) * pacer.batch();
            time += took;
            if time > length {
                return items;
            }
            items += u64::from(pacer.batch());
            time += pacer.rest_after(took);
        }
    }

    #[test]
    fn a_minute_after_every_statement_takes_five_seconds_at_most_a_tenth_is_done() {
        let (mut pacer, minute) = (Pacer::of_rows(200), Duration::from_mins(1));
        let before = done(&mut pacer, Duration::from_micros(300), minute);
        let after = done(&mut pacer, Duration::from_secs(5), minute);

        assert!(before > 100_000, "{before} in a minute");
        assert!(after * 10 <= before, "{after} of {before}");
        let begun_slow = done(&mut Pacer::of_rows(200), Duration::from_millis(200), minute);
        assert!(begun_slow * 10 <= before, "{begun_slow} of {before}");
    }

    #[test]
    fn the_pace_comes_back_with_the_database() {
        let (mut pacer, minute) = (Pacer::of_rows(200), Duration::from_mins(1));
        done(&mut pacer, Duration::from_secs(1), minute * 10);
        assert_eq!(pacer.batch(), LEAST_BATCH);

        done(&mut pacer, Duration::from_micros(300), minute);

        assert_eq!(pacer.batch(), 200);
    }

    proptest! {
        #[test]
        fn a_rest_is_never_zero_bounded_and_longer_after_longer_work(micros in 0..10_000_000_000_u64) {
            let (took, longer) = (Duration::from_micros(micros), Duration::from_micros(micros + 1000));

            for pacer in [Pacer::of_rows(200), Pacer::of_objects(200, false)] {
                let rest = pacer.rest(took);
                prop_assert!(rest > Duration::ZERO && rest <= LONGEST_REST);
                prop_assert!(rest <= pacer.rest(longer));
            }
        }

        #[test]
        fn a_batch_is_never_empty_nor_over_its_bound(most in 1..2000_u32, took in proptest::collection::vec(0..10_000_u64, 0..50)) {
            let mut pacer = Pacer::of_objects(most, true);
            for millis in took {
                pacer.rest_after(Duration::from_millis(millis));

                prop_assert!((1..=most.max(1000)).contains(&pacer.batch()));
            }
        }
    }
}
