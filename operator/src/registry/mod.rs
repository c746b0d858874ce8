//! The controller of Registry: observe, validate, build, apply, status.
//!
//! `validate`, `build` and `status` are pure: they know neither a client nor the clock. All memory is in the cluster, so
//! an operator that restarts goes on where it was; a pass over a Registry that is as it should be writes nothing.
//!
//! There is no finalizer. Everything that must go with a Registry is in its namespace and refers to it as its owner, so
//! Kubernetes removes it, also while the operator is down. The volume's claim and the data in a database or bucket are
//! to stay. A finalizer would only add a way for a Registry to hang while it is deleted.

pub mod apply;
pub mod build;
pub mod companions;
pub mod config;
pub mod credentials;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod migration;
pub mod observe;
pub mod own_image;
pub mod prune;
pub mod quantity;
pub mod rollout;
pub mod status;
pub mod trouble;
pub mod validate;

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;

use crate::api::conditions::Reason;
use crate::api::{Registry, RegistryStatus};
use crate::channel::told::Told;
use crate::channel::watch::{Channels, Looked, Sight};
use crate::cluster::Written;
use crate::context::Context;
use crate::error::{self, Error, IDLE};
use crate::events;
use crate::management::Report;
use crate::notify;
use crate::rollout::settings::Settings;
use crate::rollout::{Driven, Pass, target};
use companions::lacks::Lacks;
use credentials::HTTP_SECRET_KEY;
use observe::Observed;
use status::{Seen, Stage};
use trouble::Scrubber;
use validate::{Refusal, ValidRegistry, validate};

/// How soon a pass looks again at what no watch tells it about: pods, Secrets and the pods' own reports.
const SOON: Duration = Duration::from_secs(10);

/// The same while a roll-out is under way: its measurements have an interval of their own.
const SOON_IN_ROLLOUT: Duration = Duration::from_secs(2);

/// How soon a pass looks again at what a watch should have told it.
const UNHEARD: Duration = Duration::from_mins(1);
/// How soon a pass looks whether the cluster now has an API that it lacked.
const LOOK_FOR_APIS: Duration = Duration::from_secs(30);

/// One pass over `registry`.
///
/// # Errors
/// When the API server could not be asked or told; what was done so far stays, and the next pass goes on from there.
pub async fn reconcile(registry: Arc<Registry>, context: Arc<Context>) -> Result<Action, Error> {
    if registry.metadata.deletion_timestamp.is_some() {
        context.channels.forget(&registry);
        return Ok(Action::await_change());
    }
    let began = registry;
    let mut registry = began.as_ref().clone();
    let mut observed = Box::pin(observe::observe(&context.cluster, &registry)).await?;
    let mut lacks = Lacks::default();
    let Some(looked) = follow(&mut registry, &context, &mut observed).await? else {
        return Ok(Action::requeue(Duration::ZERO));
    };
    let stage = if registry.spec.suspend {
        Some(Stage::Suspended)
    } else if let Some(unresolved) = looked.as_ref().and_then(unresolved) {
        Some(unresolved)
    } else {
        let told = looked.as_ref().map(|looked| &looked.told);
        Box::pin(advance(&mut registry, &context, &mut observed, &mut lacks, told)).await?
    };
    // What was read is out of date; the newer one is on its way.
    let Some(stage) = stage else {
        return Ok(Action::requeue(Duration::ZERO));
    };
    let report = if stage.is_complete() {
        report(&registry, &context, &observed).await
    } else {
        None
    };
    let seen = Seen {
        deployment: observed.deployment.as_ref(),
        service: observed.service.as_ref(),
        report: report.as_ref(),
        claim: observed.claim.as_ref(),
        lacks: Some(&lacks),
        version: looked.as_ref().map(|looked| &looked.told),
        operator_image: context.operator_image.as_deref(),
    };
    let status = status::status(&registry, &stage, seen, context.clock.now());
    if publish(&registry, &context, &status).await? == Written::Stale {
        return Ok(Action::requeue(Duration::ZERO));
    }
    notify::tell(&context.cluster, &context.sinks, &began, &status, context.clock.now()).await;
    let object = ObjectRef::from_obj(&registry).to_string();
    if report.is_some() {
        context.silences.forget(&object);
    }
    let silence = (stage.is_complete() && report.is_none()).then(|| context.silences.wait(&object));
    let next = next_look(&stage, silence, observed.service.is_some());
    let next = looked.map_or(next, |looked| next.min(looked.next));
    Ok(Action::requeue(if lacks.is_empty() {
        next
    } else {
        next.min(LOOK_FOR_APIS)
    }))
}

