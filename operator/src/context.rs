//! What a pass has at hand besides the object.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::channel::watch::Channels;
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::management::ManagementClient;
use crate::metrics::Metrics;
use crate::notify::Sinks;
use crate::registry::validate::Defaults;
use crate::rollout::evidence::{Schedule, Witness};

/// The first wait after a failure.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait after failures.
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// What a pass has at hand besides the object.
#[derive(Debug)]
pub struct Context {
    /// The API server.
    pub cluster: Cluster,
    /// The pods' management API.
    pub management: ManagementClient,
    /// The time.
    pub clock: Clock,
    /// What a spec that says nothing gets.
    pub defaults: Defaults,
    /// What is counted.
    pub metrics: Metrics,
    /// Who is told about roll-outs.
    pub sinks: Sinks,
    /// Who looks at the pods of a roll-out.
    pub witness: Arc<dyn Witness>,
    /// When each roll-out was looked at last.
    pub schedule: Schedule,
    /// The looks at the channels that versions come from.
    pub channels: Channels,
    /// The operator's own image, where it was told.
    pub operator_image: Option<String>,
    /// How often each object has failed in a row.
    pub failures: Failures,
    /// How often the pods of each object have not answered in a row.
    pub silences: Failures,
}

/// How often each object has failed in a row, by kind, name and namespace.
#[derive(Debug, Default)]
pub struct Failures(Mutex<HashMap<String, u32>>);

impl Failures {
    /// Notes another failure, and says how long to wait: twice as long each time.
    pub fn wait(&self, object: &str) -> Duration {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(object.to_owned()).or_default();
        let wait = FIRST_WAIT.saturating_mul(1 << (*count).min(16)).min(LONGEST_WAIT);
        *count = count.saturating_add(1);
        wait
    }

    /// Forgets the failures of an object that succeeded or is gone.
    pub fn forget(&self, object: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(object);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes_and_start_again_after_a_success() {
        let failures = Failures::default();

        let waits: Vec<u64> = (0..12).map(|_| failures.wait("object").as_secs()).collect();
        failures.forget("object");

        assert_eq!(waits[..4], [1, 2, 4, 8]);
        assert_eq!(waits[11], 300);
        assert_eq!(failures.wait("object").as_secs(), 1);
    }
}
