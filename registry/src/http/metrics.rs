//! Measures of the client API.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::time::Duration;

use super::classes::{Class, ClassMetrics};

/// Labels of a finished request: both from closed sets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    endpoint: &'static str,
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByEndpoint {
    endpoint: &'static str,
}

/// Requests, their time and how many are under way.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    requests: Family<Outcome, Counter>,
    seconds: Family<ByEndpoint, Histogram>,
    in_flight: Gauge,
    panics: Counter,
    classes: ClassMetrics,
}

/// From a quarter of a millisecond to the hours that a large push may take.
const SECONDS: [f64; 14] = [
    0.000_25, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 60.0, 3600.0,
];

impl HttpMetrics {
    /// Registers the measures; `subject` labels those that a canary is judged by.
    pub fn register(registry: &mut Registry, subject: &[(&'static str, &str)]) -> Self {
        let metrics = Self {
            requests: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            in_flight: Gauge::default(),
            panics: Counter::default(),
            classes: ClassMetrics::register(registry, subject),
        };
        registry.register(
            "requests",
            "Requests answered, by endpoint and status code",
            metrics.requests.clone(),
        );
        registry.register_with_unit(
            "request_duration",
            "Time from a request's head to its answer's head",
            prometheus_client::registry::Unit::Seconds,
            metrics.seconds.clone(),
        );
        registry.register("requests_in_flight", "Requests under way", metrics.in_flight.clone());
        registry.register(
            "panics",
            "Requests that ended in a panic: a fault of the program",
            metrics.panics.clone(),
        );
        metrics
    }

    /// Counts a request as under way until the guard is dropped.
    pub(super) fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    pub(super) fn panicked(&self) {
        self.panics.inc();
    }

    /// Counts a request that was answered with `code`. Of the time that it took the client needed `waited` to send.
    pub(super) fn answered(
        &self,
        (endpoint, class): (&'static str, Class),
        code: u16,
        (took, waited): (Duration, Duration),
    ) {
        self.classes.answered(class, code, took.saturating_sub(waited));
        self.requests.get_or_create(&Outcome { endpoint, code }).inc();
        self.seconds
            .get_or_create(&ByEndpoint { endpoint })
            .observe(took.as_secs_f64());
    }
}

/// A request under way.
pub(super) struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
