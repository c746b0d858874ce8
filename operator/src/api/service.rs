//! How clients reach a Registry.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The Service in front of the registry.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.nodePort) || self.type != 'ClusterIP'")
        .message("a ClusterIP Service has no node port: remove service.nodePort, or set service.type to NodePort or LoadBalancer"),
    validation = Rule::new("!has(self.loadBalancerClass) || self.type == 'LoadBalancer'")
        .message("only a load balancer has a class: remove service.loadBalancerClass, or set service.type to LoadBalancer"),
    validation = Rule::new("self.type != 'LoadBalancer' || oldSelf.type != 'LoadBalancer' || (has(self.loadBalancerClass) ? self.loadBalancerClass : '') == (has(oldSelf.loadBalancerClass) ? oldSelf.loadBalancerClass : '')")
        .message("the class of a load balancer cannot change: set service.type to ClusterIP first, and then to LoadBalancer with the new class")
)]
pub struct ServiceSettings {
    /// Who can reach the Service: `ClusterIP` (the cluster), `NodePort` (every node's address too) or `LoadBalancer`.
    #[serde(default, rename = "type")]
    pub type_: ServiceType,

    /// Port of the Service.
    #[serde(default = "ServiceSettings::default_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,

    /// Port on every node, with `NodePort` and `LoadBalancer`. Absent: the cluster chooses one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub node_port: Option<i32>,

    /// Class of the load balancer, with `LoadBalancer`. Absent: the cluster's default. It cannot change while the type
    /// stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub load_balancer_class: Option<String>,

    /// Annotations of the Service, for example those that a cloud's load balancer reads.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::schema::annotations")]
    pub annotations: BTreeMap<String, String>,
}

impl ServiceSettings {
    fn default_port() -> i32 {
        5000
    }
}

impl Default for ServiceSettings {
    fn default() -> Self {
        Self {
            type_: ServiceType::default(),
            port: Self::default_port(),
            node_port: None,
            load_balancer_class: None,
            annotations: BTreeMap::new(),
        }
    }
}

/// Who can reach a Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    /// The cluster.
    #[default]
    ClusterIP,
    /// The cluster, and a port on every node.
    NodePort,
    /// The cluster, a port on every node, and a load balancer outside.
    LoadBalancer,
}

impl ServiceType {
    /// The word that a Service takes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIP => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
        }
    }
}
