//! Who may reach the pods of a Registry, whom they may reach, and who measures them.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A `NetworkPolicy` around the pods.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.mode == 'Restricted' || (!has(self.allowFrom) && !has(self.metricsFrom) && !has(self.egress))")
        .message("networkPolicy.mode Off leaves the network alone, so allowFrom, metricsFrom and egress would have no effect: remove them, or set mode to Restricted")
)]
pub struct NetworkSettings {
    /// `Restricted`: pods are reached and reach only what is said here and what they need. `Off`: no policy.
    #[serde(default)]
    pub mode: NetworkMode,

    /// Who may reach the port for clients. Absent: everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub allow_from: Option<Vec<Peer>>,

    /// Who may reach the port of metrics, beside the operator. Absent: every pod of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub metrics_from: Option<Vec<Peer>>,

    /// Whom pods may reach beside the cluster's DNS. Absent: any address on the ports of the database and the object
    /// store. Given: these only, so the database and the object store must be among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub egress: Option<Vec<Destination>>,
}

/// Whether there is a policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NetworkMode {
    /// A policy.
    #[default]
    Restricted,
    /// No policy.
    Off,
}

/// Some pods, or a range of addresses.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.cidr) != (has(self.namespace) || has(self.podLabels))")
        .message("a peer is a range of addresses or some pods: set cidr, or namespace and podLabels, not both"),
)]
pub struct Peer {
    /// Range of addresses outside the cluster, such as `192.0.2.0/24`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::cidr")]
    pub cidr: Option<String>,

    /// Namespace of the pods. Absent: that of the Registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,

    /// Labels of the pods. Absent: every pod of the namespace.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::schema::labels")]
    pub pod_labels: BTreeMap<String, String>,
}

/// A range of addresses that pods may reach.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Destination {
    /// Range of addresses, such as `10.0.0.0/8`.
    #[schemars(schema_with = "super::schema::cidr")]
    pub cidr: String,

    /// TCP ports there. Absent: every port.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(range(min = 1, max = 65535)))]
    pub ports: Vec<i32>,
}

/// An object of the Prometheus operator that tells it to measure the pods.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Monitoring {
    /// The object: `PodMonitor`, or `ServiceMonitor`. Needs that kind in the cluster (monitoring.coreos.com/v1).
    #[serde(default)]
    pub kind: MonitorKind,

    /// Labels of the object, by which a Prometheus finds it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::schema::labels")]
    pub labels: BTreeMap<String, String>,

    /// Time between two measurements, such as `30s`. Absent: that of the Prometheus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 8), regex(pattern = r"^[1-9][0-9]{0,4}(s|m)$"))]
    pub interval: Option<String>,
}

/// Which object of the Prometheus operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MonitorKind {
    /// Measures the pods one by one.
    #[default]
    PodMonitor,
    /// Measures what is behind the Service of the management API.
    ServiceMonitor,
}