/// Looks at the channel, and writes down what it came to before anything is done about it: a pass that is cut off must
/// not leave a roll-out of a version that nobody remembers. None when what was read is out of date.
async fn follow(
    registry: &mut Registry,
    context: &Context,
    observed: &mut Observed,
) -> Result<Option<Option<Looked>>, Error> {
    let Some(channel) = registry.channel().cloned() else {
        context.channels.forget(registry);
        return Ok(Some(None));
    };
    let image = observed.deployment.as_ref().and_then(|live| live.spec.as_ref());
    let image = image.map(|spec| target::image_of(&spec.template));
    let sight = Sight {
        registry,
        secrets: &observed.secrets,
        image: image.as_deref(),
        now: context.clock.now(),
    };
    let looked = if registry.spec.suspend {
        Channels::unasked(registry)
    } else {
        context.channels.look(sight, &channel).await
    };
    observed.release.clone_from(&looked.release);
    let before = registry.status.clone().unwrap_or_default();
    if before.release != looked.release {
        let status = RegistryStatus {
            release: looked.release.clone(),
            ..before
        };
        let value = serialised(&status)?;
        let Some(written) = context.cluster.apply_status_of(registry, &value).await? else {
            return Ok(None);
        };
        *registry = written;
    }
    Ok(Some(Some(looked)))
}

/// Before a channel has come to anything, nothing is changed: pods that are there go on as they are.
fn unresolved(looked: &Looked) -> Option<Stage> {
    if looked.release.is_some() {
        return None;
    }
    let (reason, message) = (looked.told.reason, looked.told.message.clone());
    Some(if reason == Reason::SourceUnreachable {
        Stage::Waiting { reason, message }
    } else {
        Stage::Refused(Refusal {
            reason,
            problems: vec![message],
        })
    })
}

fn serialised(status: &RegistryStatus) -> Result<serde_json::Value, Error> {
    serde_json::to_value(status).map_err(|source| Error::Serialise {
        kind: "RegistryStatus".to_owned(),
        source,
    })
}

/// When to look again though nothing was heard. Pods that did not answer are to be left alone for `silence`.
fn next_look(stage: &Stage, silence: Option<Duration>, is_reachable: bool) -> Duration {
    match stage {
        Stage::Deployed { .. } if stage.is_complete() && is_reachable => silence.map_or(IDLE, |wait| wait.max(SOON)),
        // A change of the spec or the end of the Job is heard of.
        Stage::MigrationFailed { .. } | Stage::Suspended => IDLE,
        Stage::Refused(refusal) if refusal.reason == Reason::InvalidSpec => IDLE,
        // A roll-out that has ended waits for another spec or a person's word.
        Stage::Rolling { state, .. } if state.phase.is_final() => IDLE,
        Stage::Rolling { .. } => SOON_IN_ROLLOUT,
        // Heard of too, unless the operator may not watch.
        Stage::Refused(refusal) if is_heard_of(refusal.reason) => UNHEARD,
        Stage::Deployed { .. } | Stage::Refused(_) | Stage::Migrating { .. } | Stage::Waiting { .. } => SOON,
    }
}

/// Whether what ends a refusal is watched.
fn is_heard_of(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::SecretMissing | Reason::ReferenceMissing | Reason::VolumeLost
    )
}

/// Validates, builds and applies. What a person must put right is a stage, not an error; none when what was read is out of
/// date.
///
/// What the cluster lacks for what the spec asks is noted in `lacks`: it need not keep pods from serving.
async fn advance(
    registry: &mut Registry,
    context: &Context,
    observed: &mut Observed,
    lacks: &mut Lacks,
    told: Option<&Told>,
) -> Result<Option<Stage>, Error> {
    let valid = match validate(registry, observed, &context.defaults) {
        Ok(valid) => valid,
        Err(refusal) => return Ok(Some(Stage::Refused(refusal))),
    };
    let applied = async {
        let digest = apply::ensure_secrets(&context.cluster, &valid, observed).await?;
        let objects = build::build(&valid, &digest);
        *lacks = Lacks::of(&objects.companions, observed);
        Box::pin(bring(registry, context, &valid, objects, observed, (&*lacks, told))).await
    };
    match applied.await {
        Ok(stage) => Ok(stage),
        Err(error) => match error.refusal() {
            Some(problem) => Ok(Some(Stage::Refused(Refusal {
                reason: Reason::ApplyRefused,
                problems: vec![problem],
            }))),
            None => Err(error),
        },
    }
}

