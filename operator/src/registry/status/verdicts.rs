//! What each condition says at each stage; pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::super::companions::lacks::Lacks;
use super::super::migration::MIGRATED;
use super::super::own_image;
use super::super::rollout::Rollout;
use super::super::trouble::{Needs, Trouble};
use super::{Seen, Stage, rollouts};
use crate::api::Registry;
use crate::api::conditions::{self, ConditionType, Reason, Truth, Verdict, shortened};
use crate::api::rollout::{Phase, RolloutState};
use crate::api::status::SchemaLevel;
use crate::channel::told::Told;
use crate::rollout::target::image_of;

/// How much of what a failed migration printed goes into a message: the remedy must fit too.
const CAUSE_BYTES: usize = 500;
/// What every condition says while the operator holds back.
const SUSPENDED: &str = "spec.suspend is true, so the operator changes nothing: remove it to go on";

/// The verdicts, in the order of [`ConditionType::ALL`].
pub(super) fn of(registry: &Registry, stage: &Stage, seen: Seen<'_>, about: About<'_>) -> Vec<Verdict> {
    let whole = lacking(state(registry, stage, about.schema), seen.lacks);
    let rollout = if let Stage::Rolling { state, .. } = stage {
        Some(state.as_ref())
    } else {
        registry.status.as_ref().and_then(|status| status.rollout.as_ref())
    };
    let said = |type_| match type_ {
        ConditionType::Ready => whole.ready.clone(),
        // The same in the words of kstatus, which Flux and `kubectl wait` tools read.
        ConditionType::Progressing | ConditionType::Reconciling => whole.progressing.clone(),
        ConditionType::Degraded | ConditionType::Stalled => whole.degraded.clone(),
        ConditionType::DatabaseMigrated => whole.migrated.clone(),
        ConditionType::Available => available(seen, about.pods),
        ConditionType::Paused => paused(stage),
        ConditionType::DependenciesAvailable => dependencies(seen.lacks),
        ConditionType::VersionResolved => resolved(registry, seen),
        ConditionType::ImageSource => image_source(registry, stage, seen),
        ConditionType::CanaryHealthy => rollouts::canary_healthy(rollout),
        ConditionType::Promoted => rollouts::promoted(rollout),
        ConditionType::RolloutBlocked => rollouts::blocked(rollout),
        ConditionType::SchemaUpToDate => rollouts::schema_up_to_date(about.schema),
        ConditionType::RequirementsMet => rollouts::requirements_met(registry, about.version),
    };
    ConditionType::ALL
        .into_iter()
        .map(|type_| (type_, said(type_)))
        .map(|(type_, said)| Verdict {
            type_,
            truth: said.truth,
            reason: said.reason,
            message: said.message,
        })
        .collect()
}

/// What a status says beside its conditions.
#[derive(Clone, Copy, Debug)]
pub(super) struct About<'a> {
    /// The pods.
    pub pods: Rollout,
    /// The version that runs.
    pub version: Option<&'a str>,
    /// The level of the database.
    pub schema: Option<&'a SchemaLevel>,
}

struct State {
    ready: Said,
    progressing: Said,
    degraded: Said,
    migrated: Said,
}

fn available(seen: Seen<'_>, rollout: Rollout) -> Said {
    let Rollout { ready, wanted, .. } = rollout;
    if seen.deployment.is_none() && rollout == Rollout::default() {
        return said(Truth::Unknown, Reason::NotObserved, "there are no pods yet");
    }
    let reason = if ready > 0 {
        Reason::MinimumReplicasAvailable
    } else {
        Reason::MainUnavailable
    };
    said(ready > 0, reason, format!("{ready} of {wanted} pods serve"))
}

fn paused(stage: &Stage) -> Said {
    if *stage == Stage::Suspended {
        return said(true, Reason::Suspended, SUSPENDED);
    }
    if let Stage::Rolling { state, .. } = stage
        && matches!(state.phase, Phase::Paused | Phase::AwaitingApproval)
    {
        return said(true, Reason::of_rollout(&state.reason), state.message.as_str());
    }
    said(false, Reason::AsExpected, "the operator looks after the registry")
}

