//! What is counted of roll-outs: all of it follows from one status of a Registry to the next.
//!
//! The counters begin anew with each operator. What it finds when it begins is shown, and not counted a second time.

mod waits;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::conditions::Conditions;
use crate::api::RegistryStatus;
use crate::api::rollout::RolloutState;
use waits::Waits;

/// From a second to a day.
const SECONDS: [f64; 14] = [
    1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 14_400.0, 28_800.0, 86_400.0,
];
/// Decisions that pass over a gate.
const OVERRIDES: [&str; 4] = ["promote", "skip-step", "skip-analysis", "retry"];

/// Kinds of migrations: before the pods change, and after.
const PENDING: [&str; 2] = ["pre", "post"];

type Number = Gauge<f64, AtomicU64>;
type Times<L> = Family<L, Histogram, fn() -> Histogram>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Named {
    namespace: String,
    registry: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InPhase {
    namespace: String,
    registry: String,
    phase: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Pending {
    namespace: String,
    registry: String,
    phase: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct Checked {
    namespace: String,
    registry: String,
    check: String,
    stage: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Phase {
    phase: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Judged {
    verdict: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Overridden {
    gate: &'static str,
}

/// The metrics of roll-outs.
#[derive(Clone, Debug)]
pub struct Rollouts {
    phase: Family<InPhase, Gauge>,
    phase_start: Family<Named, Number>,
    weight: Family<Named, Gauge>,
    refused: Family<Named, Gauge>,
    start: Family<Named, Number>,
    locks: Family<Named, Gauge>,
    pending: Family<Pending, Gauge>,
    values: Family<Checked, Number>,
    samples: Family<Checked, Gauge>,
    begun: Counter,
    ended: Family<Ended, Counter>,
    seconds: Times<Ended>,
    phase_seconds: Times<Phase>,
    remediation_seconds: Histogram,
    verdicts: Family<Judged, Counter>,
    overrides: Family<Overridden, Counter>,
    conditions: Conditions,
    waits: Waits,
    seen: Arc<Mutex<HashMap<(String, String), Seen>>>,
}

/// What was shown last of one Registry.
#[derive(Clone, Debug, Default)]
struct Seen {
    rollout: Option<RolloutState>,
    checks: BTreeSet<Checked>,
}

fn times() -> Histogram {
    Histogram::new(SECONDS)
}

impl Rollouts {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            phase: Family::default(),
            phase_start: Family::default(),
            weight: Family::default(),
            refused: Family::default(),
            start: Family::default(),
            locks: Family::default(),
            pending: Family::default(),
            values: Family::default(),
            samples: Family::default(),
            begun: Counter::default(),
            ended: Family::default(),
            seconds: Family::new_with_constructor(times),
            phase_seconds: Family::new_with_constructor(times),
            remediation_seconds: times(),
            verdicts: Family::default(),
            overrides: Family::default(),
            conditions: Conditions::register(registry),
            waits: Waits::register(registry),
            seen: Arc::default(),
        };
        metrics.show_states(registry);
        metrics.show_counts(registry);
        metrics
    }

    fn show_states(&self, registry: &mut Registry) {
        registry.register(
            "phase",
            "1 for the phase of a Registry's newest roll-out",
            self.phase.clone(),
        );
        registry.register(
            "phase_start_timestamp_seconds",
            "Since when a roll-out is in its phase",
            self.phase_start.clone(),
        );
        registry.register(
            "canary_weight",
            "Percent of the requests that the canary gets",
            self.weight.clone(),
        );
        registry.register(
            "refused_versions",
            "Versions that were taken back and are not tried again",
            self.refused.clone(),
        );
        registry.register(
            "start_timestamp_seconds",
            "When a Registry's newest roll-out began",
            self.start.clone(),
        );
        registry.register(
            "locks_held",
            "Locks that a roll-out holds; none is older than the roll-out",
            self.locks.clone(),
        );
        registry.register(
            "schema_pending",
            "Migrations that the running version has and the database lacks, pre or post; absent while nobody knows",
            self.pending.clone(),
        );
        registry.register(
            "analysis_value",
            "Share or score that the last measurement found, by check and stage",
            self.values.clone(),
        );
        registry.register(
            "analysis_samples",
            "Requests behind the last measurement, by check and stage",
            self.samples.clone(),
        );
    }

    fn show_counts(&self, registry: &mut Registry) {
        registry.register("started", "Roll-outs that began", self.begun.clone());
        registry.register("finished", "Roll-outs that ended, by how", self.ended.clone());
        registry.register(
            "duration_seconds",
            "How long roll-outs took, by how they ended",
            self.seconds.clone(),
        );
        registry.register(
            "phase_duration_seconds",
            "How long roll-outs were in a phase that they have left: AwaitingLock and AwaitingApproval are waiting",
            self.phase_seconds.clone(),
        );
        registry.register(
            "time_to_remediation_seconds",
            "From the first sign of a failure until the old version was back",
            self.remediation_seconds.clone(),
        );
        registry.register(
            "analysis_verdicts",
            "Measurements, by what they came to",
            self.verdicts.clone(),
        );
        registry.register(
            "gate_overrides",
            "Decisions of people to pass over a gate, by which",
            self.overrides.clone(),
        );
    }

    /// Shows `status`, and counts what is new in it since it was shown last.
    pub fn observe(&self, namespace: &str, name: &str, status: &RegistryStatus) {
        self.conditions.show(namespace, name, &status.conditions);
        self.show_schema(namespace, name, status);
        let key = (namespace.to_owned(), name.to_owned());
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(now) = &status.rollout else {
            // Nothing was ever rolled out: later everything is new.
            all.entry(key).or_default();
            return;
        };
        let named = Named {
            namespace: namespace.to_owned(),
            registry: name.to_owned(),
        };
        let known = all.get(&key).cloned();
        if let Some(before) = &known {
            self.count(before.rollout.as_ref(), now);
        }
        let mut seen = known.unwrap_or_default();
        self.show(&named, &seen, now);
        self.refused
            .get_or_create(&named)
            .set(i64::try_from(status.refused.len()).unwrap_or(i64::MAX));
        self.show_checks(&named, &mut seen, now);
        seen.rollout = Some(now.clone());
        all.insert(key, seen);
    }

    /// Shows nothing more of a Registry that is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.conditions.forget(namespace, name);
        for phase in PENDING {
            self.pending.remove(&pending(namespace, name, phase));
        }
        let key = (namespace.to_owned(), name.to_owned());
        let Some(seen) = self.seen.lock().unwrap_or_else(PoisonError::into_inner).remove(&key) else {
            return;
        };
        let named = Named {
            namespace: key.0,
            registry: key.1,
        };
        if let Some(rollout) = &seen.rollout {
            self.phase.remove(&in_phase(&named, rollout));
        }
        self.phase_start.remove(&named);
        self.start.remove(&named);
        for family in [&self.weight, &self.refused, &self.locks] {
            family.remove(&named);
        }
        self.waits.forget(&named);
        for check in &seen.checks {
            self.values.remove(check);
            self.samples.remove(check);
        }
    }

    fn show(&self, named: &Named, seen: &Seen, now: &RolloutState) {
        if let Some(before) = &seen.rollout {
            self.phase.remove(&in_phase(named, before));
        }
        self.phase.get_or_create(&in_phase(named, now)).set(1);
        self.phase_start
            .get_or_create(named)
            .set(now.phase_since.0.as_duration().as_secs_f64());
        self.start
            .get_or_create(named)
            .set(now.started_at.0.as_duration().as_secs_f64());
        self.locks
            .get_or_create(named)
            .set(i64::try_from(now.locks.len()).unwrap_or(i64::MAX));
        self.weight.get_or_create(named).set(now.weight.actual.into());
        self.waits.show(named, now);
    }

    fn show_schema(&self, namespace: &str, name: &str, status: &RegistryStatus) {
        for phase in PENDING {
            let label = pending(namespace, name, phase);
            let Some(schema) = &status.schema else {
                self.pending.remove(&label);
                continue;
            };
            let lacking = if phase == "pre" {
                &schema.pending_pre
            } else {
                &schema.pending_post
            };
            let count = i64::try_from(lacking.len()).unwrap_or(i64::MAX);
            self.pending.get_or_create(&label).set(count);
        }
    }

    fn show_checks(&self, named: &Named, seen: &mut Seen, now: &RolloutState) {
        let measurements = now.verdict.as_ref().map(|verdict| verdict.measurements.as_slice());
        let mut checks = BTreeSet::new();
        for measured in measurements.unwrap_or_default() {
            let check = Checked {
                namespace: named.namespace.clone(),
                registry: named.registry.clone(),
                check: measured.check.clone(),
                stage: measured.stage.clone(),
            };
            // No value is not zero: then nothing is shown.
            match measured.value {
                Some(value) => drop(self.values.get_or_create(&check).set(value)),
                None => drop(self.values.remove(&check)),
            }
            self.samples.get_or_create(&check).set(measured.samples);
            checks.insert(check);
        }
        for gone in seen.checks.difference(&checks) {
            self.values.remove(gone);
            self.samples.remove(gone);
        }
        seen.checks = checks;
    }

    fn count(&self, before: Option<&RolloutState>, now: &RolloutState) {
        let before = before.filter(|before| before.id == now.id);
        if before.is_none() {
            self.begun.inc();
        }
        if before.is_some_and(|before| before.phase == now.phase && before.phase_since == now.phase_since) {
            return self.count_within(before, now);
        }
        if let Some(before) = before {
            let label = Phase {
                phase: before.phase.as_str(),
            };
            self.phase_seconds
                .get_or_create(&label)
                .observe(seconds(&before.phase_since, &now.phase_since));
        }
        if now.phase.is_final() {
            self.count_end(now);
        }
        self.count_within(before, now);
    }

    fn count_end(&self, now: &RolloutState) {
        let result = Ended {
            result: now.phase.as_str(),
        };
        self.ended.get_or_create(&result).inc();
        let Some(finished) = &now.finished_at else { return };
        self.seconds
            .get_or_create(&result)
            .observe(seconds(&now.started_at, finished));
        if let Some(failed) = &now.failed_at {
            self.remediation_seconds.observe(seconds(failed, finished));
        }
    }

    fn count_within(&self, before: Option<&RolloutState>, now: &RolloutState) {
        let judged = before
            .and_then(|before| before.verdict.as_ref())
            .map(|verdict| &verdict.at);
        if let Some(verdict) = &now.verdict
            && judged != Some(&verdict.at)
        {
            let label = Judged {
                verdict: verdict.word.clone(),
            };
            self.verdicts.get_or_create(&label).inc();
        }
        let taken = before.map(|before| before.decisions.as_slice()).unwrap_or_default();
        for decision in now.decisions.iter().filter(|decision| !taken.contains(decision)) {
            if let Some(gate) = OVERRIDES.into_iter().find(|gate| *gate == decision.kind) {
                self.overrides.get_or_create(&Overridden { gate }).inc();
            }
        }
    }
}

fn in_phase(named: &Named, rollout: &RolloutState) -> InPhase {
    InPhase {
        namespace: named.namespace.clone(),
        registry: named.registry.clone(),
        phase: rollout.phase.as_str(),
    }
}

fn pending(namespace: &str, name: &str, phase: &'static str) -> Pending {
    Pending {
        namespace: namespace.to_owned(),
        registry: name.to_owned(),
        phase,
    }
}

fn seconds(from: &Time, to: &Time) -> f64 {
    to.0.duration_since(from.0).as_secs_f64().max(0.0)
}

#[cfg(test)]
mod tests;
