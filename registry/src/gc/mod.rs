//! What must be done although nobody asks for it: driven by the clock.
//!
//! Every replica does it, at its own times; the workflows see to it that replicas do not get in each other's way.

mod collector;
mod deletions;
mod metrics;
mod sweeper;

pub use collector::{Collector, Drive};
pub use deletions::Deletions;
pub use metrics::CollectorMetrics;
pub use sweeper::Sweeper;
