//! The controllers: what is watched, how failures are tried again, and an orderly stop.
//!
//! One operator runs at a time: the chart runs one pod and replaces it by stopping it first. Were there two for a
//! moment, both would apply the same objects, since every object follows from the Registry alone.

use std::future::ready;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{join_all, try_join_all};
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::runtime::controller::{self, Action};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{Controller, watcher};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::admin::Readiness;
use crate::api::RegistryApproval;
use crate::api::{Registry, RegistryStatus};
use crate::context::Context;
use crate::error::{self, Error, LIMIT, Retry};
use crate::events;
use crate::foreign;
use crate::labels::{INSTANCE, MANAGED};
use crate::{references, registry};

/// The kind in metrics and logs.
const KIND: &str = "Registry";
/// How many Registries are looked after at the same time.
const CONCURRENCY: u16 = 8;
/// How long changes of one Registry are gathered before a pass.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// Runs the controllers until `stop`, then lets passes that have begun come to their end.
///
/// No `namespaces` means all of them. `readiness` is set once everything was listed.
///
/// # Errors
/// When the table of permissions lacks what is watched.
pub async fn run(
    context: Arc<Context>,
    namespaces: &[String],
    readiness: Readiness,
    stop: CancellationToken,
) -> Result<(), Error> {
    let scopes: Vec<Option<&str>> = if namespaces.is_empty() {
        vec![None]
    } else {
        namespaces.iter().map(|name| Some(name.as_str())).collect()
    };
    let controllers = scopes
        .into_iter()
        .map(|scope| controller(&context, scope, stop.clone()));
    let controllers = controllers.collect::<Result<Vec<_>, Error>>()?;
    let listed = try_join_all(controllers.iter().map(Controller::store).map(until_listed));
    let runs = join_all(
        controllers
            .into_iter()
            .map(|controller| run_one(controller, Arc::clone(&context))),
    );
    let ready = listed.map(|listed| {
        if listed.is_ok() {
            readiness.set();
        }
    });
    futures::join!(runs, ready);
    Ok(())
}

async fn until_listed(store: Store<Registry>) -> Result<(), kube::runtime::reflector::store::WriterDropped> {
    store.wait_until_ready().await
}

fn controller(
    context: &Context,
    namespace: Option<&str>,
    stop: CancellationToken,
) -> Result<Controller<Registry>, Error> {
    let cluster = &context.cluster;
    let managed = || watcher::Config::default().labels(MANAGED);
    let controller = Controller::new(cluster.watched::<Registry>(namespace)?, watcher::Config::default())
        .with_config(
            controller::Config::default()
                .concurrency(CONCURRENCY)
                .debounce(DEBOUNCE),
        )
        .owns(cluster.watched::<Deployment>(namespace)?, managed())
        .owns(cluster.watched::<Job>(namespace)?, managed())
        .owns(cluster.watched::<ConfigMap>(namespace)?, managed())
        .owns(cluster.watched::<Service>(namespace)?, managed())
        .owns(cluster.watched::<ServiceAccount>(namespace)?, managed())
        .owns(cluster.watched::<Ingress>(namespace)?, managed())
        .owns(cluster.watched::<NetworkPolicy>(namespace)?, managed())
        .owns(cluster.watched::<PodDisruptionBudget>(namespace)?, managed())
        .owns(cluster.watched::<HorizontalPodAutoscaler>(namespace)?, managed())
        .reconcile_on(foreign::changes::changes(cluster, namespace)?)
        .watches(
            cluster.watched::<PersistentVolumeClaim>(namespace)?,
            managed(),
            |claim| registry_of(&claim),
        )
        .watches(
            cluster.watched::<RegistryApproval>(namespace)?,
            watcher::Config::default(),
            |approval| registry_of_rollout(&approval),
        )
        .graceful_shutdown_on(stop.cancelled_owned());
    let referred = references::changes(cluster.clone(), controller.store());
    Ok(controller.reconcile_on(referred))
}

