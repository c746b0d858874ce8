//! From what was read to the facts that a roll-out depends on; pure.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod, Service};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::commands;
use super::evidence::{PodAddress, Stage};
use super::facts::{ApprovalFact, Evidence, Facts, JobFact, LockFact, Pods, Target};
use super::printed::{contract, migrated, problems, waiting_contract};
use super::record::Ran;
use super::seen;
use super::target::{self, Snapshot};
use super::view::View;
use super::world::{self, JobKind};
use crate::api::Registry;
use crate::api::rollout::RolloutState;
use crate::foreign::OptionalApi;
use crate::labels::{COMPONENT, REVISION};
use crate::registry::migration::{JobState, state};
use crate::registry::observe::Observed;
use crate::registry::rollout::Rollout;
use crate::registry::trouble::{self, Scrubber};

/// What a turn of the machine is told beside what was read.
#[derive(Clone, Debug)]
pub struct Told {
    /// What the spec wants.
    pub target: Target,
    /// The locks.
    pub lock: LockFact,
    /// Why nothing may begin now.
    pub frozen: Option<String>,
    /// What was measured just now.
    pub evidence: Option<Evidence>,
}

/// What was read.
#[derive(Clone, Copy, Debug)]
pub struct Read<'a> {
    /// The Registry.
    pub registry: &'a Registry,
    /// What every pass reads.
    pub observed: &'a Observed,
    /// What a roll-out reads beside.
    pub view: &'a View,
    /// What to leave out of messages.
    pub scrubber: Scrubber<'a>,
}

/// The facts for the roll-out in `rollout`, or for one that may begin.
pub fn facts(read: Read<'_>, rollout: Option<&RolloutState>, told: Told) -> Facts {
    let Read {
        registry,
        observed,
        view,
        scrubber,
    } = read;
    let job = |kind: JobKind| job_fact(read, rollout, &told.target, kind);
    let main = observed
        .deployment
        .as_ref()
        .map(|live| pods(live, "registry", observed, scrubber));
    let old = rollout.and_then(|state| state.from.as_ref());
    Facts {
        registry: registry.name_any(),
        uid: registry.uid().unwrap_or_default(),
        generation: registry.metadata.generation.unwrap_or_default(),
        requested_by: commands::requested_by(registry),
        main,
        canary: view
            .canary
            .as_ref()
            .map(|live| pods(live, "canary", observed, scrubber)),
        stage_services: stage_services(read),
        can_rebuild_old: old.is_some_and(|old| kept(view, &old.revision).is_some()),
        preflight: job(JobKind::Preflight),
        pre: job(JobKind::Pre),
        post: job(JobKind::Post),
        earlier: job(JobKind::Earlier),
        can_settle: can_settle(registry, view),
        lock: told.lock,
        frozen: told.frozen,
        evidence: told.evidence,
        approvals: rollout.map(|state| approvals(view, &state.id)).unwrap_or_default(),
        commands: commands::commands(registry),
        target: told.target,
    }
}

fn stage_services(read: Read<'_>) -> Option<Timestamp> {
    let exposure = read.registry.spec.exposure.as_ref();
    let is_routed = exposure.is_some_and(|exposure| exposure.gateway.is_some());
    if !is_routed || !read.observed.apis.contains(&OptionalApi::Routes) {
        return None;
    }
    let made = |service: &Option<Service>| Some(service.as_ref()?.metadata.creation_timestamp.as_ref()?.0);
    Some(made(&read.view.main_service)?.max(made(&read.view.canary_service)?))
}

/// What is kept of that revision.
pub fn kept(view: &View, revision: &str) -> Option<Snapshot> {
    let found = view.kept.iter().filter_map(Snapshot::of);
    found.into_iter().find(|kept| kept.revision.revision == revision)
}

/// Name that the pods of `live` go by: the noted revision, or for pods that an older operator made, a hash of them.
pub fn revision_of(live: &Deployment) -> Option<String> {
    live.annotations().get(REVISION).cloned()
}

