//! Where clients reach a Registry; pure.

use k8s_openapi::api::core::v1::Service;

use crate::api::Registry;
use crate::api::status::Endpoints;

/// The way in that is furthest outside: Ingress, Gateway, load balancer, else the name inside the cluster.
pub(super) fn of(registry: &Registry, service: &Service) -> Option<Endpoints> {
    let from_outside = through_ingress(registry).or_else(|| through_gateway(registry));
    from_outside.or_else(|| through_service(registry, service))
}

fn through_ingress(registry: &Registry) -> Option<Endpoints> {
    let ingress = registry.spec.exposure.as_ref()?.ingress.as_ref()?;
    let scheme = if ingress.tls.is_some() { "https" } else { "http" };
    Some(endpoints(scheme, ingress.host.clone()))
}

/// Which protocol a listener speaks is said in the Gateway, which may be anybody's: clients expect TLS.
fn through_gateway(registry: &Registry) -> Option<Endpoints> {
    let hostnames = &registry.spec.exposure.as_ref()?.gateway.as_ref()?.hostnames;
    let host = hostnames.iter().find(|host| !host.starts_with('*'))?;
    Some(endpoints("https", host.clone()))
}

fn through_service(registry: &Registry, service: &Service) -> Option<Endpoints> {
    let port = service.spec.as_ref()?.ports.as_deref()?.first()?.port;
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.and_then(|balancer| balancer.ingress.as_deref()?.first());
    let outside = ingress.and_then(|ingress| ingress.hostname.clone().or_else(|| ingress.ip.clone()));
    let metadata = &registry.metadata;
    let inside = || {
        let (name, namespace) = (metadata.name.as_deref()?, metadata.namespace.as_deref()?);
        Some(format!("{name}.{namespace}.svc"))
    };
    let host = outside.or_else(inside)?;
    let scheme = if registry.spec.tls.is_some() { "https" } else { "http" };
    Some(endpoints(scheme, format!("{host}:{port}")))
}

fn endpoints(scheme: &str, host: String) -> Endpoints {
    Endpoints {
        url: format!("{scheme}://{host}"),
        host,
    }
}
