//! What the cluster lacks for what a spec asks, and what others have not done yet; pure.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Companions;
use crate::foreign::OptionalApi;
use crate::registry::observe::Observed;

/// A feature of the spec for which the cluster lacks an API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What is missing and what to do.
    pub message: String,
    /// Whether the registry is not what its users need without it. What only watches it is not that.
    pub is_essential: bool,
}

/// What the cluster lacks, and what others have not done yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lacks {
    /// Features for which it lacks an API.
    pub missing: Vec<Missing>,
    /// Why Gateways do not accept the route.
    pub refused_routes: Vec<String>,
    /// Why certificates are not there yet.
    pub pending_certificates: Vec<String>,
}

impl Lacks {
    /// What is lacking for `wanted`.
    pub fn of(wanted: &Companions, observed: &Observed) -> Self {
        Self {
            missing: missing(wanted, &observed.apis),
            refused_routes: refused_routes(wanted, &observed.companions),
            pending_certificates: pending_certificates(wanted, &observed.companions),
        }
    }

    /// Whether nothing is lacking.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.refused_routes.is_empty() && self.pending_certificates.is_empty()
    }

    /// Every missing API, essential or not, in one line.
    pub fn missing_apis(&self, only_essential: bool) -> Option<String> {
        let told: Vec<&str> = self
            .missing
            .iter()
            .filter(|missing| missing.is_essential || !only_essential)
            .map(|missing| missing.message.as_str())
            .collect();
        (!told.is_empty()).then(|| told.join("; "))
    }
}

/// The features of `wanted` for which `apis` has no API.
fn missing(wanted: &Companions, apis: &BTreeSet<OptionalApi>) -> Vec<Missing> {
    let features = [
        (wanted.route.is_some(), OptionalApi::Routes, "exposure.gateway", true),
        (
            wanted.certificate.is_some(),
            OptionalApi::Certificates,
            "tls.certManager",
            true,
        ),
        (
            wanted.ingress_certificate.is_some(),
            OptionalApi::Certificates,
            "exposure.ingress.tls.certManager",
            true,
        ),
        (
            wanted.pod_monitor.is_some(),
            OptionalApi::PodMonitors,
            "monitoring",
            false,
        ),
        (
            wanted.service_monitor.is_some(),
            OptionalApi::ServiceMonitors,
            "monitoring",
            false,
        ),
    ];
    let lacking = features
        .into_iter()
        .filter(|(is_wanted, api, ..)| *is_wanted && !apis.contains(api));
    lacking
        .map(|(_, api, field, is_essential)| Missing {
            message: format!(
                "spec.{field} needs {} of {} ({}), which this cluster does not have: install it, or remove spec.{field}",
                api.plural(),
                api.project(),
                api.group_version()
            ),
            is_essential,
        })
        .collect()
}

/// The words of the Gateways that do not accept the route.
fn refused_routes(wanted: &Companions, live: &Companions) -> Vec<String> {
    let (Some(_), Some(route)) = (&wanted.route, &live.route) else {
        return Vec::new();
    };
    let parents = route.status.as_ref().and_then(|status| status.members.get("parents"));
    let conditions = parents
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|parent| parent["conditions"].as_array())
        .flatten();
    conditions
        .filter_map(|condition| refused(condition, &["Accepted", "ResolvedRefs"], "HTTPRoute"))
        .collect()
}

/// The words of cert-manager about certificates that are not there yet.
fn pending_certificates(wanted: &Companions, live: &Companions) -> Vec<String> {
    let pairs = [
        (&wanted.certificate, &live.certificate),
        (&wanted.ingress_certificate, &live.ingress_certificate),
    ];
    let live = pairs
        .into_iter()
        .filter_map(|(wanted, live)| wanted.as_ref().and(live.as_ref()));
    live.filter_map(|certificate| certificate.status.as_ref()?.members.get("conditions")?.as_array())
        .flatten()
        .filter_map(|condition| refused(condition, &["Ready"], "Certificate"))
        .collect()
}

fn refused(condition: &Value, wanted: &[&str], kind: &str) -> Option<String> {
    let type_ = condition["type"].as_str()?;
    let is_refused = wanted.contains(&type_) && condition["status"] == "False";
    is_refused.then(|| {
        format!(
            "{kind}: {type_} is False ({}): {}",
            condition["reason"].as_str().unwrap_or_default(),
            condition["message"].as_str().unwrap_or_default()
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::foreign::{Content, HTTPRoute, PodMonitor, PodMonitorSpec, RouteSpec};

    #[test]
    fn a_monitor_is_not_essential_and_a_way_in_is() {
        let wanted = Companions {
            route: Some(HTTPRoute::new("images", RouteSpec::default())),
            pod_monitor: Some(PodMonitor::new("images", PodMonitorSpec::default())),
            ..Companions::default()
        };

        let missing = missing(&wanted, &BTreeSet::new());

        let essential: Vec<bool> = missing.iter().map(|missing| missing.is_essential).collect();
        assert_eq!(essential, [true, false]);
        assert!(
            missing[0].message.contains("remove spec.exposure.gateway"),
            "{missing:?}"
        );
        assert!(super::missing(&wanted, &OptionalApi::ALL.into()).is_empty());
    }

    #[test]
    fn a_route_that_no_gateway_accepts_is_told_in_the_gateways_words() {
        let mut route = HTTPRoute::new("images", RouteSpec::default());
        let status = json!({"parents": [{"conditions": [
            {"type": "Accepted", "status": "False", "reason": "NoMatchingListenerHostname", "message": "no listener"},
            {"type": "ResolvedRefs", "status": "True", "reason": "ResolvedRefs", "message": ""},
        ]}]});
        route.status = Some(Content {
            members: status.as_object().unwrap().clone(),
        });
        let companions = Companions {
            route: Some(route),
            ..Companions::default()
        };

        assert_eq!(
            refused_routes(&companions, &companions),
            ["HTTPRoute: Accepted is False (NoMatchingListenerHostname): no listener"]
        );
    }
}