/// Without a channel the spec names the version.
fn resolved(registry: &Registry, seen: Seen<'_>) -> Said {
    let told = seen.version.cloned().unwrap_or_else(|| Told::pinned(registry));
    said(told.truth, told.reason, told.message)
}

/// Whether the images that run, or are about to, come from another registry than this one.
fn image_source(registry: &Registry, stage: &Stage, seen: Seen<'_>) -> Said {
    let (live, wanted) = match stage {
        Stage::Deployed { deployment, .. } => (Some(deployment.as_ref()), ""),
        Stage::Rolling { main, state, .. } => (main.as_deref().or(seen.deployment), state.to.image.as_str()),
        Stage::Refused(_)
        | Stage::Waiting { .. }
        | Stage::Suspended
        | Stage::Migrating { .. }
        | Stage::MigrationFailed { .. } => (seen.deployment, ""),
    };
    let template = live.and_then(|live| live.spec.as_ref()).map(|spec| &spec.template);
    let running = template.map(image_of).unwrap_or_default();
    match own_image::problem(registry, &[&running, wanted], seen.operator_image) {
        Some(problem) => said(false, Reason::SelfHosted, problem),
        None => said(
            true,
            Reason::AsExpected,
            "no image that is needed here is in this registry alone",
        ),
    }
}

fn dependencies(lacks: Option<&Lacks>) -> Said {
    match lacks.and_then(|lacks| lacks.missing_apis(false)) {
        Some(missing) => said(false, Reason::DependencyUnavailable, missing),
        None => said(
            true,
            Reason::AsExpected,
            "the cluster has every API that the spec needs",
        ),
    }
}

/// A registry whose pods serve is not as the spec says as long as the way to it is not.
fn lacking(state: State, lacks: Option<&Lacks>) -> State {
    let Some(lacks) = lacks.filter(|_| state.ready.truth == Truth::True) else {
        return state;
    };
    if let Some(missing) = lacks.missing_apis(true) {
        return stuck(Reason::DependencyUnavailable, &missing, state.migrated);
    }
    if !lacks.refused_routes.is_empty() {
        let message = format!(
            "pods serve, but no Gateway passes requests on to them; check spec.exposure.gateway and the Gateway's \
             listeners. {}",
            lacks.refused_routes.join("; ")
        );
        return stuck(Reason::RouteRefused, &message, state.migrated);
    }
    match lacks.pending_certificates.first() {
        Some(pending) => moving(Reason::CertificatePending, pending, state.migrated),
        None => state,
    }
}

/// What one condition says.
#[derive(Clone, Debug)]
pub(super) struct Said {
    /// Whether it holds.
    pub truth: Truth,
    /// Why.
    pub reason: Reason,
    /// The same for people.
    pub message: String,
}

pub(super) fn said(truth: impl Into<Truth>, reason: Reason, message: impl Into<String>) -> Said {
    Said {
        truth: truth.into(),
        reason,
        message: message.into(),
    }
}

fn state(registry: &Registry, stage: &Stage, schema: Option<&SchemaLevel>) -> State {
    match stage {
        Stage::Refused(refusal) => stuck(refusal.reason, &refusal.problems.join("; "), migrated_before(registry)),
        Stage::Waiting { reason, message } => moving(*reason, message, migrated_before(registry)),
        Stage::Suspended => suspended(migrated_before(registry)),
        Stage::Migrating { job, trouble } => migrating(job, trouble.as_ref()),
        Stage::MigrationFailed { job, cause } => migration_failed(registry, job, cause),
        Stage::Rolling { state, main, trouble } => {
            let main = main.as_deref().map(Rollout::of).unwrap_or_default();
            rolling(registry, state, deployed(registry, main, trouble.as_ref(), schema))
        }
        Stage::Deployed { deployment, trouble } => {
            deployed(registry, Rollout::of(deployment), trouble.as_ref(), schema)
        }
    }
}