/// The name of a roll-out is its Registry's, with a hash behind it.
fn registry_of_rollout(approval: &RegistryApproval) -> Option<ObjectRef<Registry>> {
    let (registry, _) = approval.spec.rollout_ref.name.rsplit_once('-')?;
    Some(ObjectRef::new(registry).within(&approval.namespace()?))
}

/// A claim has no owner, so its label says whose it is.
fn registry_of(claim: &PersistentVolumeClaim) -> Option<ObjectRef<Registry>> {
    let name = claim.labels().get(INSTANCE)?;
    Some(ObjectRef::new(name).within(&claim.namespace()?))
}

async fn run_one(controller: Controller<Registry>, context: Arc<Context>) {
    controller
        .run(reconcile, retry, Arc::clone(&context))
        .for_each(|pass| {
            if let Err(failed) = pass {
                note(&failed, &context);
            }
            ready(())
        })
        .await;
}

/// One pass, with an id of its own in what it logs.
async fn reconcile(registry: Arc<Registry>, context: Arc<Context>) -> Result<Action, Error> {
    let span = tracing::info_span!(
        "reconcile",
        kind = KIND,
        namespace = %registry.namespace().unwrap_or_default(),
        registry = %registry.name_any(),
        generation = registry.metadata.generation,
        pass = %format_args!("{:016x}", rand::random::<u64>()),
    );
    Box::pin(timed(registry, context)).instrument(span).await
}

/// One pass, counted, and cut off when it takes too long.
async fn timed(registry: Arc<Registry>, context: Arc<Context>) -> Result<Action, Error> {
    let began = Instant::now();
    let (namespace, nothing) = (registry.namespace().unwrap_or_default(), RegistryStatus::default());
    let status = registry.status.as_ref().unwrap_or(&nothing);
    context
        .metrics
        .rollouts
        .observe(&namespace, &registry.name_any(), status);
    let object = ObjectRef::from_obj(registry.as_ref()).to_string();
    let pass = Box::pin(registry::reconcile(Arc::clone(&registry), Arc::clone(&context)));
    let pass = tokio::time::timeout(LIMIT, pass).await;
    let pass = pass.unwrap_or(Err(Error::TimedOut));
    match &pass {
        Ok(_) => {
            context.failures.forget(&object);
            context.metrics.reconciled(KIND, began.elapsed());
        }
        Err(error) => {
            context.metrics.failed(KIND, error.reason(), began.elapsed());
            // The conditions cannot tell of these.
            if let Some(event) = events::of_failure(error) {
                context.cluster.tell(&registry, &event).await;
            }
        }
    }
    pass
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the controller calls it with the object and the context"
)]
fn retry(registry: Arc<Registry>, error: &Error, context: Arc<Context>) -> Action {
    Action::requeue(match error.retry() {
        Retry::BackOff => context
            .failures
            .wait(&ObjectRef::from_obj(registry.as_ref()).to_string()),
        Retry::OnChange(at_the_latest) => at_the_latest,
    })
}

/// An object that is gone by the time of its pass is no failure: Kubernetes removes what belonged to it.
fn note(failed: &controller::Error<Error, watcher::Error>, context: &Context) {
    let (what, cause): (String, &dyn std::error::Error) = match failed {
        controller::Error::ObjectNotFound(object) => {
            context
                .metrics
                .rollouts
                .forget(object.namespace.as_deref().unwrap_or_default(), &object.name);
            let object = object.to_string();
            context.silences.forget(&object);
            return context.failures.forget(&object);
        }
        controller::Error::ReconcilerFailed(error, object) => (format!("{object} could not be looked after"), error),
        controller::Error::QueueError(error) => ("watching failed and is tried again".to_owned(), error),
        controller::Error::RunnerError(error) => ("a controller failed".to_owned(), error),
    };
    tracing::warn!("{what}: {}", error::chain(cause));
}
