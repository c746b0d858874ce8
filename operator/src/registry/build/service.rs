//! The two Services: one for clients, one for the management API.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::super::config::ADMIN_PORT;
use super::super::validate::ValidRegistry;
use super::metadata;
use super::pod::{ADMIN, HTTP};
use crate::labels::{self, Component, names};

pub(super) fn clients(registry: &ValidRegistry) -> Service {
    let settings = &registry.service;
    let annotations = (!settings.annotations.is_empty()).then(|| settings.annotations.clone());
    let clients_port = ServicePort {
        node_port: settings.node_port,
        // Gateways and meshes read here that the pods speak TLS.
        app_protocol: registry.tls.is_some().then(|| "https".to_owned()),
        ..port(HTTP, settings.port)
    };
    Service {
        metadata: ObjectMeta {
            annotations,
            ..metadata(registry, registry.name.clone(), Component::Registry)
        },
        spec: Some(ServiceSpec {
            load_balancer_class: settings.load_balancer_class.clone(),
            ..spec(registry, settings.type_.as_str(), clients_port)
        }),
        ..Service::default()
    }
}

pub(super) fn admin(registry: &ValidRegistry) -> Service {
    Service {
        metadata: metadata(registry, names::admin_service(&registry.name), Component::Registry),
        spec: Some(spec(registry, "ClusterIP", port(ADMIN, ADMIN_PORT))),
        ..Service::default()
    }
}

fn spec(registry: &ValidRegistry, type_: &str, port: ServicePort) -> ServiceSpec {
    ServiceSpec {
        type_: Some(type_.to_owned()),
        selector: Some(labels::selector(&registry.name, Component::Registry)),
        ports: Some(vec![port]),
        ..ServiceSpec::default()
    }
}

/// The protocol is spelled out because the API server records list items by port and protocol.
fn port(name: &str, port: i32) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port,
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::String(name.to_owned())),
        ..ServicePort::default()
    }
}
