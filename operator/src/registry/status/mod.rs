//! From what a pass has reached to the status that it leaves; pure.

mod endpoints;
mod rollouts;
mod verdicts;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Service};
use k8s_openapi::jiff::Timestamp;

use verdicts::About;

use super::companions::lacks::Lacks;
use super::rollout::Rollout;
use super::trouble::Trouble;
use super::validate::Refusal;
use crate::api::conditions::Reason;
use crate::api::rollout::{Phase, RolloutState};
use crate::api::status::{HeldVolume, RunningVersion, SchemaLevel};
use crate::api::{Registry, RegistryStatus, conditions};
use crate::channel::told::Told;
use crate::labels::{self, Component};
use crate::management::Report;

/// How far a pass has come.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    /// Nothing was changed, or not all: something must be put right first.
    Refused(Refusal),
    /// Something of others must be there first; it comes by itself.
    Waiting {
        /// The kind of thing.
        reason: Reason,
        /// What it is, and who is asked for it.
        message: String,
    },
    /// Nothing was looked at or changed, because the spec says so.
    Suspended,
    /// The migration of the wanted version is not done yet.
    Migrating {
        /// Name of the Job.
        job: String,
        /// What keeps it from running.
        trouble: Option<Trouble>,
    },
    /// The migration of the wanted version has failed.
    MigrationFailed {
        /// Name of the Job.
        job: String,
        /// What it printed last, without secrets.
        cause: String,
    },
    /// A roll-out is under way, or has ended badly and the spec still asks for it.
    Rolling {
        /// Where it is.
        state: Box<RolloutState>,
        /// Main as it is now.
        main: Option<Box<Deployment>>,
        /// What keeps its pods from serving.
        trouble: Option<Trouble>,
    },
    /// The Deployment is what the spec says; its pods may not be yet.
    Deployed {
        /// The Deployment as it is in the cluster.
        deployment: Box<Deployment>,
        /// What keeps its pods from serving.
        trouble: Option<Trouble>,
    },
}

impl Stage {
    /// Whether every pod is as the spec says, and serves.
    pub fn is_complete(&self) -> bool {
        match self {
            Self::Deployed { deployment, trouble } => Rollout::of(deployment).is_complete() && trouble.is_none(),
            Self::Rolling { state, main, trouble } => {
                let is_there = matches!(state.phase, Phase::Soaking | Phase::PostMigrating);
                let serves = |main: &Deployment| Rollout::of(main).is_complete();
                is_there && main.as_deref().is_some_and(serves) && trouble.is_none()
            }
            Self::Refused(_)
            | Self::Waiting { .. }
            | Self::Suspended
            | Self::Migrating { .. }
            | Self::MigrationFailed { .. } => false,
        }
    }
}

/// What else a status speaks about.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen<'a> {
    /// The Deployment as it was at the beginning of the pass.
    pub deployment: Option<&'a Deployment>,
    /// The Service for clients.
    pub service: Option<&'a Service>,
    /// What the pods say about themselves, when they were asked and answered.
    pub report: Option<&'a Report>,
    /// The claim of the volume.
    pub claim: Option<&'a PersistentVolumeClaim>,
    /// What the cluster lacks for what the spec asks.
    pub lacks: Option<&'a Lacks>,
    /// What is known of the version that is to run.
    pub version: Option<&'a Told>,
    /// The operator's own image, where that is known.
    pub operator_image: Option<&'a str>,
}

/// The status of `registry` at that stage.
///
/// What pods said earlier stays when they were not asked or did not answer, so an answer that is missing once changes
/// nothing; but it goes with the image that they ran, since pods of another one may never answer.
pub fn status(registry: &Registry, stage: &Stage, seen: Seen<'_>, now: Timestamp) -> RegistryStatus {
    let before = registry.status.clone().unwrap_or_default();
    let deployment = match stage {
        Stage::Deployed { deployment, .. } => Some(deployment.as_ref()),
        Stage::Rolling { main, .. } => main.as_deref().or(seen.deployment),
        Stage::Refused(_)
        | Stage::Waiting { .. }
        | Stage::Suspended
        | Stage::Migrating { .. }
        | Stage::MigrationFailed { .. } => seen.deployment,
    };
    let rollout = deployment.map(Rollout::of).unwrap_or_default();
    let (version_before, schema_before) = if has_another_image(seen.deployment, deployment) {
        let rolled_out = before
            .rollout
            .as_ref()
            .filter(|_| matches!(stage, Stage::Rolling { .. }));
        (None, rolled_out.and_then(crate::rollout::schema::of_new_version))
    } else {
        (before.version, before.schema)
    };
    let (version, schema) = (
        seen.report.map(version).or(version_before),
        seen.report.map(schema).or(schema_before),
    );
    let about = About {
        pods: rollout,
        version: version.as_ref().map(|version| version.main.as_str()),
        schema: schema.as_ref(),
    };
    let verdicts = verdicts::of(registry, stage, seen, about);
    let generation = registry.metadata.generation;
    let mut status = RegistryStatus {
        observed_generation: generation,
        conditions: conditions::follow(&before.conditions, verdicts, generation, now),
        phase: String::new(),
        version,
        schema,
        replicas: rollout.replicas,
        ready_replicas: rollout.ready,
        volume: seen.claim.and_then(held).or(before.volume),
        selector: registry.metadata.name.as_deref().map(main_pods),
        endpoints: seen
            .service
            .and_then(|service| endpoints::of(registry, service))
            .or(before.endpoints),
        release: before.release.filter(|_| registry.channel().is_some()),
        rollout: before.rollout,
        rollback_floor: before.rollback_floor,
        refused: before.refused,
        pending_post: before.pending_post,
        history: before.history,
    };
    status.phase = rollouts::phase(&status).to_owned();
    status
}

fn has_another_image(before: Option<&Deployment>, after: Option<&Deployment>) -> bool {
    let image = |deployment: &Deployment| {
        let pod = deployment.spec.as_ref()?.template.spec.as_ref()?;
        pod.containers.first()?.image.clone()
    };
    before.and_then(image) != after.and_then(image)
}

fn version(report: &Report) -> RunningVersion {
    RunningVersion {
        main: report.version.clone(),
    }
}

fn schema(report: &Report) -> SchemaLevel {
    let schema = &report.database.schema;
    SchemaLevel {
        applied: schema.applied.clone(),
        required: schema.required.clone(),
        pending_pre: schema.pending_pre.clone(),
        pending_post: schema.pending_post.clone(),
    }
}

fn held(claim: &PersistentVolumeClaim) -> Option<HeldVolume> {
    Some(HeldVolume {
        claim: claim.metadata.name.clone()?,
        uid: claim.metadata.uid.clone()?,
    })
}

fn main_pods(name: &str) -> String {
    labels::selector_text(&labels::selector(name, Component::Registry))
}

#[cfg(test)]
mod tests;
