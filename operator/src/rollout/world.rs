//! What must exist in each state of a roll-out; pure. It follows from the state alone.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "there are eighteen phases, and most questions are about a few of them"
)]

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PodTemplateSpec, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use super::plan::{main_is_new, standing};
use super::settings::Settings;
use super::target::{self, Snapshot};
use crate::api::conditions::Reason;
use crate::api::rollout::status::{Revision, Trigger};
use crate::api::rollout::{ApprovalStep, Phase, RolloutState, Strategy};
use crate::labels::{self, COMPONENT, Component, IMAGE_DIGEST, REVISION, STAGE, names};
use crate::locks::TOKEN_LABEL;
use crate::registry::build::{MIGRATED_BY, Objects, SECRETS_DIGEST};
use crate::registry::config::ADMIN_PORT;

/// What must exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct World {
    /// Whether main runs the new version.
    pub main_is_new: bool,
    /// Pods of the canary.
    pub canary: i32,
    /// The canary's share of what comes through a Gateway; `None`: it gets what each pod gets.
    pub gateway: Option<i32>,
    /// The Job that must be there.
    pub job: Option<JobKind>,
    /// Whether the locks are held.
    pub locked: bool,
}

/// A Job of a roll-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobKind {
    /// The image looks at the database.
    Preflight,
    /// Before the pods change.
    Pre,
    /// After.
    Post,
    /// Those of the version before, before all of these.
    Earlier,
}

impl JobKind {
    /// The word in the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Preflight => "preflight",
            Self::Pre => "pre",
            Self::Post | Self::Earlier => "post",
        }
    }
}

/// What must exist in `state`, beside `main` pods that serve.
pub fn world(settings: &Settings, state: &RolloutState, main: i32) -> World {
    World {
        main_is_new: main_is_new(state),
        canary: if has_canary(state) {
            settings.canary_pods(state.step, main)
        } else {
            0
        },
        gateway: state.weight.gateway,
        job: job(settings, state),
        locked: is_locked(state),
    }
}

fn has_canary(state: &RolloutState) -> bool {
    let phase = standing(state);
    let is_asked = state.asks == Some(ApprovalStep::Main);
    state.strategy == Strategy::Canary
        && (matches!(
            phase,
            Phase::CanaryDeploying | Phase::CanaryAnalyzing | Phase::Promoting | Phase::MainVerifying
        ) || (phase == Phase::AwaitingApproval && is_asked))
}

/// A Job is begun in its own phase only: never while the roll-out stands still.
fn job(settings: &Settings, state: &RolloutState) -> Option<JobKind> {
    match state.phase {
        Phase::Preflight if state.trigger != Trigger::Configuration => Some(JobKind::Preflight),
        Phase::PreMigrating if settings.external => None,
        Phase::PreMigrating if state.settles.is_some() && !state.settled => Some(JobKind::Earlier),
        Phase::PreMigrating => Some(JobKind::Pre),
        Phase::PostMigrating => Some(JobKind::Post),
        _ => None,
    }
}

fn is_locked(state: &RolloutState) -> bool {
    match standing(state) {
        Phase::AwaitingLock => state.reason != Reason::FreezeWindow.as_str() && state.phase == Phase::AwaitingLock,
        Phase::PreMigrating
        | Phase::CanaryDeploying
        | Phase::CanaryAnalyzing
        | Phase::Promoting
        | Phase::MainVerifying
        | Phase::PostMigrating
        | Phase::RollingBack => true,
        Phase::AwaitingApproval => state.asks != Some(ApprovalStep::PostMigrations),
        _ => false,
    }
}

/// The pods of one revision, as part of the Registry whose spec made `objects`.
pub fn main_deployment(objects: &Objects, snapshot: &Snapshot, digest: Option<&str>) -> Deployment {
    let mut deployment = objects.deployment.clone();
    let secrets = secrets_digest(&deployment);
    let annotations = deployment.metadata.annotations.get_or_insert_default();
    annotations.insert(REVISION.to_owned(), snapshot.revision.revision.clone());
    note(annotations, MIGRATED_BY, snapshot.migrated_by.as_deref());
    note(annotations, IMAGE_DIGEST, digest);
    if let Some(spec) = &mut deployment.spec {
        spec.template = template(snapshot, digest, secrets.as_deref());
    }
    deployment
}

fn note(annotations: &mut std::collections::BTreeMap<String, String>, key: &str, value: Option<&str>) {
    match value {
        Some(value) => annotations.insert(key.to_owned(), value.to_owned()),
        None => annotations.remove(key),
    };
}

fn secrets_digest(deployment: &Deployment) -> Option<String> {
    let template = deployment.spec.as_ref()?.template.metadata.as_ref()?;
    template.annotations.as_ref()?.get(SECRETS_DIGEST).cloned()
}

