//! Objects that have a needed name and belong to somebody else.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::super::observe::Observed;
use super::replicas;
use crate::api::Registry;
use crate::labels::names;

/// Which names are taken, and what to do about each.
pub(super) fn of(registry: &Registry, name: &str, uid: &str, observed: &Observed) -> Vec<String> {
    let admin_service = names::admin_service(name);
    let owned = [
        (
            "Deployment",
            name,
            observed.deployment.as_ref().map(|found| &found.metadata),
        ),
        ("Service", name, observed.service.as_ref().map(|found| &found.metadata)),
        (
            "Service",
            &admin_service,
            observed.admin_service.as_ref().map(|found| &found.metadata),
        ),
        (
            "ServiceAccount",
            name,
            observed.service_account.as_ref().map(|found| &found.metadata),
        ),
    ];
    let mut taken: Vec<String> = owned
        .into_iter()
        .filter(|(_, _, metadata)| metadata.is_some_and(|metadata| controller_uid(metadata) != Some(uid)))
        .map(|(kind, name, _)| taken(kind, name))
        .collect();

    let companions = observed.companions.each();
    let foreign = companions
        .iter()
        .filter(|(kind, _, metadata)| controller_uid(metadata) != Some(uid) && is_wanted(registry, kind));
    taken.extend(foreign.map(|(kind, name, _)| self::taken(kind, name)));

    let (http_secret, claim) = (names::http_secret(name), names::claim(name));
    let taken_over = [
        ("Secret", &http_secret, observed.http_secret.as_ref()),
        (
            "PersistentVolumeClaim",
            &claim,
            observed
                .claim
                .as_ref()
                .map(|found| &found.metadata)
                .filter(|_| registry.existing_claim().is_none()),
        ),
    ];
    let belongs_to_another = |metadata: &ObjectMeta| controller_uid(metadata).is_some_and(|owner| owner != uid);
    taken.extend(
        taken_over
            .into_iter()
            .filter(|(_, _, metadata)| metadata.is_some_and(belongs_to_another))
            .map(|(kind, name, _)| self::taken(kind, name)),
    );
    taken
}

fn taken(kind: &str, name: &str) -> String {
    format!("{kind} {name} exists and does not belong to this Registry: remove it, or give the Registry another name")
}

fn controller_uid(metadata: &ObjectMeta) -> Option<&str> {
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    owners
        .iter()
        .find(|owner| owner.controller == Some(true))
        .map(|owner| owner.uid.as_str())
}

/// An object that the Registry does not ask for is nobody's concern here.
fn is_wanted(registry: &Registry, kind: &str) -> bool {
    let spec = &registry.spec;
    let exposure = spec.exposure.as_ref();
    match kind {
        "Ingress" => exposure.is_some_and(|exposure| exposure.ingress.is_some()),
        "HTTPRoute" => exposure.is_some_and(|exposure| exposure.gateway.is_some()),
        "Certificate" => {
            let of_ingress = exposure.and_then(|exposure| exposure.ingress.as_ref()?.tls.as_ref());
            let mut sources = [spec.tls.as_ref(), of_ingress].into_iter().flatten();
            sources.any(|source| source.cert_manager.is_some())
        }
        "NetworkPolicy" => spec.network_policy.is_some(),
        "PodDisruptionBudget" => spec.disruption.is_some() || spec.autoscaling.is_some() || replicas(registry) > 1,
        "HorizontalPodAutoscaler" => spec.autoscaling.is_some(),
        "PodMonitor" | "ServiceMonitor" => spec.monitoring.is_some(),
        _ => false,
    }
}
