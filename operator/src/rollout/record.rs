//! The `RegistryRollout` of a roll-out, from its state; pure. Nothing is ever taken out of a record but what is too old.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::{Resource, ResourceExt};
use serde_json::json;

use super::facts::{Facts, JobFact};
use super::world::JobKind;
use crate::api::Registry;
use crate::api::rollout::record::{
    MigrationRun, RegistryRef, RegistryRolloutSpec, RegistryRolloutStatus, TimelineEntry,
};
use crate::api::rollout::status::RolloutState;
use crate::api::rollout::{Phase, RegistryRollout};
use crate::content_hash;
use crate::labels::{self, Component};

const TIMELINE: usize = 128;
const MEASUREMENTS: usize = 256;
const DECISIONS: usize = 128;

/// The record that belongs to `state`, as it is first written.
pub fn record(registry: &Registry, state: &RolloutState) -> RegistryRollout {
    let name = registry.name_any();
    RegistryRollout {
        metadata: ObjectMeta {
            name: Some(state.id.clone()),
            namespace: registry.namespace(),
            labels: Some(labels::labels(&name, Component::Registry)),
            owner_references: registry.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: RegistryRolloutSpec {
            registry_ref: RegistryRef {
                name,
                uid: registry.uid().unwrap_or_default(),
            },
            from: state.from.clone(),
            to: crate::api::rollout::status::Revision {
                digest: None,
                ..state.to.clone()
            },
            trigger: state.trigger,
            requested_by: state.requested_by.clone(),
            attempt: state.attempt.max(1),
            spec_hash: content_hash::of_value(&json!(registry.spec)),
        },
        status: None,
    }
}

/// What `before` becomes in `state`.
pub fn status(
    before: Option<&RegistryRolloutStatus>,
    state: &RolloutState,
    jobs: &[MigrationRun],
) -> RegistryRolloutStatus {
    let mut status = before.cloned().unwrap_or_default();
    append(&mut status.timeline, [entry(state)], TIMELINE);
    if let Some(verdict) = &state.verdict {
        append(
            &mut status.measurements,
            verdict.measurements.iter().cloned(),
            MEASUREMENTS,
        );
    }
    append(&mut status.decisions, state.decisions.iter().cloned(), DECISIONS);
    for run in jobs {
        match status.migrations.iter_mut().find(|known| known.job == run.job) {
            Some(known) => known.clone_from(run),
            None => status.migrations.push(run.clone()),
        }
    }
    status.phase = state.phase;
    status.phase_since = Some(state.phase_since.clone());
    status.stands_in = state.stands_in;
    status.asks = state.asks;
    status.strategy = Some(state.strategy);
    status.contract.clone_from(&state.contract);
    status.schema.clone_from(&state.schema);
    status.settles.clone_from(&state.settles);
    status.settled = state.settled;
    status.commands.clone_from(&state.commands);
    status.approved.clone_from(&state.approved);
    status.step = state.step;
    status.weight = state.weight;
    status.bad_measurements = state.bad_measurements;
    status.digest.clone_from(&state.to.digest);
    status.reason.clone_from(&state.reason);
    status.message.clone_from(&state.message);
    status.started_at = Some(state.started_at.clone());
    if state.phase.is_final() && status.result.is_none() {
        status.result = Some(state.phase);
        status.finished_at.clone_from(&state.finished_at);
        status.time_to_remediation_seconds = remediation(state);
    }
    status
}

/// The entry of the timeline that `state` stands for.
pub fn entry(state: &RolloutState) -> TimelineEntry {
    TimelineEntry {
        phase: state.phase,
        at: state.phase_since.clone(),
        reason: state.reason.clone(),
        message: state.message.clone(),
    }
}

/// Whether `before` has an entry for where `state` is. What it says there may change while it stays.
pub fn is_told(before: Option<&RegistryRolloutStatus>, state: &RolloutState) -> bool {
    let last = before.and_then(|before| before.timeline.last());
    last.is_some_and(|last| last.phase == state.phase && last.at == state.phase_since)
}

fn append<T: Same>(list: &mut Vec<T>, more: impl IntoIterator<Item = T>, bound: usize) {
    for item in more {
        match list.iter_mut().rev().find(|known| known.is_same(&item)) {
            Some(known) => *known = item,
            None => list.push(item),
        }
    }
    let excess = list.len().saturating_sub(bound);
    list.drain(..excess);
}

/// Whether two entries are about the same, so that the later one takes the place of the earlier.
trait Same {
    fn is_same(&self, other: &Self) -> bool;
}

impl Same for TimelineEntry {
    fn is_same(&self, other: &Self) -> bool {
        self.phase == other.phase && self.at == other.at
    }
}

impl Same for crate::api::rollout::status::Measurement {
    fn is_same(&self, other: &Self) -> bool {
        self.at == other.at && self.check == other.check && self.stage == other.stage
    }
}

impl Same for crate::api::rollout::status::DecisionTaken {
    fn is_same(&self, other: &Self) -> bool {
        self == other
    }
}

/// Seconds between the first sign of failure and the end, for a roll-out that had one.
fn remediation(state: &RolloutState) -> Option<i64> {
    let (failed, finished) = (state.failed_at.as_ref()?, state.finished_at.as_ref()?);
    let is_bad = matches!(state.phase, Phase::RolledBack | Phase::Failed);
    is_bad.then(|| finished.0.duration_since(failed.0).as_secs())
}

/// A Job of a roll-out, and when it ran.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ran {
    /// Its name.
    pub job: String,
    /// When it began.
    pub started_at: Option<Time>,
    /// When it ended, well or not.
    pub finished_at: Option<Time>,
}