/// Nobody can say whether things are as the spec says: the operator does not compare.
fn suspended(migrated: Said) -> State {
    State {
        ready: said(Truth::Unknown, Reason::Suspended, SUSPENDED),
        progressing: said(false, Reason::Suspended, SUSPENDED),
        degraded: said(false, Reason::Suspended, SUSPENDED),
        migrated,
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "there are eighteen phases, and only a few are not simply on their way"
)]
/// Where a roll-out is. Main is `as_deployed`: what it says counts where main is what the roll-out is at.
fn rolling(registry: &Registry, state: &RolloutState, as_deployed: State) -> State {
    let reason = Reason::of_rollout(&state.reason);
    let message = state.message.as_str();
    // A version that ran before has what it needs, whatever becomes of the next one.
    let before = if state.from.is_some() {
        as_deployed.migrated.clone()
    } else {
        migrated_before(registry)
    };
    match state.phase {
        Phase::Soaking | Phase::PostMigrating => as_deployed,
        Phase::Promoting | Phase::MainVerifying if as_deployed.ready.truth != Truth::True => as_deployed,
        Phase::PreMigrating => moving(reason, message, said(Truth::Unknown, Reason::Migrating, message)),
        Phase::Failed if reason == Reason::MigrationFailed => {
            let job = super::super::migration::rollout_job(state);
            migration_failed(registry, &job, message)
        }
        Phase::Failed | Phase::RolledBack | Phase::Held => stuck(reason, message, before),
        Phase::Paused if matches!(reason, Reason::NoData | Reason::Inconclusive | Reason::QueryError) => {
            stuck(reason, message, before)
        }
        _ => moving(reason, message, before),
    }
}

/// A person is needed.
fn stuck(reason: Reason, message: &str, migrated: Said) -> State {
    State {
        ready: said(false, reason, message),
        progressing: said(false, reason, "waiting for somebody to put it right"),
        degraded: said(true, reason, message),
        migrated,
    }
}

/// Time is needed.
fn moving(reason: Reason, message: &str, migrated: Said) -> State {
    State {
        ready: said(false, reason, message),
        progressing: said(true, reason, message),
        degraded: said(false, Reason::AsExpected, "nothing needs a person"),
        migrated,
    }
}

fn migrating(job: &str, trouble: Option<&Trouble>) -> State {
    let waiting = format!("Job {job} migrates the database; the pods change after that");
    match trouble {
        // A failed try is followed by another: only the Job's own end is a failed migration.
        Some(trouble) if trouble.reason == Reason::PodsCrash || trouble.reason == Reason::MigrationFailed => {
            let message = format!("{waiting}. It has failed and is tried again: {}", trouble.message);
            moving(
                Reason::Migrating,
                &message,
                said(Truth::Unknown, Reason::Migrating, message.as_str()),
            )
        }
        Some(Trouble {
            reason,
            message,
            needs: Needs::Person,
        }) => {
            let message = format!("{waiting}. {message}");
            stuck(
                *reason,
                &message,
                said(Truth::Unknown, Reason::Migrating, message.as_str()),
            )
        }
        Some(Trouble {
            message,
            needs: Needs::Time,
            ..
        }) => {
            let message = format!("{waiting}. {message}");
            moving(
                Reason::Migrating,
                &message,
                said(Truth::Unknown, Reason::Migrating, message.as_str()),
            )
        }
        None => moving(
            Reason::Migrating,
            &waiting,
            said(Truth::Unknown, Reason::Migrating, waiting.as_str()),
        ),
    }
}

fn migration_failed(registry: &Registry, job: &str, cause: &str) -> State {
    let namespace = registry.metadata.namespace.as_deref().unwrap_or_default();
    let cause = shortened(cause, CAUSE_BYTES);
    let message = format!(
        "The database was not migrated, so pods that run were not changed and go on serving. Put the cause right: \
         a corrected spec starts another Job by itself; if the cause is elsewhere, run \
         `kubectl delete job -n {namespace} {job}`, and a new one starts. The Job's last lines: {cause}"
    );
    stuck(
        Reason::MigrationFailed,
        &message,
        said(false, Reason::MigrationFailed, message.as_str()),
    )
}

