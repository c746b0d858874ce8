//! Who may reach the pods, and whom they may reach.

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::super::config::{ADMIN_PORT, HTTP_PORT};
use super::super::validate::ValidRegistry;
use super::metadata;
use crate::api::network::{Destination, NetworkMode, NetworkSettings, Peer};
use crate::labels::{self, Component};

/// Port of the cluster's DNS.
const DNS_PORT: i32 = 53;
/// Where clouds tell a pod who it is.
const INSTANCE_METADATA: &str = "169.254.0.0/16";
/// Label of a namespace with its name, which Kubernetes sets.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// One policy for every pod of the Registry, also for those that migrate.
pub(super) fn policy(registry: &ValidRegistry) -> Option<NetworkPolicy> {
    let settings = registry
        .network
        .as_ref()
        .filter(|settings| settings.mode == NetworkMode::Restricted)?;
    Some(NetworkPolicy {
        metadata: metadata(registry, registry.name.clone(), Component::Registry),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selector_of(labels::every_pod(&registry.name))),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            ingress: Some(ingress(settings)),
            egress: Some(egress(registry, settings)),
        }),
    })
}

fn ingress(settings: &NetworkSettings) -> Vec<NetworkPolicyIngressRule> {
    let clients = settings.allow_from.as_ref().map(|peers| with_operator(peers));
    let measurers = match &settings.metrics_from {
        Some(peers) => with_operator(peers),
        None => vec![every_pod()],
    };
    let rule = |port: i32, from: Option<Vec<NetworkPolicyPeer>>| NetworkPolicyIngressRule {
        from,
        ports: Some(vec![tcp(port)]),
    };
    vec![rule(HTTP_PORT, clients), rule(ADMIN_PORT, Some(measurers))]
}

/// The operator asks pods how they are, and tries them out.
fn with_operator(peers: &[Peer]) -> Vec<NetworkPolicyPeer> {
    let operator = NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector::default()),
        pod_selector: Some(selector_of(
            [("app.kubernetes.io/name".to_owned(), labels::OPERATOR.to_owned())].into(),
        )),
        ip_block: None,
    };
    peers.iter().map(peer).chain([operator]).collect()
}

fn every_pod() -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector::default()),
        ..NetworkPolicyPeer::default()
    }
}

fn peer(peer: &Peer) -> NetworkPolicyPeer {
    if let Some(cidr) = &peer.cidr {
        return addresses(cidr);
    }
    let namespace = peer
        .namespace
        .as_ref()
        .map(|name| selector_of([(NAMESPACE_NAME.to_owned(), name.clone())].into()));
    let pods = (!peer.pod_labels.is_empty() || namespace.is_none()).then(|| selector_of(peer.pod_labels.clone()));
    NetworkPolicyPeer {
        namespace_selector: namespace,
        pod_selector: pods,
        ip_block: None,
    }
}

fn addresses(cidr: &str) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        ip_block: Some(IPBlock {
            cidr: cidr.to_owned(),
            except: None,
        }),
        ..NetworkPolicyPeer::default()
    }
}

fn egress(registry: &ValidRegistry, settings: &NetworkSettings) -> Vec<NetworkPolicyEgressRule> {
    let dns = NetworkPolicyEgressRule {
        ports: Some(vec![port("UDP", DNS_PORT), port("TCP", DNS_PORT)]),
        to: None,
    };
    let further = match &settings.egress {
        Some(destinations) => destinations.iter().map(destination).collect(),
        None => what_is_needed(registry),
    };
    [dns].into_iter().chain(further).collect()
}

fn destination(destination: &Destination) -> NetworkPolicyEgressRule {
    let ports = || destination.ports.iter().map(|&port| tcp(port)).collect();
    NetworkPolicyEgressRule {
        ports: (!destination.ports.is_empty()).then(ports),
        to: Some(vec![addresses(&destination.cidr)]),
    }
}

/// Host names cannot be told to a policy, so the ports are all that can be narrowed.
fn what_is_needed(registry: &ValidRegistry) -> Vec<NetworkPolicyEgressRule> {
    let mut ports = registry.remote_ports.clone();
    ports.sort_unstable();
    ports.dedup();
    let mut rules = Vec::new();
    if !ports.is_empty() {
        rules.push(NetworkPolicyEgressRule {
            ports: Some(ports.into_iter().map(tcp).collect()),
            to: None,
        });
    }
    if registry.has_cloud_identity() {
        rules.push(NetworkPolicyEgressRule {
            ports: None,
            to: Some(vec![addresses(INSTANCE_METADATA)]),
        });
    }
    rules
}

fn selector_of(labels: std::collections::BTreeMap<String, String>) -> LabelSelector {
    LabelSelector {
        match_labels: (!labels.is_empty()).then_some(labels),
        match_expressions: None,
    }
}

fn tcp(number: i32) -> NetworkPolicyPort {
    port("TCP", number)
}

fn port(protocol: &str, number: i32) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(protocol.to_owned()),
        port: Some(IntOrString::Int(number)),
        end_port: None,
    }
}