/// The pods of a snapshot with the Secrets of today: a rotated password reaches old and new pods.
fn template(snapshot: &Snapshot, digest: Option<&str>, secrets: Option<&str>) -> PodTemplateSpec {
    let mut template = snapshot.template.clone();
    target::pin(&mut template, digest);
    let annotations = template
        .metadata
        .get_or_insert_default()
        .annotations
        .get_or_insert_default();
    if let Some(secrets) = secrets {
        annotations.insert(SECRETS_DIGEST.to_owned(), secrets.to_owned());
    }
    template
}

/// The canary: the pods of `snapshot` under labels of their own, so that no selector of the others counts them.
pub fn canary_deployment(objects: &Objects, snapshot: &Snapshot, digest: Option<&str>, pods: i32) -> Deployment {
    let mut deployment = main_deployment(objects, snapshot, digest);
    let registry = objects.deployment.name_any();
    deployment.metadata.name = Some(names::canary(&registry));
    deployment.metadata.labels = Some(labels::labels(&registry, Component::Canary));
    if let Some(spec) = &mut deployment.spec {
        spec.replicas = Some(pods);
        spec.revision_history_limit = Some(1);
        spec.selector.match_labels = Some(labels::selector(&registry, Component::Canary));
        let labels = spec
            .template
            .metadata
            .get_or_insert_default()
            .labels
            .get_or_insert_default();
        labels.insert(COMPONENT.to_owned(), "canary".to_owned());
        labels.insert(STAGE.to_owned(), "canary".to_owned());
    }
    deployment
}

/// The Services that reach one stage only: the one of main, then the one of the canary.
pub fn stage_services(objects: &Objects) -> [Service; 2] {
    let registry = objects.deployment.name_any();
    [
        (names::main_service(&registry), Component::Registry),
        (names::canary(&registry), Component::Canary),
    ]
    .map(|(name, component)| stage_service(objects, &registry, name, component))
}

fn stage_service(objects: &Objects, registry: &str, name: String, component: Component) -> Service {
    let mut service = objects.service.clone();
    service.metadata = ObjectMeta {
        name: Some(name),
        annotations: None,
        labels: Some(labels::labels(registry, component)),
        ..service.metadata
    };
    if let Some(spec) = &mut service.spec {
        spec.type_ = Some("ClusterIP".to_owned());
        spec.selector = Some(labels::selector(registry, component));
        let mut ports: Vec<ServicePort> = spec.ports.clone().unwrap_or_default();
        for port in &mut ports {
            port.node_port = None;
        }
        ports.push(ServicePort {
            name: Some("admin".to_owned()),
            port: ADMIN_PORT,
            protocol: Some("TCP".to_owned()),
            target_port: Some(IntOrString::String("admin".to_owned())),
            ..ServicePort::default()
        });
        spec.ports = Some(ports);
    }
    service
}

/// Name of the Job of that kind in that state. Each try has a Job of its own: one is never changed or taken for another.
pub fn job_name(snapshot: &Snapshot, kind: JobKind, state: &RolloutState) -> Option<String> {
    let name = template_of(snapshot, kind)?.name_any();
    Some(if state.attempt > 1 {
        format!("{name}-{}", state.attempt)
    } else {
        name
    })
}

fn template_of(snapshot: &Snapshot, kind: JobKind) -> Option<&Job> {
    match kind {
        JobKind::Preflight => snapshot.preflight.as_ref(),
        JobKind::Pre => snapshot.pre.as_ref(),
        JobKind::Post | JobKind::Earlier => snapshot.post.as_ref(),
    }
}

/// What a Job of that kind is run with: the new version, or the one before.
pub fn revision_of_job(kind: JobKind, state: &RolloutState) -> Option<&Revision> {
    match kind {
        JobKind::Preflight | JobKind::Pre | JobKind::Post => Some(&state.to),
        JobKind::Earlier => state.settles.as_ref().map(|pending| &pending.revision),
    }
}

/// The Job of that kind, under the locks that the roll-out holds.
pub fn job_of(snapshot: &Snapshot, kind: JobKind, state: &RolloutState) -> Option<Job> {
    let mut job = template_of(snapshot, kind)?.clone();
    job.metadata.name = job_name(snapshot, kind, state);
    if let Some(lock) = state.locks.first() {
        job.labels_mut().insert(TOKEN_LABEL.to_owned(), lock.token.clone());
    }
    if let Some(spec) = &mut job.spec {
        let digest = revision_of_job(kind, state)?.digest.as_deref();
        target::pin(&mut spec.template, digest);
    }
    Some(job)
}
