//! From a valid Registry to the objects that make it; pure, and cannot fail.
//!
//! The same Registry always gives the same objects, so an operator that restarts changes nothing. A new release of it
//! changes what it builds in another way, and a pod template that is another one replaces the pods.

mod additions;
mod config_map;
mod deployment;
pub mod exposure;
mod migration_job;
mod monitoring;
mod network;
mod pod;
mod scaling;
mod service;

use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    ConfigMap, PersistentVolumeClaim, PersistentVolumeClaimSpec, Secret, Service, ServiceAccount,
    VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::companions::Companions;
use super::credentials::HTTP_SECRET_KEY;
use super::validate::{ValidRegistry, Volume};
use crate::foreign::HTTPRoute;
use crate::labels::{self, Component, names};
use exposure::Backend;

/// Annotation of the pods with the digest of the Secrets that they have read.
pub const SECRETS_DIGEST: &str = "berth.dev/secrets-digest";

/// Annotation of the Deployment with the name of the migration Job that came before it.
pub const MIGRATED_BY: &str = "berth.dev/migrated-by";

/// Everything that a Registry is made of, but for the generated Secret.
#[derive(Clone, Debug, PartialEq)]
pub struct Objects {
    /// The pods' identity, without rights, where it is not somebody else's.
    pub service_account: Option<ServiceAccount>,
    /// The configuration file.
    pub config_map: ConfigMap,
    /// The volume, where the operator claims it.
    pub claim: Option<PersistentVolumeClaim>,
    /// The Service for clients.
    pub service: Service,
    /// The Service of the management API.
    pub admin_service: Service,
    /// The migration that must have succeeded before the Deployment changes.
    pub migration: Option<Job>,
    /// The pods.
    pub deployment: Deployment,
    /// What is around the pods.
    pub companions: Companions,
}

/// The objects of `registry`, whose pods have read Secrets with that digest.
///
/// With PostgreSQL the database is migrated by a Job, once, before any pod of the new version starts. With SQLite the
/// file is on a volume that one pod holds, so that pod migrates it, in an init container.
pub fn build(registry: &ValidRegistry, secrets_digest: &str) -> Objects {
    let config_map = config_map::build(registry);
    let config_name = config_map.metadata.name.clone().unwrap_or_default();
    let migration = migration_job::build(registry, &config_name);
    let mut deployment = deployment::build(registry, &config_name, secrets_digest);
    if let Some(job) = migration.as_ref().and_then(|job| job.metadata.name.clone()) {
        deployment.metadata.annotations = Some([(MIGRATED_BY.to_owned(), job)].into());
    }
    Objects {
        service_account: service_account(registry),
        claim: registry.volume.as_ref().and_then(|volume| claim(registry, volume)),
        service: service::clients(registry),
        admin_service: service::admin(registry),
        migration,
        deployment,
        config_map,
        companions: companions(registry),
    }
}

/// The way in through a Gateway, if there is one, with the canary's share in a hundred; without one all pods that serve are
/// alike to it.
pub fn route(registry: &ValidRegistry, canary: Option<i32>) -> Option<HTTPRoute> {
    let backends = canary.map_or_else(|| Backend::whole(registry), |canary| Backend::split(registry, canary));
    exposure::route(registry, &backends)
}

/// The objects around the pods of `registry`. What comes through a Gateway goes to all pods that serve.
fn companions(registry: &ValidRegistry) -> Companions {
    Companions {
        ingress: exposure::ingress(registry),
        route: route(registry, None),
        certificate: exposure::certificate(registry),
        ingress_certificate: exposure::ingress_certificate(registry),
        network_policy: network::policy(registry),
        budget: scaling::budget(registry),
        autoscaler: scaling::autoscaler(registry),
        pod_monitor: monitoring::pod_monitor(registry),
        service_monitor: monitoring::service_monitor(registry),
    }
}

/// The Secret that is made once, with `secret` in it.
///
/// Upload sessions are signed with it, so all pods of all versions must share it: it is never rotated by itself.
pub fn http_secret(registry: &ValidRegistry, secret: String) -> Secret {
    Secret {
        metadata: metadata(registry, names::http_secret(&registry.name), Component::Registry),
        data: Some([(HTTP_SECRET_KEY.to_owned(), ByteString(secret.into_bytes()))].into()),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    }
}

/// Metadata of an object that goes when the Registry goes.
fn metadata(registry: &ValidRegistry, name: String, component: Component) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(registry.namespace.clone()),
        labels: Some(labels::labels(&registry.name, component)),
        owner_references: Some(vec![registry.owner.clone()]),
        ..ObjectMeta::default()
    }
}

fn service_account(registry: &ValidRegistry) -> Option<ServiceAccount> {
    let settings = &registry.service_account;
    settings.create.then(|| ServiceAccount {
        metadata: ObjectMeta {
            annotations: (!settings.annotations.is_empty()).then(|| settings.annotations.clone()),
            ..metadata(registry, registry.name.clone(), Component::Registry)
        },
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    })
}

/// The claim has no owner unless the spec says so: the images outlive the Registry, and a Registry of the same name takes
/// them up again.
fn claim(registry: &ValidRegistry, volume: &Volume) -> Option<PersistentVolumeClaim> {
    let Volume::Claimed {
        name,
        size,
        storage_class,
    } = volume
    else {
        return None;
    };
    Some(PersistentVolumeClaim {
        metadata: ObjectMeta {
            owner_references: registry.deletes_volume.then(|| vec![registry.owner.clone()]),
            ..metadata(registry, name.clone(), Component::Registry)
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: storage_class.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), Quantity(size.clone()))].into()),
                ..VolumeResourceRequirements::default()
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    })
}

#[cfg(test)]
mod tests;
