//! The Deployment.
//!
//! With a volume it is a Deployment of one pod with the strategy Recreate, not a `StatefulSet`. Both hand the volume from
//! one pod to the next without overlap, but a `StatefulSet`'s claim template can never be changed (so a volume could not
//! grow), it stops for good at a first revision whose pod never becomes ready, and it would be another kind of object
//! than the one with shared storage. So a Registry is a Deployment always, and only the strategy differs.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction, Lifecycle, LifecycleHandler, ObjectFieldSelector,
    PodTemplateSpec, Probe, ResourceRequirements, SleepAction, TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::super::config::{ADMIN_PORT, HTTP_PORT};
use super::super::validate::ValidRegistry;
use super::pod::{self, ADMIN, Data, HTTP};
use super::{SECRETS_DIGEST, metadata};
use crate::api::scaling::Spread;
use crate::labels::{self, Component};

/// How long a stopping pod keeps serving, so that every node has learnt to send requests elsewhere.
const LEAVE_SECS: i64 = 5;
/// What is left of the grace period after draining, to close files and the database.
const CLOSE_SECS: i64 = 15;
/// How long new pods may take before the rollout counts as failed.
const PROGRESS_DEADLINE_SECS: i32 = 600;

pub(super) fn build(registry: &ValidRegistry, config_name: &str, secrets_digest: &str) -> Deployment {
    let spec = DeploymentSpec {
        // An autoscaler's number is the autoscaler's.
        replicas: registry.autoscaling.is_none().then_some(registry.replicas),
        selector: LabelSelector {
            match_labels: Some(labels::selector(&registry.name, Component::Registry)),
            match_expressions: None,
        },
        strategy: Some(strategy(registry)),
        revision_history_limit: Some(3),
        progress_deadline_seconds: Some(PROGRESS_DEADLINE_SECS),
        template: template(registry, config_name, secrets_digest),
        ..DeploymentSpec::default()
    };
    Deployment {
        metadata: metadata(registry, registry.name.clone(), Component::Registry),
        spec: Some(spec),
        ..Deployment::default()
    }
}

/// A volume can be held by one pod only, so the old pod must go first.
fn strategy(registry: &ValidRegistry) -> DeploymentStrategy {
    if registry.volume.is_some() {
        return DeploymentStrategy {
            type_: Some("Recreate".to_owned()),
            rolling_update: None,
        };
    }
    DeploymentStrategy {
        type_: Some("RollingUpdate".to_owned()),
        rolling_update: Some(RollingUpdateDeployment {
            max_unavailable: Some(IntOrString::Int(0)),
            max_surge: Some(IntOrString::Int(1)),
        }),
    }
}

fn template(registry: &ValidRegistry, config_name: &str, secrets_digest: &str) -> PodTemplateSpec {
    let mut spec = pod::spec(registry, config_name, Data::Volume, vec![serving(registry)]);
    spec.init_containers = registry.postgres.is_none().then(|| vec![migrating(registry)]);
    spec.termination_grace_period_seconds = Some(grace_secs(registry));
    spec.topology_spread_constraints = spread(registry);
    let mut metadata = pod::template_metadata(registry, Component::Registry);
    metadata
        .annotations
        .get_or_insert_default()
        .insert(SECRETS_DIGEST.to_owned(), secrets_digest.to_owned());
    PodTemplateSpec {
        metadata: Some(metadata),
        spec: Some(spec),
    }
}

fn grace_secs(registry: &ValidRegistry) -> i64 {
    let drain_secs = i64::try_from(registry.drain_timeout.as_secs()).unwrap_or(i64::MAX);
    drain_secs.saturating_add(LEAVE_SECS + CLOSE_SECS)
}

/// One process owns an SQLite file, so the pod that serves from it also migrates it, before it serves.
fn migrating(registry: &ValidRegistry) -> Container {
    pod::container(registry, "migrate", &["migrate", "up", "--phase", "all"])
}

fn serving(registry: &ValidRegistry) -> Container {
    let resources = &registry.resources;
    Container {
        ports: Some(vec![port(HTTP, HTTP_PORT), port(ADMIN, ADMIN_PORT)]),
        startup_probe: Some(Probe {
            period_seconds: Some(1),
            failure_threshold: Some(120),
            ..probe("/readyz")
        }),
        readiness_probe: Some(Probe {
            period_seconds: Some(5),
            failure_threshold: Some(2),
            ..probe("/readyz")
        }),
        liveness_probe: Some(Probe {
            period_seconds: Some(10),
            failure_threshold: Some(6),
            ..probe("/livez")
        }),
        lifecycle: registry.volume.is_none().then(leave_first),
        resources: (!resources.requests.is_empty() || !resources.limits.is_empty()).then(|| ResourceRequirements {
            requests: (!resources.requests.is_empty()).then(|| resources.requests.clone()),
            limits: (!resources.limits.is_empty()).then(|| resources.limits.clone()),
            claims: None,
        }),
        ..measured(registry)
    }
}

/// The container says in its metrics which pod of which stage it is: a label of the pod, so that it is the same container in both.
fn measured(registry: &ValidRegistry) -> Container {
    let mut container = pod::container(registry, "registry", &["serve"]);
    let of_pod = |name: &str, path: &str| EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: path.to_owned(),
                // As the API server says it: what is written is what is read.
                api_version: Some("v1".to_owned()),
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    };
    let stage = format!("metadata.labels['{}']", labels::STAGE);
    container.env.get_or_insert_default().extend([
        EnvVar {
            name: "BERTH_METRICS_REGISTRY".to_owned(),
            value: Some(format!("{}/{}", registry.namespace, registry.name)),
            ..EnvVar::default()
        },
        of_pod("BERTH_METRICS_REPLICA", "metadata.name"),
        of_pod("BERTH_METRICS_STAGE", &stage),
    ]);
    container
}

fn leave_first() -> Lifecycle {
    Lifecycle {
        pre_stop: Some(LifecycleHandler {
            sleep: Some(SleepAction { seconds: LEAVE_SECS }),
            ..LifecycleHandler::default()
        }),
        ..Lifecycle::default()
    }
}

/// The protocol is spelled out because the API server records list items by port and protocol.
fn port(name: &str, port: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: port,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

fn probe(path: &str) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(ADMIN.to_owned()),
            ..HTTPGetAction::default()
        }),
        timeout_seconds: Some(5),
        ..Probe::default()
    }
}

/// Replicas go to different nodes where they can, unless the spec says otherwise.
fn spread(registry: &ValidRegistry) -> Option<Vec<TopologySpreadConstraint>> {
    let by_default = || registry.can_have_several().then(|| vec![Spread::over_nodes()]);
    let spread = registry.spread.clone().or_else(by_default)?;
    let constraints: Vec<_> = spread.iter().map(|spread| constraint(registry, spread)).collect();
    (!constraints.is_empty()).then_some(constraints)
}

fn constraint(registry: &ValidRegistry, spread: &Spread) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: spread.max_skew,
        topology_key: spread.topology_key.clone(),
        when_unsatisfiable: spread.when_unsatisfiable.as_str().to_owned(),
        label_selector: Some(LabelSelector {
            match_labels: Some(labels::selector(&registry.name, Component::Registry)),
            match_expressions: None,
        }),
        ..TopologySpreadConstraint::default()
    }
}
