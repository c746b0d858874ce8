//! What tells the Prometheus operator to measure the pods.

use kube::api::ObjectMeta;
use serde_json::{Value, json};

use super::super::validate::ValidRegistry;
use super::metadata;
use super::pod::ADMIN;
use crate::api::network::{MonitorKind, Monitoring};
use crate::foreign::{PodMonitor, PodMonitorSpec, ServiceMonitor, ServiceMonitorSpec};
use crate::labels::{self, Component};

pub(super) fn pod_monitor(registry: &ValidRegistry) -> Option<PodMonitor> {
    let settings = wanted(registry, MonitorKind::PodMonitor)?;
    let spec = json!({
        "selector": {"matchLabels": labels::every_pod(&registry.name)},
        "podMetricsEndpoints": [endpoint(settings)],
        "podTargetLabels": ["berth.dev/stage", "berth.dev/version"],
    });
    let mut monitor = PodMonitor::new(&registry.name, PodMonitorSpec::from(spec));
    monitor.metadata = labelled(registry, settings);
    Some(monitor)
}

pub(super) fn service_monitor(registry: &ValidRegistry) -> Option<ServiceMonitor> {
    let settings = wanted(registry, MonitorKind::ServiceMonitor)?;
    let spec = json!({
        "selector": {"matchLabels": labels::every_pod(&registry.name)},
        "endpoints": [endpoint(settings)],
        "podTargetLabels": ["berth.dev/stage", "berth.dev/version"],
    });
    let mut monitor = ServiceMonitor::new(&registry.name, ServiceMonitorSpec::from(spec));
    monitor.metadata = labelled(registry, settings);
    Some(monitor)
}

fn wanted(registry: &ValidRegistry, kind: MonitorKind) -> Option<&Monitoring> {
    registry.monitoring.as_ref().filter(|settings| settings.kind == kind)
}

fn endpoint(settings: &Monitoring) -> Value {
    let mut endpoint = json!({"port": ADMIN, "path": "/metrics"});
    if let Some(interval) = &settings.interval {
        endpoint["interval"] = json!(interval);
    }
    endpoint
}

/// The user's labels go under the operator's own.
fn labelled(registry: &ValidRegistry, settings: &Monitoring) -> ObjectMeta {
    let own = metadata(registry, registry.name.clone(), Component::Registry);
    let mut labels = settings.labels.clone();
    labels.extend(own.labels.clone().unwrap_or_default());
    ObjectMeta {
        labels: Some(labels),
        ..own
    }
}
