//! Since when a roll-out has waited for others, and others may have waited for it.
//!
//! All of it is in the status, so an operator that was started again shows the same times.

use std::sync::atomic::AtomicU64;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Named;
use crate::api::conditions::Reason;
use crate::api::rollout::{ApprovalStep, Phase, RolloutState};

/// Steps that a person may be asked about.
const STEPS: [ApprovalStep; 3] = [ApprovalStep::Canary, ApprovalStep::Main, ApprovalStep::PostMigrations];

type Number = Gauge<f64, AtomicU64>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    namespace: String,
    registry: String,
    step: &'static str,
}

/// Times since which something is waited for. What is not waited for has none.
#[derive(Clone, Debug, Default)]
pub(super) struct Waits {
    approval: Family<Asked, Number>,
    lock: Family<Named, Number>,
    held: Family<Named, Number>,
}

impl Waits {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let waits = Self::default();
        registry.register(
            "approval_start_timestamp_seconds",
            "Since when a roll-out waits for a person's word, by the step that it is asked about",
            waits.approval.clone(),
        );
        registry.register(
            "lock_wait_start_timestamp_seconds",
            "Since when a roll-out waits for its locks, or for a freeze window to end before it asks for them",
            waits.lock.clone(),
        );
        registry.register(
            "lock_held_start_timestamp_seconds",
            "Since when a roll-out holds its locks; of several the one that it has held longest",
            waits.held.clone(),
        );
        waits
    }

    pub(super) fn show(&self, named: &Named, now: &RolloutState) {
        let asks = now.asks.filter(|_| now.phase == Phase::AwaitingApproval);
        for step in STEPS {
            let since = (asks == Some(step)).then_some(&now.phase_since);
            show(&self.approval, &asked(named, step), since);
        }
        let waits = now.phase == Phase::AwaitingLock || now.reason == Reason::WaitingForLock.as_str();
        let is_waiting = waits && !now.phase.is_final();
        show(&self.lock, named, is_waiting.then_some(&now.phase_since));
        let held = now.locks.iter().filter_map(|lock| lock.since.as_ref());
        show(&self.held, named, held.min_by_key(|since| since.0));
    }

    /// Shows nothing more of a Registry that is gone.
    pub(super) fn forget(&self, named: &Named) {
        for step in STEPS {
            self.approval.remove(&asked(named, step));
        }
        for family in [&self.lock, &self.held] {
            family.remove(named);
        }
    }
}

fn show<L>(family: &Family<L, Number>, label: &L, since: Option<&Time>)
where
    L: Clone + std::hash::Hash + Eq,
{
    match since {
        Some(since) => drop(family.get_or_create(label).set(since.0.as_duration().as_secs_f64())),
        None => drop(family.remove(label)),
    }
}

fn asked(named: &Named, step: ApprovalStep) -> Asked {
    Asked {
        namespace: named.namespace.clone(),
        registry: named.registry.clone(),
        step: step.as_str(),
    }
}
