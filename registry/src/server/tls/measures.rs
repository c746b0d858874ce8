//! Measures of TLS.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// The certificate in force and its renewals.
#[derive(Debug, Clone, Default)]
pub(crate) struct TlsMetrics {
    expiry: Gauge,
    usable: Gauge,
    reloads: Family<Outcome, Counter>,
    failed_handshakes: Counter,
}

impl TlsMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register_with_unit(
            "certificate_expiry_timestamp",
            "When the certificate in force expires, since 1970; an alarm compares it with time()",
            Unit::Seconds,
            metrics.expiry.clone(),
        );
        registry.register(
            "certificate_files_usable",
            "1 while the certificate files are those in force, 0 while they cannot be used",
            metrics.usable.clone(),
        );
        registry.register(
            "certificate_reloads",
            "Changes of the certificate files, by whether they could be used",
            metrics.reloads.clone(),
        );
        registry.register(
            "failed_handshakes",
            "Connections that ended before TLS was agreed on",
            metrics.failed_handshakes.clone(),
        );
        metrics
    }

    pub(super) fn in_force(&self, expires: i64) {
        self.expiry.set(expires);
        self.usable.set(1);
    }

    pub(super) fn reloaded(&self) {
        self.reloads.get_or_create(&Outcome { outcome: "used" }).inc();
    }

    pub(super) fn refused(&self) {
        self.usable.set(0);
        self.reloads.get_or_create(&Outcome { outcome: "refused" }).inc();
    }

    pub(crate) fn handshake_failed(&self) {
        self.failed_handshakes.inc();
    }
}