fn pods(live: &Deployment, component: &str, observed: &Observed, scrubber: Scrubber<'_>) -> Pods {
    let revision = revision_of(live);
    let is_ours = |pod: &&Pod| pod.labels().get(COMPONENT).map(String::as_str) == Some(component);
    let of_revision = |pod: &&Pod| pod.annotations().get(REVISION) == revision.as_ref();
    let ours: Vec<Pod> = observed.pods.iter().filter(is_ours).cloned().collect();
    let restarts = ours.iter().filter(of_revision).map(restarts).sum();
    let template = live.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    Pods {
        image: target::image_of(&template),
        rollout: Rollout::of(live),
        trouble: trouble::of_component(live, component, &ours, scrubber),
        restarts,
        seen: ours.iter().filter(of_revision).filter_map(seen::seen).collect(),
        revision,
    }
}

/// Where `pod` is reached, if it serves.
pub fn address(pod: &Pod) -> Option<PodAddress> {
    let stage = match pod.labels().get(COMPONENT).map(String::as_str)? {
        "registry" => Stage::Main,
        "canary" => Stage::Canary,
        _ => return None,
    };
    let status = pod.status.as_ref()?;
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let ready = conditions
        .iter()
        .find(|found| found.type_ == "Ready" && found.status == "True")?;
    if pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    Some(PodAddress {
        name: pod.name_any(),
        ip: status.pod_ip.clone()?,
        stage,
        ready_since: ready.last_transition_time.as_ref().map(|at| at.0),
    })
}

fn restarts(pod: &Pod) -> i32 {
    let status = pod.status.as_ref();
    let containers = status
        .and_then(|status| status.container_statuses.as_deref())
        .unwrap_or_default();
    let init = status
        .and_then(|status| status.init_container_statuses.as_deref())
        .unwrap_or_default();
    containers
        .iter()
        .chain(init)
        .map(|container| container.restart_count)
        .sum()
}

fn job_fact(read: Read<'_>, rollout: Option<&RolloutState>, target: &Target, kind: JobKind) -> JobFact {
    let Some(state) = rollout else { return JobFact::Absent };
    let Some(name) = job_name(read.view, kind, state).filter(|_| target.has_jobs) else {
        return JobFact::Absent;
    };
    let Some(job) = read.observed.jobs.iter().find(|job| job.name_any() == name) else {
        return JobFact::Absent;
    };
    fact_of(job, kind, read, &state.to.image)
}

/// Name of the Job of that kind, where everything is kept that it is made of.
pub fn job_name(view: &View, kind: JobKind, state: &RolloutState) -> Option<String> {
    let revision = world::revision_of_job(kind, state)?;
    world::job_name(&kept(view, &revision.revision)?, kind, state)
}

/// The Job of that kind, and when it ran as far as it is still there.
pub fn ran(view: &View, jobs: &[Job], kind: JobKind, state: &RolloutState) -> Option<Ran> {
    let name = job_name(view, kind, state)?;
    let status = jobs.iter().find(|job| job.name_any() == name);
    let status = status.and_then(|job| job.status.as_ref());
    let failed = |status: &JobStatus| {
        let mut conditions = status.conditions.iter().flatten();
        let failed = conditions.find(|condition| condition.type_ == "Failed" && condition.status == "True");
        failed?.last_transition_time.clone()
    };
    Some(Ran {
        started_at: status.and_then(|status| status.start_time.clone()),
        finished_at: status.and_then(|status| status.completion_time.clone().or_else(|| failed(status))),
        job: name,
    })
}

fn can_settle(registry: &Registry, view: &View) -> bool {
    let pending = registry.status.as_ref().and_then(|status| status.pending_post.as_ref());
    let kept = pending.and_then(|pending| kept(view, &pending.revision.revision));
    kept.is_some_and(|kept| kept.post.is_some())
}

