//! What the spec wants, as one revision with a name of its own; pure.

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, PodTemplateSpec, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::ResourceExt;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::facts::Target;
use super::guard;
use crate::api::Registry;
use crate::api::release::ResolvedRelease;
use crate::api::rollout::Strategy;
use crate::api::rollout::status::Revision;
use crate::content_hash;
use crate::labels::{self, Component, IMAGE_DIGEST, REVISION, SERVES, SERVES_CLIENTS, STAGE, VERSION, names};
use crate::registry::build::{MIGRATED_BY, Objects, SECRETS_DIGEST};

/// Everything that the pods of one revision are made of. It is kept, because the spec that it follows from may be
/// another one by the time the old pods must come back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Which one.
    pub revision: Revision,
    /// Name of the migration Job that comes before these pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migrated_by: Option<String>,
    /// The pods.
    pub template: PodTemplateSpec,
    /// Their configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMap>,
    /// The Job in which the image looks at the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preflight: Option<Job>,
    /// The Job before the pods change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre: Option<Job>,
    /// The Job after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post: Option<Job>,
}

impl Snapshot {
    /// What `kept` keeps, where it is one.
    pub fn of(kept: &ControllerRevision) -> Option<Self> {
        serde_json::from_value(kept.data.as_ref()?.0.clone()).ok()
    }

    /// This snapshot as an object beside the others of the Registry, whose `metadata` it shares.
    pub fn kept(&self, registry: &str, metadata: &ObjectMeta) -> ControllerRevision {
        ControllerRevision {
            metadata: ObjectMeta {
                name: Some(names::revision(registry, &self.revision.revision)),
                ..metadata.clone()
            },
            data: Some(RawExtension(content_hash::sorted(&json!(self)))),
            revision: 1,
        }
    }
}

/// What the spec wants, and everything that it is made of. The pods and Services of `objects` get the labels by which a
/// canary's pods and the others are told apart.
pub fn target(
    registry: &Registry,
    release: Option<&ResolvedRelease>,
    objects: &mut Objects,
    strategy: Strategy,
) -> (Target, Snapshot) {
    let template = objects
        .deployment
        .spec
        .as_ref()
        .map(|spec| spec.template.clone())
        .unwrap_or_default();
    let image = image_of(&template);
    let revision = Revision {
        version: release
            .map(|release| release.version.clone())
            .or_else(|| registry.spec.version.clone())
            .or_else(|| guard::version_of(&image)),
        digest: release
            .map(|release| release.digest.clone())
            .or_else(|| registry.spec.image.as_ref()?.digest.clone()),
        revision: hash(&template),
        image,
    };
    let template = dressed(template, &revision);
    if let Some(spec) = &mut objects.deployment.spec {
        spec.template = template.clone();
    }
    let annotations = objects.deployment.metadata.annotations.get_or_insert_default();
    annotations.insert(REVISION.to_owned(), revision.revision.clone());
    let migrated_by = annotations.get(MIGRATED_BY).cloned();
    let name = registry.name_any();
    let snapshot = Snapshot {
        revision: revision.clone(),
        migrated_by,
        template,
        config_map: Some(objects.config_map.clone()),
        preflight: objects.migration.as_ref().map(|job| {
            variant(
                job,
                &names::preflight_job(&name, ""),
                &["preflight", "--output", "json"],
            )
        }),
        pre: objects.migration.clone(),
        post: objects.migration.as_ref().map(|job| {
            let arguments = post_arguments(job);
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            variant(job, &names::post_migration_job(&name, ""), &arguments)
        }),
    };
    let target = Target {
        revision,
        has_jobs: objects.migration.is_some(),
        is_of_channel: release.is_some(),
        strategy,
    };
    (target, snapshot)
}

/// The image of a template's first container.
pub fn image_of(template: &PodTemplateSpec) -> String {
    let container = template.spec.as_ref().and_then(|spec| spec.containers.first());
    container
        .and_then(|container| container.image.clone())
        .unwrap_or_default()
}

/// A Secret that changes is not another revision: its pods are replaced at once, as they must be.
fn hash(template: &PodTemplateSpec) -> String {
    let mut template = template.clone();
    if let Some(annotations) = template
        .metadata
        .as_mut()
        .and_then(|metadata| metadata.annotations.as_mut())
    {
        annotations.remove(SECRETS_DIGEST);
    }
    content_hash::short(&[&content_hash::sorted(&json!(template)).to_string()])
}

