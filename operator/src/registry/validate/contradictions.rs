//! What contradicts itself in a spec, or would have no effect.
//!
//! The API server refuses most of it too; an older definition in the cluster might not.

use super::super::config;
use super::{is_shared, replicas};
use crate::api::Registry;

/// Labels that say whose an object is: the operator's own.
const OWN_LABELS: [&str; 2] = ["app.kubernetes.io/", "berth.dev/"];

/// What is wrong with the spec of `registry`, in words that say what to do.
pub(super) fn of(registry: &Registry, drain_problem: Option<&String>) -> Vec<String> {
    let mut problems = config::problems(registry);
    problems.extend(drain_problem.cloned());
    let spec = &registry.spec;
    let storage = spec.storage.as_ref();
    if storage.is_some_and(|storage| storage.filesystem.is_some() && storage.s3.is_some()) {
        problems.push("images are kept in one place: set storage.filesystem or storage.s3, not both".to_owned());
    }
    if replicas(registry) > 1 && !is_shared(registry) {
        problems.push(
            "more than one replica needs a database and a storage that replicas can share: \
             set database.postgres and storage.s3, or set replicas to 1"
                .to_owned(),
        );
    }
    problems.extend(scaling(registry));
    if let Some(monitoring) = &spec.monitoring {
        problems.extend(own_labels("monitoring.labels", monitoring.labels.keys()));
    }
    problems
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
            "autoscaling needs a database and a storage that replicas can share: set database.postgres and \
             storage.s3, or remove autoscaling"
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
