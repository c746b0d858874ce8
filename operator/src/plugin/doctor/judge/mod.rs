//! What is wrong with one Registry, from what is around it; pure.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use crate::api::Registry;
use crate::api::conditions::Reason;
use crate::api::rollout::{Phase, RolloutState};
use crate::labels::{COMPONENT, names};
use crate::locks::lease;
use crate::plugin::doctor::finding::{Finding, Level};
use crate::plugin::view::age;
use crate::registry::trouble::{self, Needs, Scrubber, Trouble};

/// For how long a pod may run without serving.
const START: SignedDuration = SignedDuration::from_mins(2);
/// For how long a lock may be held.
const LONG_HELD: SignedDuration = SignedDuration::from_hours(2);

/// A Registry, and what is around it.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// Its pods, those of its Jobs among them.
    pub pods: Vec<Pod>,
    /// Its Jobs.
    pub jobs: Vec<Job>,
    /// Its Services.
    pub services: Vec<Service>,
    /// Where they lead.
    pub slices: Vec<EndpointSlice>,
    /// Its claims.
    pub claims: Vec<PersistentVolumeClaim>,
    /// What was printed last by the containers of pods that end again and again.
    pub last_lines: BTreeMap<String, String>,
}

/// What is to be said about `registry`.
pub fn registry(registry: &Registry, around: &Around, now: Timestamp) -> Vec<Finding> {
    let about = about(registry);
    let mut findings = word(registry, &about);
    findings.extend(rollout(registry, &about, now));
    findings.extend(pods(&about, around, now));
    findings.extend(jobs(registry, &about, around));
    findings.extend(services(registry, &about, around));
    findings.extend(claims(&about, around));
    findings
}

/// How findings about `registry` are told from others.
pub fn about(registry: &Registry) -> String {
    format!("{}/{}", registry.namespace().unwrap_or_default(), registry.name_any())
}

/// Where a reason is explained.
fn section(reason: &str) -> String {
    format!("see docs/operator.md#{}", reason.to_lowercase())
}

/// What the Registry says about itself; one that no operator has ever looked at says nothing.
fn word(registry: &Registry, about: &str) -> Vec<Finding> {
    let status = registry.status.clone().unwrap_or_default();
    let find = |type_: &str| status.conditions.iter().find(|condition| condition.type_ == type_);
    let Some(ready) = find("Ready") else {
        let remedy = "is an operator running, and does it watch this namespace (watchNamespaces of the chart)?";
        return vec![Finding::problem(about, "no operator has looked at it").remedy(remedy)];
    };
    if status.observed_generation < registry.metadata.generation {
        let what = "the operator has not seen its newest spec yet";
        let remedy = "it takes seconds; if it stays, look at the operator's log";
        return vec![Finding::warning(about, what).remedy(remedy)];
    }
    if ready.status == "True" {
        let version = status.version.map(|version| version.main).unwrap_or_default();
        let what = format!(
            "it serves {version} from {} of {} pods",
            status.ready_replicas, status.replicas
        );
        return vec![Finding::good(about, what)];
    }
    let stuck = |type_: &str| find(type_).is_some_and(|condition| condition.status == "True");
    let level = if stuck("Progressing") && !stuck("Degraded") && !stuck("Stalled") {
        Level::Warning
    } else {
        Level::Problem
    };
    let what = format!("it is not Ready: {}", ready.reason);
    vec![
        Finding::new(level, about, what)
            .why(ready.message.as_str())
            .remedy(section(&ready.reason)),
    ]
}

fn rollout(registry: &Registry, about: &str, now: Timestamp) -> Vec<Finding> {
    let state = registry.status.as_ref().and_then(|status| status.rollout.as_ref());
    let Some(state) = state else { return Vec::new() };
    let for_ = age(state.phase_since.0, now);
    let what = format!(
        "roll-out {} to {}",
        state.id,
        state.to.version.as_deref().unwrap_or("?")
    );
    let Some((level, is, remedy)) = standing(state, &registry.name_any()) else {
        if state.phase.is_final() {
            return Vec::new();
        }
        let is = format!("{what} is in {} for {for_}", state.phase.as_str());
        return vec![Finding::new(Level::Note, about, is)];
    };
    let found = Finding::new(level, about, format!("{what} {is} ({for_})"));
    vec![found.why(told(state)).remedy(remedy)]
}

