//! What time it is: asked here and nowhere else, so that a test can choose it.

use k8s_openapi::jiff::Timestamp;

/// A source of the current time.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// The machine's own clock.
    System,
    /// A clock that stands still.
    Fixed(Timestamp),
}

impl Clock {
    /// The time now.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that may ask")]
    pub fn now(self) -> Timestamp {
        match self {
            Self::System => Timestamp::now(),
            Self::Fixed(at) => at,
        }
    }
}
