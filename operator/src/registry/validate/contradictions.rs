//! What contradicts itself in a spec, or would have no effect.
//!
//! The API server refuses most of it too; an older definition in the cluster might not.

use k8s_openapi::api::core::v1::Affinity;
use serde_json::Value;

use super::super::config;
use super::{is_shared, replicas};
use crate::analysis::Objectives;
use crate::analysis::trial::{BrokenGate, try_gate};
use crate::api::Registry;
use crate::api::collection::DeletionPolicy;

/// Labels that say whose an object is: the operator's own.
const OWN_LABELS: [&str; 2] = ["app.kubernetes.io/", "berth.dev/"];

/// A canary is judged by a gate that was seen to fail what is bad and to pass what is good, before anything moves.
fn broken_gate(registry: &Registry) -> Option<String> {
    let analysis = registry.spec.rollout.as_ref()?.analysis.as_ref()?;
    let tried = Objectives::of(analysis).map_err(BrokenGate::from);
    let broken = tried.and_then(|objectives| try_gate(&objectives)).err()?;
    Some(broken.to_string())
}

/// What is wrong with the spec of `registry`, in words that say what to do.
pub(super) fn of(registry: &Registry, drain_problem: Option<&String>) -> Vec<String> {
    let mut problems = config::problems(registry);
    problems.extend(drain_problem.cloned());
    let spec = &registry.spec;
    let storage = spec.storage.as_ref();
    let places = storage.map_or(0, |storage| {
        let given = [
            storage.filesystem.is_some(),
            storage.s3.is_some(),
            storage.azure.is_some(),
            storage.gcs.is_some(),
        ];
        given.into_iter().filter(|&given| given).count()
    });
    if places > 1 {
        problems.push(
            "images are kept in one place: set one of storage.filesystem, storage.s3, storage.azure and storage.gcs, \
             not two"
                .to_owned(),
        );
    }
    if replicas(registry) > 1 && !is_shared(registry) {
        problems.push(
            "more than one replica needs a database and a storage that replicas can share: \
             set database.postgres and a bucket (storage.s3, storage.azure or storage.gcs), or set replicas to 1"
                .to_owned(),
        );
    }
    if spec.release.is_some() && spec.version.is_some() {
        problems.push(
            "the version is either named or follows from tags: remove version, or remove release.channel".to_owned(),
        );
    }
    problems.extend(scaling(registry));
    if let Some(template) = &spec.pod_template {
        problems.extend(own_labels("podTemplate.labels", template.labels.keys()));
        problems.extend(own_labels("podTemplate.annotations", template.annotations.keys()));
    }
    problems.extend(spec.affinity.as_ref().and_then(affinity_problem));
    problems.extend(volume_of_its_own(registry));
    problems.extend(broken_gate(registry));
    if let Some(monitoring) = &spec.monitoring {
        problems.extend(own_labels("monitoring.labels", monitoring.labels.keys()));
    }
    problems
}

/// The definition leaves `affinity` to Kubernetes, so what Kubernetes would drop is found here.
fn affinity_problem(affinity: &Value) -> Option<String> {
    let read: Affinity = match serde_json::from_value(affinity.clone()) {
        Ok(read) => read,
        Err(error) => return Some(format!("spec.affinity is not the affinity of a pod: {error}")),
    };
    let read = serde_json::to_value(read).unwrap_or_default();
    let lost = lost_keys(affinity, &read, "spec.affinity");
    let lost = lost.first()?;
    Some(format!(
        "{lost} is no field of the affinity of a pod: correct or remove it"
    ))
}

/// Members of `written` that `read` does not have.
fn lost_keys(written: &Value, read: &Value, path: &str) -> Vec<String> {
    match written {
        Value::Object(members) => members
            .iter()
            .flat_map(|(key, value)| match read.get(key) {
                Some(read) => lost_keys(value, read, &format!("{path}.{key}")),
                None => vec![format!("{path}.{key}")],
            })
            .collect(),
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items
                .flat_map(|(index, item)| lost_keys(item, &read[index], &format!("{path}[{index}]")))
                .collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

/// A policy about a volume that the operator does not claim.
fn volume_of_its_own(registry: &Registry) -> Option<String> {
    let spec = &registry.spec;
    if spec.deletion_policy != Some(DeletionPolicy::Delete) {
        return None;
    }
    let filesystem = spec.storage.as_ref().and_then(|storage| storage.filesystem.as_ref());
    let is_claimed = !is_shared(registry) && filesystem.is_none_or(|filesystem| filesystem.claim_name.is_none());
    let problem = "deletionPolicy Delete is about the volume that the operator claims, and there is none: remove \
                   deletionPolicy";
    (!is_claimed).then(|| problem.to_owned())
}

fn scaling(registry: &Registry) -> Vec<String> {
    let spec = &registry.spec;
    let Some(autoscaling) = &spec.autoscaling else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    if spec.replicas.is_some() {
        problems.push(
            "the number of pods is either fixed or set by the autoscaler: remove replicas or autoscaling".to_owned(),
        );
    }
    if !is_shared(registry) {
        problems.push(
            "autoscaling needs a database and a storage that replicas can share: set database.postgres and a \
             bucket (storage.s3, storage.azure or storage.gcs), or remove autoscaling"
                .to_owned(),
        );
    }
    let requests = spec.resources.as_ref().map(|resources| &resources.requests);
    for (resource, is_aimed_at) in [
        ("cpu", autoscaling.cpu.is_some()),
        ("memory", autoscaling.memory.is_some()),
    ] {
        if is_aimed_at && requests.is_none_or(|requests| !requests.contains_key(resource)) {
            problems.push(format!(
                "autoscaling.{resource} is a share of what a pod requests: set resources.requests.{resource}, or \
                 remove autoscaling.{resource}"
            ));
        }
    }
    problems
}

/// Labels of the user that would lose against the operator's own.
fn own_labels<'k>(field: &str, keys: impl Iterator<Item = &'k String>) -> Vec<String> {
    keys.filter(|key| OWN_LABELS.iter().any(|own| key.starts_with(own)))
        .map(|key| format!("spec.{field} has {key}, which the operator sets itself: remove it"))
        .collect()
}
