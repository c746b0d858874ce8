//! The ways in from outside, and their certificates.

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend, IngressSpec,
    IngressTLS, ServiceBackendPort,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::super::validate::ValidRegistry;
use super::metadata;
use super::pod::HTTP;
use crate::api::exposure::{Certificate as Source, ParentRef};
use crate::foreign::{Certificate, CertificateSpec, HTTPRoute, RouteSpec};
use crate::labels::{Component, names};

/// A Service that gets a share of what comes through a Gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Name of the Service.
    pub service: String,
    /// Its share, in proportion to the others'.
    pub weight: i32,
}

impl Backend {
    /// The Service of all pods that serve clients.
    pub fn whole(registry: &ValidRegistry) -> Vec<Self> {
        vec![Self {
            service: registry.name.clone(),
            weight: 1,
        }]
    }

    /// The Service of main, and that of the canary for its share in a hundred. One without a share is not named: it may have
    /// no pods.
    pub fn split(registry: &ValidRegistry, canary: i32) -> Vec<Self> {
        let main = (names::main_service(&registry.name), 100 - canary);
        let both = [main, (names::canary(&registry.name), canary)];
        both.into_iter()
            .filter(|(_, weight)| *weight > 0)
            .map(|(service, weight)| Self { service, weight })
            .collect()
    }
}

pub(super) fn ingress(registry: &ValidRegistry) -> Option<Ingress> {
    let settings = registry.exposure.ingress.as_ref()?;
    let backend = IngressBackend {
        service: Some(IngressServiceBackend {
            name: registry.name.clone(),
            port: Some(ServiceBackendPort {
                name: Some(HTTP.to_owned()),
                number: None,
            }),
        }),
        resource: None,
    };
    let rule = IngressRule {
        host: Some(settings.host.clone()),
        http: Some(HTTPIngressRuleValue {
            paths: vec![HTTPIngressPath {
                path: Some("/".to_owned()),
                path_type: "Prefix".to_owned(),
                backend,
            }],
        }),
    };
    let tls = settings.tls.as_ref().map(|source| IngressTLS {
        hosts: Some(vec![settings.host.clone()]),
        secret_name: Some(secret_name(source, names::ingress_certificate(&registry.name))),
    });
    Some(Ingress {
        metadata: ObjectMeta {
            annotations: (!settings.annotations.is_empty()).then(|| settings.annotations.clone()),
            ..metadata(registry, registry.name.clone(), Component::Registry)
        },
        spec: Some(IngressSpec {
            ingress_class_name: settings.class_name.clone(),
            rules: Some(vec![rule]),
            tls: tls.map(|tls| vec![tls]),
            default_backend: None,
        }),
        ..Ingress::default()
    })
}

/// The Secret with a certificate: the one that is named, or the one that cert-manager fills.
pub(super) fn secret_name(source: &Source, issued: String) -> String {
    source.secret_ref.as_ref().map_or(issued, |secret| secret.name.clone())
}

pub(super) fn route(registry: &ValidRegistry, backends: &[Backend]) -> Option<HTTPRoute> {
    let settings = registry.exposure.gateway.as_ref()?;
    let backends: Vec<Value> = backends
        .iter()
        .map(|backend| {
            json!({
                "group": "", "kind": "Service", "name": backend.service, "port": registry.service.port,
                "weight": backend.weight,
            })
        })
        .collect();
    let mut rule = json!({
        "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
        "backendRefs": backends,
    });
    if let Some(timeout) = &settings.request_timeout {
        rule["timeouts"] = json!({"request": timeout});
    }
    let spec = json!({
        "parentRefs": settings.parent_refs.iter().map(parent).collect::<Vec<_>>(),
        "hostnames": settings.hostnames,
        "rules": [rule],
    });
    let mut route = HTTPRoute::new(&registry.name, RouteSpec::from(spec));
    route.metadata = metadata(registry, registry.name.clone(), Component::Registry);
    Some(route)
}

/// Group and kind are spelled out because the API server fills them in otherwise.
fn parent(parent: &ParentRef) -> Value {
    let mut value = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": parent.name});
    for (key, member) in [
        ("namespace", parent.namespace.as_ref().map(|namespace| json!(namespace))),
        (
            "sectionName",
            parent.section_name.as_ref().map(|section| json!(section)),
        ),
        ("port", parent.port.map(|port| json!(port))),
    ] {
        if let Some(member) = member {
            value[key] = member;
        }
    }
    value
}

/// The certificate with which pods serve: it names the Service and every name from outside.
pub(super) fn certificate(registry: &ValidRegistry) -> Option<Certificate> {
    let (name, namespace) = (&registry.name, &registry.namespace);
    let services = [name.clone(), format!("{name}-main"), format!("{name}-canary")];
    let mut hosts: Vec<String> = services
        .iter()
        .flat_map(|service| {
            [
                service.clone(),
                format!("{service}.{namespace}"),
                format!("{service}.{namespace}.svc"),
            ]
        })
        .collect();
    hosts.extend(outside_names(registry));
    issued(registry, registry.tls.as_ref(), names::certificate(name), &hosts)
}

pub(super) fn ingress_certificate(registry: &ValidRegistry) -> Option<Certificate> {
    let ingress = registry.exposure.ingress.as_ref()?;
    let name = names::ingress_certificate(&registry.name);
    issued(
        registry,
        ingress.tls.as_ref(),
        name,
        std::slice::from_ref(&ingress.host),
    )
}

fn outside_names(registry: &ValidRegistry) -> Vec<String> {
    let gateway = registry
        .exposure
        .gateway
        .iter()
        .flat_map(|gateway| gateway.hostnames.clone());
    let mut names: Vec<String> = registry
        .exposure
        .ingress
        .iter()
        .map(|ingress| ingress.host.clone())
        .collect();
    names.extend(gateway.filter(|host| !names.contains(host)).collect::<Vec<_>>());
    names
}

fn issued(registry: &ValidRegistry, source: Option<&Source>, name: String, hosts: &[String]) -> Option<Certificate> {
    let issuer = &source?.cert_manager.as_ref()?.issuer_ref;
    let spec = json!({
        "secretName": name,
        "dnsNames": hosts,
        "issuerRef": {"group": "cert-manager.io", "kind": issuer.kind.as_str(), "name": issuer.name},
    });
    let mut certificate = Certificate::new(&name, CertificateSpec::from(spec));
    certificate.metadata = metadata(registry, name, Component::Registry);
    Some(certificate)
}
