//! Every write of the objects around the pods.

use kube::ResourceExt;

use super::Companions;
use crate::cluster::{Cluster, Object};
use crate::error::Error;
use crate::foreign::OptionalApi;
use crate::registry::observe::Observed;
use crate::registry::validate::ValidRegistry;

/// Brings the objects around the pods to `wanted`: applies those, and removes others that the Registry controls.
///
/// Those whose kind the cluster does not have are left out. Safe to repeat and to drop midway.
///
/// # Errors
/// The first write that failed.
pub async fn settle(
    cluster: &Cluster,
    registry: &ValidRegistry,
    wanted: &Companions,
    observed: &Observed,
) -> Result<(), Error> {
    let live = &observed.companions;
    let has = |api| observed.apis.contains(&api);
    settle_one(
        cluster,
        registry,
        wanted.network_policy.as_ref(),
        live.network_policy.as_ref(),
    )
    .await?;
    settle_one(cluster, registry, wanted.budget.as_ref(), live.budget.as_ref()).await?;
    if has(OptionalApi::Certificates) {
        settle_one(
            cluster,
            registry,
            wanted.certificate.as_ref(),
            live.certificate.as_ref(),
        )
        .await?;
        let live = live.ingress_certificate.as_ref();
        settle_one(cluster, registry, wanted.ingress_certificate.as_ref(), live).await?;
    }
    settle_one(cluster, registry, wanted.ingress.as_ref(), live.ingress.as_ref()).await?;
    if has(OptionalApi::Routes) {
        settle_one(cluster, registry, wanted.route.as_ref(), live.route.as_ref()).await?;
    }
    if has(OptionalApi::PodMonitors) {
        settle_one(
            cluster,
            registry,
            wanted.pod_monitor.as_ref(),
            live.pod_monitor.as_ref(),
        )
        .await?;
    }
    if has(OptionalApi::ServiceMonitors) {
        let live = live.service_monitor.as_ref();
        settle_one(cluster, registry, wanted.service_monitor.as_ref(), live).await?;
    }
    Ok(())
}

/// Makes or removes the autoscaler. After the Deployment, which it speaks about.
///
/// # Errors
/// When the write failed.
pub async fn settle_autoscaler(
    cluster: &Cluster,
    registry: &ValidRegistry,
    wanted: &Companions,
    observed: &Observed,
) -> Result<(), Error> {
    let live = observed.companions.autoscaler.as_ref();
    settle_one(cluster, registry, wanted.autoscaler.as_ref(), live).await
}

async fn settle_one<K: Object>(
    cluster: &Cluster,
    registry: &ValidRegistry,
    wanted: Option<&K>,
    live: Option<&K>,
) -> Result<(), Error> {
    match (wanted, live) {
        (Some(wanted), live) => cluster.apply(wanted, live).await.map(drop),
        (None, Some(live)) if is_controlled_by(live, &registry.uid) => {
            let uid = live.uid().unwrap_or_default();
            cluster.delete::<K>(&registry.namespace, &live.name_any(), &uid).await
        }
        (None, _) => Ok(()),
    }
}

fn is_controlled_by(object: &impl Object, uid: &str) -> bool {
    object
        .owner_references()
        .iter()
        .any(|owner| owner.controller == Some(true) && owner.uid == uid)
}