fn dressed(mut template: PodTemplateSpec, revision: &Revision) -> PodTemplateSpec {
    let metadata = template.metadata.get_or_insert_default();
    let labels = metadata.labels.get_or_insert_default();
    labels.insert(STAGE.to_owned(), "main".to_owned());
    labels.insert(SERVES.to_owned(), SERVES_CLIENTS.to_owned());
    if let Some(version) = revision.version.as_deref().filter(|version| is_label(version)) {
        labels.insert(VERSION.to_owned(), version.to_owned());
    }
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.insert(REVISION.to_owned(), revision.revision.clone());
    template
}

fn is_label(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63 && bytes.iter().copied().all(fits) && ends(bytes.first()) && ends(bytes.last())
}

/// The arguments of the Job before the pods change, for the other phase: with the same limits of its waits.
fn post_arguments(pre: &Job) -> Vec<String> {
    let container = pre
        .spec
        .as_ref()
        .and_then(|spec| spec.template.spec.as_ref()?.containers.first());
    let arguments = container
        .and_then(|container| container.args.as_deref())
        .unwrap_or_default();
    let before_config = arguments.iter().take_while(|argument| *argument != "--config");
    before_config
        .map(|argument| if argument == "pre" { "post" } else { argument.as_str() }.to_owned())
        .collect()
}

/// `job` with other arguments, and named after its content as that is.
fn variant(job: &Job, prefix: &str, arguments: &[&str]) -> Job {
    let mut job = job.clone();
    let Some(spec) = &mut job.spec else { return job };
    if let Some(container) = spec.template.spec.as_mut().and_then(|pod| pod.containers.first_mut()) {
        let config = container.args.as_deref().unwrap_or_default();
        let config = config.iter().skip_while(|argument| *argument != "--config").cloned();
        let arguments = arguments.iter().copied().map(str::to_owned).chain(config);
        container.args = Some(arguments.collect());
    }
    let owner = job.metadata.owner_references.as_deref().unwrap_or_default();
    let uid = owner.first().map(|owner| owner.uid.clone()).unwrap_or_default();
    let content = content_hash::sorted(&json!(spec.template.spec)).to_string();
    job.metadata.name = Some(format!("{prefix}{}", content_hash::short(&[&uid, &content])));
    job
}

/// The Service for clients reaches the canary's pods too, as soon as every other pod has the label for it: before that
/// it would lose those that have not.
pub fn open_to_canary(service: &mut Service, registry: &str, pods: &[Pod]) {
    let all = pods
        .iter()
        .filter(|pod| pod.labels().get(labels::COMPONENT).map(String::as_str) == Some("registry"))
        .all(|pod| pod.labels().contains_key(SERVES));
    if let Some(spec) = service.spec.as_mut().filter(|_| all) {
        let mut selector = labels::selector(registry, Component::Registry);
        selector.remove(labels::COMPONENT);
        selector.insert(SERVES.to_owned(), SERVES_CLIENTS.to_owned());
        spec.selector = Some(selector);
    }
}

/// `reference` by its digest, where one is known and it is not by digest already.
pub fn pinned(reference: &str, digest: Option<&str>) -> String {
    match digest {
        Some(digest) if !reference.contains('@') => {
            let end = reference.rfind(':').filter(|end| !reference[*end..].contains('/'));
            format!("{}@{digest}", &reference[..end.unwrap_or(reference.len())])
        }
        _ => reference.to_owned(),
    }
}

/// Pins every container of `template`.
pub fn pin(template: &mut PodTemplateSpec, digest: Option<&str>) {
    let Some(spec) = &mut template.spec else { return };
    let containers = spec
        .containers
        .iter_mut()
        .chain(spec.init_containers.iter_mut().flatten());
    for container in containers {
        if let Some(image) = &mut container.image {
            *image = pinned(image, digest);
        }
    }
}

