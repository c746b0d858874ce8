//! The time, as an argument: tests move a hand instead of sleeping.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Tells the time of the day in microseconds since 1970.
#[derive(Debug, Clone, Default)]
pub struct Clock(Source);

#[derive(Debug, Clone, Default)]
enum Source {
    #[default]
    System,
    Set(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands at `micros` until it is moved.
    pub fn standing_at(micros: i64) -> Self {
        Self(Source::Set(Arc::new(AtomicI64::new(micros))))
    }

    /// Microseconds since 1970.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system")]
    pub fn now(&self) -> i64 {
        match &self.0 {
            Source::System => jiff::Timestamp::now().as_microsecond(),
            Source::Set(micros) => micros.load(Ordering::SeqCst),
        }
    }

    /// Moves a standing clock forward; the system's clock cannot be moved.
    pub fn advance(&self, by: std::time::Duration) {
        if let Source::Set(micros) = &self.0 {
            micros.fetch_add(micros_of(by), Ordering::SeqCst);
        }
    }
}

/// A length of time in microseconds.
pub fn micros_of(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