/// What is to be said of a roll-out that does not go on by itself, and what to do about the Registry `name`.
fn standing(state: &RolloutState, name: &str) -> Option<(Level, &'static str, String)> {
    let after = section(&state.reason);
    Some(match state.phase {
        Phase::Held => (
            Level::Problem,
            "stands still and needs a person",
            format!("`kubectl berth rollout retry {name}` after the cause is gone, or `… abort {name}`; {after}"),
        ),
        Phase::AwaitingApproval => (
            Level::Warning,
            "waits for somebody to agree",
            format!("`kubectl berth rollout approve {name}`, or `… reject {name}`"),
        ),
        Phase::Paused => (
            Level::Warning,
            "is paused",
            format!("`kubectl berth rollout resume {name}`, or `spec.rollout.paused: false` where that pauses it"),
        ),
        Phase::AwaitingLock => (
            Level::Warning,
            "waits to begin",
            "`kubectl berth lock status` shows who holds the lock; a freeze window ends by itself".to_owned(),
        ),
        Phase::RolledBack | Phase::Failed => (
            Level::Warning,
            "ended badly",
            format!(
                "the version before serves; `kubectl berth rollout retry {name}` after the cause is gone, or another \
                 version; {after}"
            ),
        ),
        Phase::Idle
        | Phase::Preflight
        | Phase::PreMigrating
        | Phase::CanaryDeploying
        | Phase::CanaryAnalyzing
        | Phase::Promoting
        | Phase::MainVerifying
        | Phase::Soaking
        | Phase::PostMigrating
        | Phase::Completed
        | Phase::RollingBack
        | Phase::Superseded => return None,
    })
}

fn told(state: &RolloutState) -> String {
    format!("{}: {}", state.reason, state.message)
}

fn pods(about: &str, around: &Around, now: Timestamp) -> Vec<Finding> {
    let serves = |pod: &&Pod| {
        let component = pod.labels().get(COMPONENT).map(String::as_str);
        matches!(component, Some("registry" | "canary"))
    };
    let alive = around.pods.iter().filter(serves).filter(|pod| !has_ended(pod));
    alive.filter_map(|pod| of_pod(about, pod, around, now)).collect()
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Failed" | "Succeeded"))
}

/// What keeps `pod` from serving, as the operator would say it; no value of a Secret is known here.
pub fn trouble_of(pod: &Pod) -> Option<Trouble> {
    let nothing = BTreeMap::new();
    let scrubber = Scrubber {
        credentials: &[],
        secrets: &nothing,
    };
    trouble::of_pod(pod, scrubber)
}

fn of_pod(about: &str, pod: &Pod, around: &Around, now: Timestamp) -> Option<Finding> {
    let name = pod.name_any();
    if is_ready(pod) {
        return None;
    }
    let Some(found) = trouble_of(pod) else {
        let since = pod.creation_timestamp().map_or(now, |at| at.0);
        let waits = pod.metadata.deletion_timestamp.is_none() && now.duration_since(since) > START;
        return waits.then(|| {
            Finding::problem(
                about,
                format!("pod {name} runs for {} and is not ready", age(since, now)),
            )
            .why(waiting(pod))
            .remedy("`kubectl berth logs` shows what it prints, `kubectl describe pod` its probes")
        });
    };
    let level = match found.needs {
        Needs::Person => Level::Problem,
        Needs::Time => Level::Warning,
    };
    let remedy = if found.reason == Reason::ImagePullFailed {
        "does that image exist, may the node pull it (spec.image.pullSecrets)?"
    } else if found.reason == Reason::PodsCrash {
        "what it prints names the cause: `kubectl berth logs --previous --pod` shows more"
    } else if found.reason == Reason::RollingOut {
        "a node with room, or smaller spec.resources; a volume is bound to its node or zone"
    } else {
        "the message names what the pod lacks"
    };
    let why = match around.last_lines.get(&name) {
        Some(line) => format!("{}; it printed last: {line}", found.message),
        None => found.message,
    };
    let what = format!("pod {name} is not ready: {}", found.reason.as_str());
    Some(
        Finding::new(level, about, what)
            .why(why)
            .remedy(format!("{remedy}; {}", section(found.reason.as_str()))),
    )
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref());
    conditions
        .unwrap_or_default()
        .iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Why Kubernetes says that a pod is not ready.
fn waiting(pod: &Pod) -> String {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref());
    let ready = conditions
        .unwrap_or_default()
        .iter()
        .find(|condition| condition.type_ == "Ready");
    ready.and_then(|ready| ready.message.clone()).unwrap_or_default()
}

/// A Job that failed matters while the roll-out stands at it.
fn jobs(registry: &Registry, about: &str, around: &Around) -> Vec<Finding> {
    let state = registry.status.as_ref().and_then(|status| status.rollout.as_ref());
    let failed = around.jobs.iter().filter_map(|job| Some((job, failure(job)?)));
    let tell = |(job, why): (&Job, String)| {
        let name = job.name_any();
        let matters = state.is_some_and(|state| state.job.as_deref() == Some(&name) && !state.phase.is_final());
        let level = if matters { Level::Problem } else { Level::Warning };
        let kind = kind_of_job(&name, &registry.name_any());
        let printed = last_words(job, &around.pods).unwrap_or_default();
        let why = if printed.is_empty() {
            why
        } else {
            format!("{why}; it printed: {printed}")
        };
        Finding::new(level, about, format!("Job {name} has failed"))
            .why(why)
            .remedy(format!(
                "`kubectl berth logs {} --job {kind}` shows all of it; docs/upgrades.md explains its exit codes",
                registry.name_any()
            ))
    };
    failed.map(tell).collect()
}