/// Pins the pods of `objects` as they are pinned already, where they are of the wanted revision.
pub fn keep_pinned(objects: &mut Objects, live: Option<&k8s_openapi::api::apps::v1::Deployment>, revision: &str) {
    let Some(live) = live.filter(|live| live.annotations().get(REVISION).map(String::as_str) == Some(revision)) else {
        return;
    };
    let Some(digest) = live.annotations().get(IMAGE_DIGEST).cloned() else {
        return;
    };
    if let Some(spec) = &mut objects.deployment.spec {
        pin(&mut spec.template, Some(&digest));
    }
    let annotations = objects.deployment.metadata.annotations.get_or_insert_default();
    annotations.insert(IMAGE_DIGEST.to_owned(), digest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::build::build;
    use crate::registry::fixtures::{production, valid};

    fn made(more: &serde_json::Value) -> (Objects, Target, Snapshot) {
        let registry = production(more);
        let mut objects = build(&valid(&registry), "digest");
        let (target, snapshot) = target(&registry, None, &mut objects, Strategy::Canary);
        (objects, target, snapshot)
    }

    #[test]
    fn another_version_or_configuration_is_another_revision_and_another_secret_or_size_is_none() {
        let of = |more: serde_json::Value| made(&more).1.revision.revision;
        let first = of(json!({}));

        assert_ne!(of(json!({"version": "0.2.0"})), first);
        assert_ne!(of(json!({"config": {"log": {"level": "debug"}}})), first);
        assert_eq!(of(json!({"replicas": 2})), first);
        assert_eq!(of(json!({"replicas": 5})), first);
        let registry = production(&json!({}));
        let mut objects = build(&valid(&registry), "another digest");
        assert_eq!(
            target(&registry, None, &mut objects, Strategy::Canary)
                .0
                .revision
                .revision,
            first
        );
    }

    #[test]
    fn a_snapshot_gives_back_everything_that_it_was_made_of() {
        let (objects, _, snapshot) = made(&json!({"version": "0.2.0"}));

        let kept = snapshot.kept("images", &objects.config_map.metadata);

        assert_eq!(Snapshot::of(&kept), Some(snapshot));
    }

    #[test]
    fn each_job_has_a_name_and_arguments_of_its_own() {
        let snapshot = made(&json!({})).2;
        let jobs = [snapshot.preflight, snapshot.pre, snapshot.post].map(Option::unwrap);
        let words = jobs.clone().map(|job| {
            job.spec
                .unwrap()
                .template
                .spec
                .unwrap()
                .containers
                .remove(0)
                .args
                .unwrap()
                .join(" ")
        });

        assert!(
            words[0].starts_with("preflight --output json --config "),
            "{}",
            words[0]
        );
        assert!(words[1].contains("--phase pre"), "{}", words[1]);
        assert!(
            words[2].contains("--phase post") && words[2].contains("--config "),
            "{}",
            words[2]
        );
        let names: std::collections::BTreeSet<_> = jobs.iter().map(ResourceExt::name_any).collect();
        assert_eq!(names.len(), 3);
        assert!(names.iter().all(|name| name.len() <= 63), "{names:?}");
    }

    #[test]
    fn the_last_migrations_wait_no_longer_for_locks_than_the_first() {
        let limits = json!({"migrations": {"pre": {"lockTimeout": "3s", "statementTimeout": "10m"}}});
        let post = made(&limits).2.post.unwrap();
        let container = post.spec.unwrap().template.spec.unwrap().containers.remove(0);

        let words = container.args.unwrap().join(" ");

        assert!(
            words.starts_with(
                "migrate up --phase post --output json --lock-timeout 3000ms --statement-timeout 600000ms --config "
            ),
            "{words}"
        );
    }

    #[test]
    fn an_image_is_pinned_at_the_digest_whatever_its_tag_and_port() {
        let digest = Some("sha256:1");

        assert_eq!(pinned("host:5000/a/b:1.2", digest), "host:5000/a/b@sha256:1");
        assert_eq!(pinned("host:5000/a/b", digest), "host:5000/a/b@sha256:1");
        assert_eq!(pinned("a/b@sha256:2", digest), "a/b@sha256:2");
        assert_eq!(pinned("a/b:1", None), "a/b:1");
    }

    #[test]
    fn the_service_waits_until_every_pod_has_the_label() {
        let pod = |labels: serde_json::Value| -> Pod {
            serde_json::from_value(json!({"metadata": {"labels": labels}})).unwrap()
        };
        let old = pod(json!({"app.kubernetes.io/component": "registry"}));
        let new = pod(json!({"app.kubernetes.io/component": "registry", (SERVES): "clients"}));
        let selects = |pods: &[Pod]| {
            let mut service = made(&json!({})).0.service;
            open_to_canary(&mut service, "images", pods);
            service.spec.unwrap().selector.unwrap().contains_key(SERVES)
        };

        assert!(!selects(&[old, new.clone()]));
        assert!(selects(&[new]));
        assert!(selects(&[]));
    }
}
