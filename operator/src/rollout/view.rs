//! The reads of a roll-out, beside those of every pass.

use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;

use crate::api::{Registry, RegistryApproval, RegistryRollout};
use crate::cluster::Cluster;
use crate::error::Error;
use crate::labels::{self, names};

/// What is in the cluster for a roll-out.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The canary.
    pub canary: Option<Deployment>,
    /// The Service of main.
    pub main_service: Option<Service>,
    /// The Service of the canary.
    pub canary_service: Option<Service>,
    /// What is kept of revisions.
    pub kept: Vec<ControllerRevision>,
    /// What people have said.
    pub approvals: Vec<RegistryApproval>,
    /// The records of this Registry's roll-outs.
    pub records: Vec<RegistryRollout>,
}

/// Reads what is in the cluster for the roll-outs of `registry`.
///
/// # Errors
/// The first read that failed.
pub async fn view(cluster: &Cluster, registry: &Registry) -> Result<View, Error> {
    let namespace = registry.namespace().ok_or(Error::Incomplete("namespace"))?;
    let name = registry.name_any();
    let labelled = labels::of_instance(&name);
    let (canary, main_service) = (names::canary(&name), names::main_service(&name));
    let (single, many) = futures::try_join!(
        async {
            futures::try_join!(
                cluster.get(&namespace, &canary),
                cluster.get(&namespace, &main_service),
                cluster.get(&namespace, &canary)
            )
        },
        async {
            futures::try_join!(
                cluster.list(&namespace, &labelled),
                cluster.list::<RegistryApproval>(&namespace, ""),
                cluster.list::<RegistryRollout>(&namespace, &labelled)
            )
        },
    )?;
    let (canary, main_service, canary_service) = single;
    let (kept, approvals, mut records) = many;
    let uid = registry.uid().unwrap_or_default();
    records.retain(|record| record.spec.registry_ref.uid == uid);
    Ok(View {
        canary,
        main_service,
        canary_service,
        kept,
        approvals,
        records,
    })
}
