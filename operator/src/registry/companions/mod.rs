//! The objects around the pods: ways in, certificates, budget, autoscaler, network policy, monitors.
//!
//! Each is there when the spec asks for it and removed when it no longer does. `read` and `write` have the requests;
//! what they are is made in [`super::build`].

pub mod lacks;
pub mod read;
pub mod write;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use crate::foreign::{Certificate, HTTPRoute, PodMonitor, ServiceMonitor};

/// The objects around the pods, as they are wanted or as they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Companions {
    /// The way in through an Ingress.
    pub ingress: Option<Ingress>,
    /// The way in through a Gateway.
    pub route: Option<HTTPRoute>,
    /// The certificate with which pods serve.
    pub certificate: Option<Certificate>,
    /// The certificate with which the Ingress serves.
    pub ingress_certificate: Option<Certificate>,
    /// Who may reach whom.
    pub network_policy: Option<NetworkPolicy>,
    /// How many pods may be missing.
    pub budget: Option<PodDisruptionBudget>,
    /// How many pods there are.
    pub autoscaler: Option<HorizontalPodAutoscaler>,
    /// What measures the pods.
    pub pod_monitor: Option<PodMonitor>,
    /// What measures the Service.
    pub service_monitor: Option<ServiceMonitor>,
}

impl Companions {
    /// Kind, name and metadata of each one that is there.
    pub fn each(&self) -> Vec<(&'static str, String, &ObjectMeta)> {
        fn entry<'a>(
            kind: &'static str,
            object: Option<&'a impl kube::Resource<DynamicType = ()>>,
        ) -> Option<(&'static str, String, &'a ObjectMeta)> {
            object.map(|object| (kind, object.name_any(), object.meta()))
        }
        [
            entry("Ingress", self.ingress.as_ref()),
            entry("HTTPRoute", self.route.as_ref()),
            entry("Certificate", self.certificate.as_ref()),
            entry("Certificate", self.ingress_certificate.as_ref()),
            entry("NetworkPolicy", self.network_policy.as_ref()),
            entry("PodDisruptionBudget", self.budget.as_ref()),
            entry("HorizontalPodAutoscaler", self.autoscaler.as_ref()),
            entry("PodMonitor", self.pod_monitor.as_ref()),
            entry("ServiceMonitor", self.service_monitor.as_ref()),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