/// Brings the cluster to `objects`: through a roll-out, where the pods are to become others.
async fn bring(
    registry: &mut Registry,
    context: &Context,
    valid: &ValidRegistry,
    mut objects: build::Objects,
    observed: &Observed,
    (lacks, version): (&Lacks, Option<&Told>),
) -> Result<Option<Stage>, Error> {
    let settings = Settings::of(registry, valid.volume.is_none());
    let (target, wanted) = target::target(registry, observed.release.as_ref(), &mut objects, settings.strategy);
    target::open_to_canary(&mut objects.service, &valid.name, &observed.pods);
    target::keep_pinned(&mut objects, observed.deployment.as_ref(), &target.revision.revision);
    let pass = Pass {
        context,
        valid,
        objects: &objects,
        observed,
        target: &target,
        wanted: &wanted,
        settings: &settings,
        lacks,
        version,
    };
    match Box::pin(crate::rollout::drive(pass, registry)).await? {
        Driven::Stale => return Ok(None),
        Driven::Rolling { state, main } => {
            let scrubber = Scrubber {
                credentials: &valid.credentials,
                secrets: &observed.secrets,
            };
            let trouble = main
                .as_ref()
                .and_then(|main| trouble::of_serving_pods(main, &observed.pods, scrubber));
            return Ok(Some(Stage::Rolling { state, main, trouble }));
        }
        Driven::AsWanted => {}
    }
    let migrated_by = migration::done_by(registry, observed.deployment.as_ref());
    let applied = Box::pin(apply::apply(&context.cluster, valid, &objects, observed, migrated_by)).await;
    applied.map(Some)
}

/// What a pod says about itself. Only asked when all pods are the same, and an answer that fails is no error: the pods
/// may be unreachable from here, and serve all the same.
async fn report(registry: &Registry, context: &Context, observed: &Observed) -> Option<Report> {
    let name = registry.name_any();
    let secret = observed
        .secrets
        .get(&credentials::http_secret(&name).secret)?
        .get(HTTP_SECRET_KEY)?;
    let namespace = registry.namespace()?;
    match context
        .management
        .report(&namespace, &name, secret, context.clock.now())
        .await
    {
        Ok(report) => Some(report),
        Err(failed) => {
            tracing::debug!(%namespace, %name, "no report of {namespace}/{name}: {}", error::chain(&failed));
            None
        }
    }
}

/// Writes the status, and tells its transitions, if it is another one.
///
/// A transition is one from the status that `registry` has. When that is not the newest any more, the transition may
/// have been told already, so nothing is written or told.
async fn publish(registry: &Registry, context: &Context, status: &RegistryStatus) -> Result<Written, Error> {
    if registry.status.as_ref() == Some(status) {
        return Ok(Written::Done);
    }
    let value = serialised(status)?;
    if context.cluster.apply_status(registry, &value).await? == Written::Stale {
        return Ok(Written::Stale);
    }

    let before = registry
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    for event in events::transitions(before, &status.conditions) {
        context.cluster.tell(registry, &event).await;
    }
    Ok(Written::Done)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::Deployment;
    use serde_json::json;

    use super::*;

    #[test]
    fn pods_that_never_answer_are_asked_less_and_less_often() {
        let complete: Deployment = serde_json::from_value(json!({
            "spec": {"replicas": 1, "selector": {}, "template": {}},
            "status": {"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1},
        }))
        .unwrap();
        let stage = Stage::Deployed {
            deployment: Box::new(complete),
            trouble: None,
        };
        let look = |silence: Option<u64>| next_look(&stage, silence.map(Duration::from_secs), true);

        assert_eq!(look(Some(1)), SOON);
        assert_eq!(look(Some(64)), Duration::from_secs(64));
        assert_eq!(look(None), IDLE);
    }
}