/// What the Jobs of a roll-out came to.
pub fn runs(ran: impl Fn(JobKind) -> Option<Ran>, state: &RolloutState, facts: &Facts) -> Vec<MigrationRun> {
    let kinds = [
        (JobKind::Preflight, &facts.preflight),
        (JobKind::Earlier, &facts.earlier),
        (JobKind::Pre, &facts.pre),
        (JobKind::Post, &facts.post),
    ];
    let run = |(kind, fact): (JobKind, &JobFact)| {
        let ran = ran(kind)?;
        let exit_code = match fact {
            JobFact::Absent => return None,
            JobFact::Running { .. } => None,
            JobFact::Failed { code, .. } => *code,
            JobFact::Succeeded { .. } => Some(0),
        };
        let contract = state.contract.clone().unwrap_or_default();
        let told = match fact {
            JobFact::Failed { migrated, .. } | JobFact::Succeeded { migrated, .. } => migrated.clone(),
            JobFact::Absent | JobFact::Running { .. } => None,
        };
        let level_after = told.as_ref().and_then(|told| told.level_after.clone());
        let applied = match (told, kind, fact) {
            (Some(told), ..) => told.applied,
            (None, JobKind::Pre, JobFact::Succeeded { .. }) => contract.pending_pre,
            (None, JobKind::Post, JobFact::Succeeded { .. }) => contract.pending_post,
            (None, JobKind::Earlier, JobFact::Succeeded { .. }) => state.settles.clone().unwrap_or_default().migrations,
            _ => Vec::new(),
        };
        Some(MigrationRun {
            phase: kind.as_str().to_owned(),
            job: ran.job,
            applied,
            level_after,
            exit_code,
            started_at: ran.started_at,
            finished_at: ran.finished_at,
        })
    };
    kinds.into_iter().filter_map(run).collect()
}

/// Records to remove: of those that have ended all but the newest `limit`.
pub fn surplus(records: &[RegistryRollout], current: &str, limit: usize) -> Vec<(String, String)> {
    let mut ended: Vec<&RegistryRollout> = records
        .iter()
        .filter(|record| record.name_any() != current)
        .filter(|record| record.status.as_ref().is_some_and(|status| status.result.is_some()))
        .collect();
    ended.sort_by_key(|record| std::cmp::Reverse((record.creation_timestamp(), record.name_any())));
    // The current one counts too.
    let keep = limit.saturating_sub(1);
    let surplus = ended.into_iter().skip(keep);
    surplus
        .filter_map(|record| Some((record.name_any(), record.uid()?)))
        .collect()
}