fn deployed(registry: &Registry, rollout: Rollout, trouble: Option<&Trouble>, schema: Option<&SchemaLevel>) -> State {
    let migrated = migrated(registry, rollout, trouble, schema);
    let Rollout {
        wanted, ready, updated, ..
    } = rollout;
    match trouble {
        Some(Trouble {
            reason,
            message,
            needs: Needs::Person,
        }) => return stuck(*reason, message, migrated),
        _ if rollout.timed_out => {
            let more = trouble
                .map(|trouble| format!(": {}", trouble.message))
                .unwrap_or_default();
            let message = format!(
                "{updated} of {wanted} pods are of the wanted version, and no further one began to serve in time{more}"
            );
            return stuck(Reason::RolloutTimedOut, &message, migrated);
        }
        Some(Trouble {
            reason,
            message,
            needs: Needs::Time,
        }) => return moving(*reason, message, migrated),
        None => {}
    }
    if migrated.truth == Truth::False {
        return stuck(migrated.reason, &migrated.message.clone(), migrated);
    }
    if rollout.is_complete() {
        return complete(wanted, migrated);
    }
    if !rollout.is_replaced() {
        let message = format!("{updated} of {wanted} pods are of the wanted version");
        return moving(Reason::RollingOut, &message, migrated);
    }
    let reason = if has_been_complete(registry) {
        Reason::TooFewReplicas
    } else {
        Reason::RollingOut
    };
    moving(reason, &format!("{ready} of {wanted} pods serve"), migrated)
}

/// Whether the pods of this very spec have all served before.
fn has_been_complete(registry: &Registry) -> bool {
    let conditions = registry
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    let complete = |before: &Condition| {
        before.observed_generation == registry.metadata.generation
            && (before.status == Truth::True.as_str() || before.reason == Reason::TooFewReplicas.as_str())
    };
    conditions::find(conditions, ConditionType::Ready).is_some_and(complete)
}

fn complete(wanted: i32, migrated: Said) -> State {
    let message = if wanted == 1 {
        "1 pod serves".to_owned()
    } else {
        format!("{wanted} pods serve")
    };
    State {
        ready: said(true, Reason::AsExpected, message),
        progressing: said(false, Reason::AsExpected, "everything is as the spec says"),
        degraded: said(false, Reason::AsExpected, "nothing needs a person"),
        migrated,
    }
}

/// With PostgreSQL a Deployment is only reached after its Job; with SQLite the pod has migrated once it serves.
fn migrated(registry: &Registry, rollout: Rollout, trouble: Option<&Trouble>, schema: Option<&SchemaLevel>) -> Said {
    let pending = schema.map(|schema| schema.pending_pre.as_slice()).unwrap_or_default();
    if !pending.is_empty() {
        let message = format!(
            "the running version needs migrations that are not applied: {}. Delete the Registry's finished migration \
             Jobs, and a new one starts",
            pending.join(", ")
        );
        return said(false, Reason::MigrationPending, message);
    }
    if registry.postgres().is_some() || rollout.is_complete() {
        return said(true, Reason::Migrated, MIGRATED);
    }
    match trouble.filter(|trouble| trouble.reason == Reason::MigrationFailed) {
        Some(trouble) => said(false, Reason::MigrationFailed, trouble.message.as_str()),
        None => migrated_before(registry),
    }
}

/// What was said about the database stays true of the pods that run.
fn migrated_before(registry: &Registry) -> Said {
    let conditions = registry
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    let before = conditions::find(conditions, ConditionType::DatabaseMigrated);
    if before.is_some_and(|before| before.status == Truth::True.as_str()) {
        return said(true, Reason::Migrated, MIGRATED);
    }
    said(
        Truth::Unknown,
        Reason::NotObserved,
        "no pod has migrated the database yet",
    )
}
