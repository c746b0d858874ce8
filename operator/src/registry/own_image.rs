//! Whether a Registry holds the image that it runs: then it could not be started again without itself; pure.

use crate::api::Registry;

/// Whether `reference` names an image in `registry` itself.
pub fn is_served_by(registry: &Registry, reference: &str) -> bool {
    let Some((host, _)) = reference.split_once('/') else {
        return false;
    };
    let names_a_registry = host.contains(['.', ':']) || host == "localhost";
    names_a_registry && (is_inside(registry, host) || is_outside(registry, host) || is_node_port(registry, host))
}

/// What is to be said when one of `images` is in `registry`.
pub fn problem(registry: &Registry, images: &[&str], operator: Option<&str>) -> Option<String> {
    let own = images.iter().find(|image| is_served_by(registry, image));
    if let Some(image) = own {
        return Some(format!(
            "{image} is in this very registry: when no pod serves, a node without the image cannot start one. Nodes are not \
             asked to fetch it at each start, and pods of the old version stay until new ones serve; have the image in \
             another registry too, or pull it on every node beforehand"
        ));
    }
    let operator = operator.filter(|image| is_served_by(registry, image))?;
    Some(format!(
        "the operator's own image {operator} is in this registry: when it does not serve, an operator that moves to \
         another node cannot come back to mend it; have that image in another registry too"
    ))
}

/// The names that Services have in the cluster, whatever the port.
fn is_inside(registry: &Registry, host: &str) -> bool {
    let (Some(name), Some(namespace)) = (
        registry.metadata.name.as_deref(),
        registry.metadata.namespace.as_deref(),
    ) else {
        return false;
    };
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    ["", "-main", "-canary"].iter().any(|stage| {
        let service = format!("{name}{stage}.{namespace}");
        host == service || host == format!("{service}.svc") || host == format!("{service}.svc.cluster.local")
    })
}

/// Ingress, Gateway and load balancer. A host without a port is the one with the usual port.
fn is_outside(registry: &Registry, host: &str) -> bool {
    let plain = host
        .strip_suffix(":443")
        .or_else(|| host.strip_suffix(":80"))
        .unwrap_or(host);
    let exposure = registry.spec.exposure.as_ref();
    let ingress = exposure
        .and_then(|exposure| exposure.ingress.as_ref())
        .is_some_and(|ingress| ingress.host == plain);
    let gateway = exposure
        .and_then(|exposure| exposure.gateway.as_ref())
        .is_some_and(|gateway| gateway.hostnames.iter().any(|name| fits(name, plain)));
    let external = registry
        .spec
        .config
        .get("http")
        .and_then(|http| http.get("external_url"));
    let external = external
        .and_then(|url| url::Url::parse(url.as_str()?).ok())
        .is_some_and(|url| authority(&url) == host || authority(&url) == plain);
    let status = registry.status.as_ref();
    let told = status
        .and_then(|status| status.endpoints.as_ref())
        .is_some_and(|endpoints| endpoints.host == host || endpoints.host == plain);
    ingress || gateway || told || external
}

/// Host and port of a URL, without the port that is the usual one.
fn authority(url: &url::Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Nodes reach a registry of their cluster on themselves.
fn is_node_port(registry: &Registry, host: &str) -> bool {
    let port = registry.spec.service.as_ref().and_then(|service| service.node_port);
    let is_self = |name: &str| matches!(name, "localhost" | "127.0.0.1" | "[::1]");
    port.is_some_and(|port| {
        host.rsplit_once(':')
            .is_some_and(|(name, said)| is_self(name) && said == port.to_string())
    })
}

/// Whether the name of a Gateway, which may begin with `*.`, stands for `host`.
fn fits(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(end) => host.strip_suffix(end).is_some_and(|rest| rest.ends_with('.')),
        None => name == host,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::status::Endpoints;
    use crate::registry::fixtures::production;

    fn exposed() -> Registry {
        let gateway = json!({"parentRefs": [{"name": "edge"}], "hostnames": ["*.hub.example.com"]});
        let mut registry = production(&json!({
            "exposure": {"ingress": {"host": "images.example.com"}, "gateway": gateway},
            "service": {"type": "NodePort", "nodePort": 30500},
            "config": {"http": {"external_url": "https://proxy.example.com/hub"}},
        }));
        registry.status.get_or_insert_default().endpoints = Some(Endpoints {
            url: "http://192.0.2.7:5000".to_owned(),
            host: "192.0.2.7:5000".to_owned(),
        });
        registry
    }

    #[test]
    fn an_image_behind_any_way_in_is_in_the_registry_itself() {
        for reference in [
            "images.team.svc:5000/berth/berth-registry:1.0.0",
            "images.team.svc.cluster.local:5000/berth/berth-registry:1.0.0",
            "images-main.team:5000/a@sha256:0",
            "images.example.com/a:1",
            "images.example.com:443/a:1",
            "a.hub.example.com/a:1",
            "192.0.2.7:5000/a:1",
            "proxy.example.com/hub/a:1",
            "localhost:30500/a:1",
        ] {
            assert!(is_served_by(&exposed(), reference), "{reference}");
        }
    }

    #[test]
    fn an_image_elsewhere_is_not() {
        for reference in [
            "berth/berth-registry:1.0.0",
            "images/berth-registry:1.0.0",
            "images.other.svc:5000/a:1",
            "images2.example.com/a:1",
            "hub.example.com/a:1",
            "192.0.2.7:5001/a:1",
            "localhost:30501/a:1",
        ] {
            assert!(!is_served_by(&exposed(), reference), "{reference}");
        }
    }

    #[test]
    fn the_operators_image_in_the_registry_is_told_too() {
        let elsewhere = ["ghcr.io/a/b:1"];

        let problem = |operator| problem(&exposed(), &elsewhere, operator);
        assert!(
            problem(Some("images.example.com/berth/berth-operator:1")).is_some_and(|text| text.contains("operator"))
        );
        assert_eq!(problem(Some("ghcr.io/a/operator:1")), None);
        assert_eq!(problem(None), None);
    }
}
