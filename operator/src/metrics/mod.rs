//! What the operator counts. Labels come from closed sets; those of roll-outs name the Registry too.

mod conditions;
mod rollouts;

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

pub use rollouts::Rollouts;

/// How a pass ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reconciled {
    kind: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failed {
    kind: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    verb: &'static str,
    group: String,
    resource: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Notified {
    sink: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Unmeasured {
    source: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Version {
    version: &'static str,
}

/// The operator's metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    reconciles: Family<Reconciled, Counter>,
    errors: Family<Failed, Counter>,
    seconds: Histogram,
    requests: Family<Asked, Counter>,
    leads: Gauge,
    notifications: Family<Notified, Counter>,
    measure_errors: Family<Unmeasured, Counter>,
    /// What is counted of roll-outs.
    pub rollouts: Rollouts,
}

impl Metrics {
    /// Metrics that `registry` shows.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            reconciles: Family::default(),
            errors: Family::default(),
            seconds: Histogram::new(exponential_buckets(0.005, 2.0, 12)),
            requests: Family::default(),
            leads: Gauge::default(),
            notifications: Family::default(),
            measure_errors: Family::default(),
            rollouts: Rollouts::register(registry.sub_registry_with_prefix("berth_rollout")),
        };
        let operator = registry.sub_registry_with_prefix("berth_operator");
        operator.register(
            "reconcile",
            "Passes over an object, by how they ended",
            metrics.reconciles.clone(),
        );
        operator.register(
            "reconcile_errors",
            "Passes that failed, by reason",
            metrics.errors.clone(),
        );
        operator.register(
            "reconcile_duration_seconds",
            "How long a pass takes",
            metrics.seconds.clone(),
        );
        operator.register(
            "api_requests",
            "Requests to the API server, by permission",
            metrics.requests.clone(),
        );
        operator.register(
            "notifications",
            "Notifications, by the kind of their receiver and how they ended",
            metrics.notifications.clone(),
        );
        operator.register(
            "measure_errors",
            "Measurements that could not be had, by source and why",
            metrics.measure_errors.clone(),
        );
        let version = Family::<Version, Gauge>::default();
        let label = Version {
            version: env!("CARGO_PKG_VERSION"),
        };
        version.get_or_create(&label).set(1);
        operator.register("info", "1, with the operator's version", version);
        operator.register("leader", "1 while this operator leads", metrics.leads.clone());
        metrics
    }

    /// Counts a notification; `sink` and `result` are words of closed sets.
    pub fn notified(&self, sink: &'static str, result: &'static str) {
        self.notifications.get_or_create(&Notified { sink, result }).inc();
    }

    /// Counts a measurement that could not be had; `source` and `reason` are words of closed sets.
    pub fn unmeasured(&self, source: &'static str, reason: &'static str) {
        self.measure_errors.get_or_create(&Unmeasured { source, reason }).inc();
    }

    /// Says whether this operator leads.
    pub fn leads(&self, leads: bool) {
        self.leads.set(leads.into());
    }

    /// Counts a pass that ended as it should.
    pub fn reconciled(&self, kind: &'static str, took: Duration) {
        self.reconciles.get_or_create(&Reconciled { kind, result: "ok" }).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// Counts a pass that failed; `reason` is one of the fixed words of `Error::reason`.
    pub fn failed(&self, kind: &'static str, reason: &'static str, took: Duration) {
        self.reconciles
            .get_or_create(&Reconciled { kind, result: "error" })
            .inc();
        self.errors.get_or_create(&Failed { kind, reason }).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// Counts a request; the three words are from the table of permissions.
    pub fn asked(&self, verb: &'static str, group: &str, resource: &str) {
        let asked = Asked {
            verb,
            group: group.to_owned(),
            resource: resource.to_owned(),
        };
        self.requests.get_or_create(&asked).inc();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    const ALERTS: &str = include_str!("../../../charts/berth/alerts.yaml");

    /// Everything once, so that every name is shown.
    fn shown() -> String {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.leads(true);
        metrics.failed("Registry", "Api", Duration::from_secs(1));
        metrics.unmeasured("pods", "unreachable");
        let state = |phase: &str, kind: &str| {
            json!({"rollout": {
                "id": "a", "to": {"image": "i", "revision": "r"}, "trigger": "Version", "strategy": "Canary",
                "phase": phase, "phaseSince": "2026-01-01T00:00:00Z", "startedAt": "2026-01-01T00:00:00Z",
                "reason": "", "message": "",
                "decisions": [{"at": "2026-01-01T00:00:00Z", "kind": kind, "actor": "a", "reason": ""}],
            }, "conditions": [{
                "type": "Degraded", "status": "True", "reason": "", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }]})
        };
        for status in [state("CanaryAnalyzing", "begin"), state("RolledBack", "promote")] {
            let status = serde_json::from_value(status).unwrap();
            metrics.rollouts.observe("team", "images", &status);
        }
        let (waits, mut asks) = (state("AwaitingLock", "begin"), state("AwaitingApproval", "begin"));
        asks["rollout"]["asks"] = json!("Main");
        asks["rollout"]["locks"] =
            json!([{"lease": "l", "holder": "h", "token": "t", "since": "2026-01-01T00:00:00Z"}]);
        for (name, status) in [("shop", waits), ("blog", asks)] {
            let status = serde_json::from_value(status).unwrap();
            metrics.rollouts.observe("team", name, &status);
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn alerts_ask_for_metrics_that_the_operator_shows() {
        let text = shown();
        let known: BTreeSet<&str> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split(['{', ' ']).next())
            .collect();
        let is_of_a_name = |letter: char| letter.is_ascii_lowercase() || letter == '_';
        let asked: BTreeSet<&str> = ALERTS
            .lines()
            .filter(|line| line.trim_start().starts_with("expr:"))
            .flat_map(|line| line.split(|letter| !is_of_a_name(letter)))
            .filter(|word| word.starts_with("berth_"))
            .collect();

        assert!(asked.len() >= 6, "{asked:?}");
        let unknown: Vec<_> = asked.difference(&known).collect();
        assert!(unknown.is_empty(), "{unknown:?} of {known:?}");
    }
}
