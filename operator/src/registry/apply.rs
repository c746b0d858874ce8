//! Every write of a pass but the status: the objects, in the order in which they need one another.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim};
use kube::ResourceExt;

use super::build::{self, Objects};
use super::companions::{self, lacks::Lacks};
use super::credentials::{self, HTTP_SECRET_KEY};
use super::migration::{JobState, state};
use super::observe::{self, Observed};
use super::prune::{self, Superseded, Unneeded};
use super::rollout::Rollout;
use super::status::Stage;
use super::trouble::{self, Scrubber};
use super::validate::{Refusal, ValidRegistry};
use crate::api::conditions::Reason;
use crate::cluster::{Cluster, Written};
use crate::error::Error;
use crate::labels::names;
use crate::ownership;

/// The digest of the Secrets that pods read; makes the generated one first if it is not there.
///
/// # Errors
/// When the Secret cannot be made.
pub async fn ensure_secrets(
    cluster: &Cluster,
    registry: &ValidRegistry,
    observed: &mut Observed,
) -> Result<String, Error> {
    let name = credentials::http_secret(&registry.name).secret;
    if !observed.secrets.contains_key(&name) {
        let wanted = build::http_secret(registry, hex::encode(rand::random::<[u8; 32]>()));
        let secret = cluster.create_secret_once(&registry.namespace, &wanted).await?;
        observed.secrets.insert(name.clone(), observe::values(secret));
    }
    let http_secret = observed
        .secrets
        .get(&name)
        .and_then(|values| values.get(HTTP_SECRET_KEY));
    let http_secret = http_secret.cloned().unwrap_or_default();
    Ok(credentials::digest(
        &http_secret,
        &registry.credentials,
        &observed.secrets,
        &registry.mounted(observed),
    ))
}

/// Brings the cluster to `objects` as far as it goes now, and says how far that is.
///
/// The Deployment is not touched before the migration of the wanted version has succeeded: until then the pods that
/// run go on serving. `migrated_by` is the Job that the Deployment was rolled out after. Repeating the call is safe, and writes nothing when nothing changed. Dropping it midway leaves a
/// state from which the next call goes on.
///
/// # Errors
/// The first write that failed.
pub async fn apply(
    cluster: &Cluster,
    registry: &ValidRegistry,
    objects: &Objects,
    observed: &Observed,
    migrated_by: Option<&str>,
) -> Result<Stage, Error> {
    apply_groundwork(cluster, objects, observed).await?;
    companions::write::settle(cluster, registry, &objects.companions, observed).await?;
    if let Some(waiting) = certificate_wait(registry, objects, observed) {
        return Ok(waiting);
    }
    let scrubber = Scrubber {
        credentials: &registry.credentials,
        secrets: &observed.secrets,
    };
    if let Some(job) = &objects.migration
        && let Some(unfinished) = migrate(cluster, job, observed, migrated_by, scrubber).await?
    {
        return Ok(unfinished);
    }
    if let Some(live) = gives_up_replicas(registry, observed)
        && cluster.keep_replicas(live).await? == Written::Stale
    {
        return Ok(Stage::Waiting {
            reason: Reason::RollingOut,
            message: "the Deployment changes; the autoscaler takes over after that".to_owned(),
        });
    }
    let deployment: Deployment = cluster.apply(&objects.deployment, observed.deployment.as_ref()).await?;
    companions::write::settle_autoscaler(cluster, registry, &objects.companions, observed).await?;
    if Rollout::of(&deployment).is_complete() {
        remove(
            cluster,
            &registry.namespace,
            &prune::superseded(&registry.uid, objects, observed),
        )
        .await?;
    }
    let trouble = trouble::of_serving_pods(&deployment, &observed.pods, scrubber);
    Ok(Stage::Deployed {
        deployment: Box::new(deployment),
        trouble,
    })
}

/// The Deployment that still has the number of pods that the operator applied, though an autoscaler is to set it.
pub fn gives_up_replicas<'o>(registry: &ValidRegistry, observed: &'o Observed) -> Option<&'o Deployment> {
    let live = observed.deployment.as_ref()?;
    let gives_up = registry.autoscaling.is_some() && ownership::sets(&live.metadata, &["spec", "replicas"]);
    gives_up.then_some(live)
}

/// Pods cannot start before the Secret is there that cert-manager fills.
fn certificate_wait(registry: &ValidRegistry, objects: &Objects, observed: &Observed) -> Option<Stage> {
    objects.companions.certificate.as_ref()?;
    let secret = names::certificate(&registry.name);
    if observed.secrets.contains_key(&secret) {
        return None;
    }
    let lacks = Lacks::of(&objects.companions, observed);
    if let Some(missing) = lacks.missing_apis(true) {
        return Some(Stage::Refused(Refusal {
            reason: Reason::DependencyUnavailable,
            problems: vec![missing],
        }));
    }
    let told = lacks.pending_certificates.first().cloned();
    let told = told.unwrap_or_else(|| "cert-manager has not said anything about it yet".to_owned());
    Some(Stage::Waiting {
        reason: Reason::CertificatePending,
        message: format!("pods start once the Secret {secret} has a certificate. {told}"),
    })
}

/// Everything that pods need before they can be made.
///
/// # Errors
/// The first write that failed.
pub async fn apply_groundwork(cluster: &Cluster, objects: &Objects, observed: &Observed) -> Result<(), Error> {
    if let Some(service_account) = &objects.service_account {
        cluster
            .apply(service_account, observed.service_account.as_ref())
            .await?;
    }
    let wanted = objects.config_map.name_any();
    let config_map = observed.config_maps.iter().find(|found| found.name_any() == wanted);
    cluster.apply::<ConfigMap>(&objects.config_map, config_map).await?;
    if let Some(claim) = &objects.claim {
        cluster
            .apply::<PersistentVolumeClaim>(claim, observed.claim.as_ref())
            .await?;
    }
    cluster.apply(&objects.service, observed.service.as_ref()).await?;
    cluster
        .apply(&objects.admin_service, observed.admin_service.as_ref())
        .await?;
    Ok(())
}

/// What the migration still needs; `None` when it is done.
///
/// A Job is made once and never changed: its name already says all that its content depends on. One that has done its
/// work may be removed by anybody.
async fn migrate(
    cluster: &Cluster,
    job: &Job,
    observed: &Observed,
    migrated_by: Option<&str>,
    scrubber: Scrubber<'_>,
) -> Result<Option<Stage>, Error> {
    let name = job.name_any();
    if migrated_by == Some(name.as_str()) {
        return Ok(None);
    }
    let Some(live) = observed.jobs.iter().find(|found| found.name_any() == name) else {
        cluster.apply(job, None).await?;
        return Ok(Some(Stage::Migrating {
            job: name,
            trouble: None,
        }));
    };
    Ok(match state(live) {
        JobState::Succeeded => None,
        JobState::Running => {
            let trouble = trouble::of_job_pods(&name, &observed.pods, scrubber);
            Some(Stage::Migrating { job: name, trouble })
        }
        JobState::Failed { message } => {
            let cause = trouble::last_words_of_job(&name, &observed.pods, scrubber).unwrap_or(message);
            Some(Stage::MigrationFailed { job: name, cause })
        }
    })
}

async fn remove(cluster: &Cluster, namespace: &str, superseded: &Superseded) -> Result<(), Error> {
    for Unneeded { name, uid } in &superseded.config_maps {
        cluster.delete::<ConfigMap>(namespace, name, uid).await?;
    }
    for Unneeded { name, uid } in &superseded.jobs {
        cluster.delete::<Job>(namespace, name, uid).await?;
    }
    Ok(())
}
