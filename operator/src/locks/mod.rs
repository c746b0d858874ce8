//! The deploy lock: one roll-out of a group at a time, also where pipelines outside take part, and times when none begins.
//!
//! A lock is a `coordination.k8s.io` Lease that is never deleted, so that its UID and `leaseTransitions` number its
//! holds ([`Token`]). [`plan()`] decides from the Lease alone; [`acquire`], [`renew`] and [`release`] carry it out, one
//! write each, which the API server refuses when somebody else was first. Any of them may be cut off and repeated.

mod act;
mod holder;
pub mod lease;
pub mod plan;
pub mod windows;

pub use act::{Held, Outcome, Renewed, acquire, acquire_all, has_active_job, has_ended, release, renew};
pub use holder::{Holder, TOKEN_LABEL, Token};
pub use plan::{Blocked, Claim, LockStep, plan};

use crate::content_hash;

/// How long a lock is held without being renewed, unless a roll-out says otherwise.
pub const DURATION: std::time::Duration = std::time::Duration::from_mins(1);

/// Which Lease a lock is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LockName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl LockName {
    /// The lock of a group that people have named.
    pub fn of_group(namespace: &str, group: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: format!("berth-rollout-{group}"),
        }
    }

    /// The lock of all Registries of a namespace that have that database: two of them never migrate together.
    pub fn of_database(namespace: &str, host: &str, port: u16, database: &str) -> Self {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let identity = serde_json::json!([host, port, database]);
        let hash = content_hash::of_value(&identity);
        Self {
            namespace: namespace.to_owned(),
            name: format!("berth-rollout-db-{hash}"),
        }
    }

    /// The lock of a Registry that shares nothing.
    pub fn of_registry(namespace: &str, registry: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: format!("berth-rollout-registry-{registry}"),
        }
    }
}

impl std::fmt::Display for LockName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lease {}/{}", self.namespace, self.name)
    }
}