fn kind_of_job(job: &str, registry: &str) -> &'static str {
    let rest = job.strip_prefix(registry).unwrap_or(job);
    if rest.starts_with("-mig-post-") {
        "post"
    } else if rest.starts_with("-preflight-") {
        "preflight"
    } else {
        "pre"
    }
}

fn failure(job: &Job) -> Option<String> {
    let conditions = job.status.as_ref()?.conditions.as_deref()?;
    let failed = conditions
        .iter()
        .find(|condition| condition.type_ == "Failed" && condition.status == "True")?;
    Some(failed.message.clone().unwrap_or_default())
}

fn last_words(job: &Job, pods: &[Pod]) -> Option<String> {
    let nothing = BTreeMap::new();
    let scrubber = Scrubber {
        credentials: &[],
        secrets: &nothing,
    };
    trouble::last_words_of_job(&job.name_any(), pods, scrubber)
}

fn services(registry: &Registry, about: &str, around: &Around) -> Vec<Finding> {
    if registry.spec.suspend {
        return Vec::new();
    }
    let name = registry.name_any();
    let own = [name.clone(), names::main_service(&name), names::admin_service(&name)];
    let there = around.services.iter().map(ResourceExt::name_any);
    let empty = there
        .filter(|service| own.contains(service))
        .filter(|service| !leads_somewhere(service, &around.slices));
    empty
        .map(|service| {
            Finding::problem(about, format!("Service {service} leads to no pod"))
                .why("no pod that it selects is ready, so clients get no connection")
                .remedy("what keeps the pods from being ready stands above; `kubectl berth logs` shows what they print")
        })
        .collect()
}

fn leads_somewhere(service: &str, slices: &[EndpointSlice]) -> bool {
    let of_it = |slice: &&EndpointSlice| {
        let label = slice.labels().get("kubernetes.io/service-name");
        label.map(String::as_str) == Some(service)
    };
    let mut endpoints = slices.iter().filter(of_it).flat_map(|slice| slice.endpoints.iter());
    let is_ready = |endpoint: &k8s_openapi::api::discovery::v1::Endpoint| {
        let conditions = endpoint.conditions.as_ref();
        conditions.and_then(|conditions| conditions.ready).unwrap_or(true)
    };
    endpoints.any(is_ready)
}

fn claims(about: &str, around: &Around) -> Vec<Finding> {
    let phase = |claim: &PersistentVolumeClaim| claim.status.as_ref().and_then(|status| status.phase.clone());
    let open = around
        .claims
        .iter()
        .filter_map(|claim| Some((claim, phase(claim)?)))
        .filter(|(_, phase)| phase != "Bound");
    open.map(|(claim, phase)| {
        let class = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.clone());
        let class = class.unwrap_or_else(|| "the default".to_owned());
        let (what, remedy) = if phase == "Lost" {
            ("has lost its volume", "restore the volume or a backup: see docs/operator.md#volumelost".to_owned())
        } else {
            (
                "has no volume yet",
                format!(
                    "is there a StorageClass ({class}) with a provisioner that works? `kubectl describe pvc {}`; a class that \
                     binds late waits for a pod",
                    claim.name_any()
                ),
            )
        };
        Finding::problem(about, format!("claim {} {what}", claim.name_any()))
            .why(format!("its phase is {phase}"))
            .remedy(remedy)
    })
    .collect()
}

/// Locks that are held for long, or left behind.
pub fn locks(leases: &[Lease], now: Timestamp) -> Vec<Finding> {
    let mut findings = Vec::new();
    for found in leases {
        let Some(hold) = lease::hold(found) else { continue };
        let about = format!("{}/{}", found.namespace().unwrap_or_default(), found.name_any());
        let for_ = age(hold.since, now);
        if hold.is_expired(now) {
            let what = format!("{} left it behind, {for_} after it was taken", hold.holder);
            let why = "it was not renewed in time: whoever comes next takes it when no Job of that hold is active";
            findings.push(Finding::warning(&about, what).why(why));
        } else if now.duration_since(hold.since) > LONG_HELD {
            let what = format!(
                "{} holds it for {for_}: no other roll-out of its group begins",
                hold.holder
            );
            let remedy = "ask its holder; `kubectl berth lock release --force` frees one that was forgotten";
            findings.push(Finding::warning(&about, what).remedy(remedy));
        }
    }
    findings
}

#[cfg(test)]
mod tests;
