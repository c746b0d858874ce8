//! Every read of a pass over a Registry.

use std::collections::BTreeSet;

use futures::future::try_join_all;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::companions::{self, Companions};
use super::credentials::{self, Secrets};
use crate::api::Registry;
use crate::api::release::ResolvedRelease;
use crate::cluster::Cluster;
use crate::error::Error;
use crate::foreign::OptionalApi;
use crate::labels::{self, names};

/// What is in the cluster for one Registry.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Values of the Secrets that pods read: those that the spec refers to, and the generated one.
    pub secrets: Secrets,
    /// Values of the `ConfigMaps` that the spec refers to.
    pub referred_config_maps: Secrets,
    /// Metadata of the generated Secret.
    pub http_secret: Option<ObjectMeta>,
    /// The `ServiceAccount` of the pods.
    pub service_account: Option<ServiceAccount>,
    /// The Service for clients.
    pub service: Option<Service>,
    /// The Service of the management API.
    pub admin_service: Option<Service>,
    /// The claim of the volume.
    pub claim: Option<PersistentVolumeClaim>,
    /// The Deployment.
    pub deployment: Option<Deployment>,
    /// Configurations, the wanted one and older ones.
    pub config_maps: Vec<ConfigMap>,
    /// Migrations, the wanted one and older ones.
    pub jobs: Vec<Job>,
    /// Pods of the Deployment and of the Jobs.
    pub pods: Vec<Pod>,
    /// What the Deployment keeps to go back to.
    pub replica_sets: Vec<ReplicaSet>,
    /// The optional APIs that the cluster has.
    pub apis: BTreeSet<OptionalApi>,
    /// The objects around the pods.
    pub companions: Companions,
    /// What the channel came to, where there is one: found out after the reads.
    pub release: Option<ResolvedRelease>,
}

/// Reads what is in the cluster for `registry`. Reads at the same time, changes nothing, safe to drop midway.
///
/// # Errors
/// The first read that failed.
pub async fn observe(cluster: &Cluster, registry: &Registry) -> Result<Observed, Error> {
    let name = registry.metadata.name.as_deref().ok_or(Error::Incomplete("name"))?;
    let namespace = registry
        .metadata
        .namespace
        .as_deref()
        .ok_or(Error::Incomplete("namespace"))?;
    let labelled = labels::of_instance(name);
    let (admin_service, claim) = (names::admin_service(name), claim_name(registry, name));
    let (single, many, secrets, referred_config_maps, around) = futures::try_join!(
        futures::future::try_join5(
            cluster.get(namespace, name),
            cluster.get(namespace, name),
            cluster.get(namespace, &admin_service),
            cluster.get(namespace, &claim),
            cluster.get(namespace, name),
        ),
        futures::future::try_join4(
            cluster.list(namespace, &labelled),
            cluster.list(namespace, &labelled),
            cluster.list(namespace, &labelled),
            cluster.list(namespace, &labelled),
        ),
        read_secrets(cluster, registry, namespace, name),
        read_config_maps(cluster, registry, namespace),
        companions::read::read(cluster, namespace, name),
    )?;
    let (service_account, service, admin_service, claim, deployment) = single;
    let (config_maps, jobs, pods, replica_sets) = many;
    let (secrets, http_secret) = secrets;
    let (apis, companions) = around;
    Ok(Observed {
        secrets,
        referred_config_maps,
        http_secret,
        service_account,
        service,
        admin_service,
        claim,
        deployment,
        config_maps,
        jobs,
        pods,
        replica_sets,
        apis,
        companions,
        release: None,
    })
}

/// The user's claim, or the one that the operator makes.
fn claim_name(registry: &Registry, name: &str) -> String {
    registry
        .existing_claim()
        .map_or_else(|| names::claim(name), str::to_owned)
}

async fn read_secrets(
    cluster: &Cluster,
    registry: &Registry,
    namespace: &str,
    name: &str,
) -> Result<(Secrets, Option<ObjectMeta>), Error> {
    let http_secret = names::http_secret(name);
    let wanted = credentials::secret_names(registry, name);
    let found = try_join_all(wanted.iter().map(|secret| cluster.get::<Secret>(namespace, secret))).await?;

    let mut metadata = None;
    let mut secrets = Secrets::new();
    for (name, secret) in wanted.into_iter().zip(found) {
        let Some(secret) = secret else { continue };
        if name == http_secret {
            metadata = Some(secret.metadata.clone());
        }
        secrets.insert(name, values(secret));
    }
    Ok((secrets, metadata))
}

async fn read_config_maps(cluster: &Cluster, registry: &Registry, namespace: &str) -> Result<Secrets, Error> {
    let wanted = credentials::config_map_names(registry);
    let found = try_join_all(wanted.iter().map(|name| cluster.get::<ConfigMap>(namespace, name))).await?;
    let mut maps = Secrets::new();
    for (name, map) in wanted.into_iter().zip(found) {
        let Some(map) = map else { continue };
        let text = map
            .data
            .unwrap_or_default()
            .into_iter()
            .map(|(key, value)| (key, value.into_bytes()));
        let bytes = map
            .binary_data
            .unwrap_or_default()
            .into_iter()
            .map(|(key, value)| (key, value.0));
        maps.insert(name, text.chain(bytes).collect());
    }
    Ok(maps)
}

/// The values of a Secret by key.
pub(super) fn values(secret: Secret) -> std::collections::BTreeMap<String, Vec<u8>> {
    secret
        .data
        .unwrap_or_default()
        .into_iter()
        .map(|(key, value)| (key, value.0))
        .collect()
}
