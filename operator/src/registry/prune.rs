//! Which of the observed objects nothing needs any more; pure.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::PodSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;

use super::build::Objects;
use super::migration::{JobState, state};
use super::observe::Observed;

/// An object to remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unneeded {
    /// Its name.
    pub name: String,
    /// Which one of that name.
    pub uid: String,
}

/// The objects to remove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Superseded {
    /// Configurations that no pod, `ReplicaSet` or Job refers to.
    pub config_maps: Vec<Unneeded>,
    /// Finished migrations of earlier versions.
    pub jobs: Vec<Unneeded>,
}

/// What nothing needs once the rollout of `objects`, of the Registry with UID `owner`, is complete.
///
/// Only what that Registry controls: labels are anybody's to copy.
/// A `ReplicaSet` without pods still counts: it is what `kubectl rollout undo` goes back to.
pub fn superseded(owner: &str, objects: &Objects, observed: &Observed) -> Superseded {
    let needed = needed_config_maps(objects, observed);
    let config_maps = observed
        .config_maps
        .iter()
        .filter_map(|found| unneeded(owner, found))
        .filter(|found| !needed.contains(&found.name));
    let wanted_job = objects.migration.as_ref().map(ResourceExt::name_any);
    let finished = observed
        .jobs
        .iter()
        .filter(|job| state(job) != JobState::Running)
        .filter_map(|job| unneeded(owner, job));
    Superseded {
        config_maps: config_maps.collect(),
        jobs: finished
            .filter(|found| Some(&found.name) != wanted_job.as_ref())
            .collect(),
    }
}

fn unneeded(owner: &str, object: &impl ResourceExt) -> Option<Unneeded> {
    let is_controlled = |reference: &OwnerReference| reference.controller == Some(true) && reference.uid == owner;
    object
        .owner_references()
        .iter()
        .find(|reference| is_controlled(reference))?;
    Some(Unneeded {
        name: object.name_any(),
        uid: object.uid()?,
    })
}

fn needed_config_maps(objects: &Objects, observed: &Observed) -> BTreeSet<String> {
    let sets = observed
        .replica_sets
        .iter()
        .filter_map(|set| set.spec.as_ref()?.template.as_ref()?.spec.as_ref());
    let jobs = observed
        .jobs
        .iter()
        .filter_map(|job| job.spec.as_ref()?.template.spec.as_ref());
    let pods = observed.pods.iter().filter_map(|pod| pod.spec.as_ref());
    let referenced = sets.chain(jobs).chain(pods).flat_map(config_maps_of);
    referenced.chain([objects.config_map.name_any()]).collect()
}

fn config_maps_of(pod: &PodSpec) -> impl Iterator<Item = String> {
    let volumes = pod.volumes.as_deref().unwrap_or_default().iter();
    volumes.filter_map(|volume| volume.config_map.as_ref().map(|source| source.name.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::build::build;
    use crate::registry::fixtures::{observed, production, valid};
    use k8s_openapi::api::apps::v1::ReplicaSet;
    use k8s_openapi::api::batch::v1::Job;
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::{Value, json};

    fn metadata(name: &str, owner: &str) -> Value {
        let owner = json!({"apiVersion": "v", "kind": "k", "name": "n", "uid": owner, "controller": true});
        json!({"name": name, "uid": format!("uid-of-{name}"), "ownerReferences": [owner]})
    }

    fn config_map(name: &str) -> ConfigMap {
        serde_json::from_value(json!({"metadata": metadata(name, "uid-1")})).unwrap()
    }

    fn unneeded(name: &str) -> Unneeded {
        Unneeded {
            name: name.to_owned(),
            uid: format!("uid-of-{name}"),
        }
    }

    fn job(name: &str, condition: &str) -> Job {
        let conditions = json!([{"type": condition, "status": "True"}]);
        serde_json::from_value(json!({"metadata": metadata(name, "uid-1"), "status": {"conditions": conditions}}))
            .unwrap()
    }

    #[test]
    fn a_configuration_that_a_replica_set_refers_to_is_kept() {
        let set: ReplicaSet = serde_json::from_value(json!({"spec": {"selector": {}, "template": {"spec": {
            "containers": [], "volumes": [{"name": "config", "configMap": {"name": "images-config-old"}}]
        }}}}))
        .unwrap();
        let objects = build(&valid(&production(&json!({}))), "digest");
        let wanted = objects.config_map.name_any();
        let config_maps = [&wanted, "images-config-old", "images-config-older"]
            .map(config_map)
            .to_vec();

        let superseded = superseded(
            "uid-1",
            &objects,
            &Observed {
                config_maps,
                replica_sets: vec![set],
                ..observed()
            },
        );

        assert_eq!(superseded.config_maps, [unneeded("images-config-older")]);
    }

    #[test]
    fn only_finished_migrations_of_other_versions_go() {
        let objects = build(&valid(&production(&json!({}))), "digest");
        let wanted = objects.migration.as_ref().unwrap().name_any();
        let jobs = vec![
            job(&wanted, "Complete"),
            job("old", "Complete"),
            job("broken", "Failed"),
            job("busy", "Other"),
        ];

        assert_eq!(
            superseded("uid-1", &objects, &Observed { jobs, ..observed() }).jobs,
            [unneeded("old"), unneeded("broken")]
        );
    }

    #[test]
    fn what_the_registry_does_not_control_is_left_alone() {
        let mut anothers = config_map("anothers");
        anothers.metadata = serde_json::from_value(metadata("anothers", "uid-2")).unwrap();
        let mut nobodys = config_map("nobodys");
        nobodys.metadata.owner_references = None;
        let mut referred = config_map("referred");
        referred.metadata.owner_references.as_mut().unwrap()[0].controller = None;
        let observed = Observed {
            config_maps: vec![anothers, nobodys, referred],
            ..observed()
        };

        let objects = build(&valid(&production(&json!({}))), "digest");

        assert_eq!(superseded("uid-1", &objects, &observed), Superseded::default());
    }
}