fn fact_of(job: &Job, kind: JobKind, read: Read<'_>, image: &str) -> JobFact {
    let name = job.name_any();
    let pods = &read.observed.pods;
    let result = |ended: Option<&ContainerStateTerminated>| {
        let is_migration = kind != JobKind::Preflight;
        migrated(ended.filter(|_| is_migration)?.message.as_deref()?)
    };
    match state(job) {
        JobState::Running => JobFact::Running {
            trouble: trouble::of_job_pods(&name, pods, read.scrubber).map(|trouble| trouble.message),
        },
        JobState::Failed { message } => {
            let ended = end(&name, pods).map(|(_, end)| end);
            let problems = ended.and_then(|end| problems(end.message.as_deref()?));
            let words = || trouble::last_words_of_job(&name, pods, read.scrubber);
            JobFact::Failed {
                code: ended.map(|end| end.exit_code),
                message: problems.or_else(words).unwrap_or(message),
                migrated: result(ended),
                contract: ended
                    .filter(|_| kind == JobKind::Preflight)
                    .and_then(|end| waiting_contract(end.message.as_deref()?)),
                job: name.clone(),
            }
        }
        JobState::Succeeded => {
            let ended = end(&name, pods);
            let found = ended.filter(|_| kind == JobKind::Preflight);
            JobFact::Succeeded {
                digest: ended.and_then(|(pod, _)| digest(pod, image)),
                contract: found.and_then(|(_, end)| contract(end.message.as_deref()?)),
                migrated: result(ended.map(|(_, end)| end)),
            }
        }
    }
}

/// The newest pod of a Job whose container has ended, and how it did.
fn end<'a>(job: &str, pods: &'a [Pod]) -> Option<(&'a Pod, &'a ContainerStateTerminated)> {
    let of_job = pods
        .iter()
        .filter(|pod| pod.labels().get("batch.kubernetes.io/job-name").map(String::as_str) == Some(job));
    let ended = of_job.filter_map(|pod| {
        let statuses = pod.status.as_ref()?.container_statuses.as_deref()?;
        let end = statuses.first()?.state.as_ref()?.terminated.as_ref()?;
        Some((pod, end))
    });
    ended.max_by_key(|(pod, _)| pod.creation_timestamp())
}

/// The digest that a node found under `image`, where that names the same repository.
fn digest(pod: &Pod, image: &str) -> Option<String> {
    let statuses = pod.status.as_ref()?.container_statuses.as_deref()?;
    let (repository, digest) = statuses.first()?.image_id.rsplit_once('@')?;
    let wanted = target::pinned(image, Some("")).trim_end_matches('@').to_owned();
    let is_same = repository == wanted || repository.ends_with(&format!("/{wanted}"));
    let is_digest = digest.len() == 71 && digest.starts_with("sha256:");
    (is_same && is_digest).then(|| digest.to_owned())
}

fn approvals(view: &View, id: &str) -> Vec<ApprovalFact> {
    let mut said: Vec<_> = view
        .approvals
        .iter()
        .filter(|said| said.spec.rollout_ref.name == id)
        .collect();
    said.sort_by_key(|said| (said.creation_timestamp(), said.name_any()));
    said.into_iter()
        .map(|said| ApprovalFact {
            step: said.spec.step,
            decision: said.spec.decision,
            by: said.spec.approved_by.clone(),
            digest: said.spec.digest.clone(),
            reason: said.spec.reason.clone().unwrap_or_default(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_digest_is_taken_from_the_node_where_it_is_one_of_the_same_repository() {
        let sum = format!("sha256:{}", "a".repeat(64));
        let found = |image_id: String, image: &str| {
            let pod = json!({"status": {"containerStatuses": [{
                "name": "migrate", "image": "i", "imageID": image_id, "ready": false, "restartCount": 0,
            }]}});
            digest(&serde_json::from_value(pod).unwrap(), image)
        };

        assert_eq!(
            found(format!("docker.io/berth/registry@{sum}"), "berth/registry:1.0.0"),
            Some(sum.clone())
        );
        assert_eq!(found(format!("host:5000/a@{sum}"), "host:5000/a:1"), Some(sum.clone()));
        assert_eq!(
            found(sum.clone(), "berth/registry:1.0.0"),
            None,
            "an image that was loaded has no repository"
        );
        assert_eq!(
            found(format!("docker.io/library/import@{sum}"), "berth/registry:1"),
            None
        );
    }
}
