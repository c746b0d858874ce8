//! From a spec and what is in the cluster to a Registry that cannot be wrong; pure.

mod contradictions;
mod names_taken;
pub mod volume;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Affinity, PersistentVolumeClaim};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;
use serde_json::Value;

use super::config;
use super::credentials::{self, Credential, Wholes};
use super::observe::Observed;
use super::own_image;
use super::quantity;
use crate::api::Registry;
use crate::api::collection::DeletionPolicy;
use crate::api::conditions::Reason;
use crate::api::database::{CertificateRef, Postgres};
use crate::api::exposure::{Certificate, Exposure};
use crate::api::image::{PullPolicy, SecretRef};
use crate::api::network::{Monitoring, NetworkSettings};
use crate::api::registry::Resources;
use crate::api::release::ResolvedRelease;
use crate::api::rollout::PreMigrations;
use crate::api::scaling::{Autoscaling, Disruption, Spread};
use crate::api::scheduling::{PodTemplate, ServiceAccountSettings, Toleration};
use crate::api::service::ServiceSettings;
use crate::api::storage::VolumeClaim;
use crate::labels::names;

/// What a spec that says nothing gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// Repository of the image.
    pub repository: String,
    /// Version of the operator, and of the registry that fits it.
    pub version: String,
}

/// A Registry that can be built.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidRegistry {
    /// Name of the Registry and of most of its objects.
    pub name: String,
    /// Namespace of all of its objects.
    pub namespace: String,
    /// UID of the Registry.
    pub uid: String,
    /// Reference that makes an object go when the Registry goes.
    pub owner: OwnerReference,
    /// What runs.
    pub image: ValidImage,
    /// Number of pods; with an autoscaler the fewest.
    pub replicas: i32,
    /// What sets the number of pods, where it is not fixed.
    pub autoscaling: Option<Autoscaling>,
    /// How many pods may be missing, where the spec says it.
    pub disruption: Option<Disruption>,
    /// How pods are spread, where the spec says it.
    pub spread: Option<Vec<Spread>>,
    /// The volume, where one is needed.
    pub volume: Option<Volume>,
    /// The PostgreSQL database, where it is not SQLite on the volume.
    pub postgres: Option<Postgres>,
    /// How clients reach the pods.
    pub service: ServiceSettings,
    /// How clients reach the Service from outside.
    pub exposure: Exposure,
    /// The certificate with which pods serve.
    pub tls: Option<Certificate>,
    /// Who may reach whom.
    pub network: Option<NetworkSettings>,
    /// What measures the pods.
    pub monitoring: Option<Monitoring>,
    /// Ports of the database and the object store.
    pub remote_ports: Vec<i32>,
    /// Whether pods prove to a cloud who they are, with no key of their own.
    pub has_cloud_identity: bool,
    /// Where pods run.
    pub placement: Placement,
    /// What is added to every pod.
    pub template: PodTemplate,
    /// The identity of the pods.
    pub service_account: ServiceAccountSettings,
    /// What pods refer to as a whole.
    pub wholes: Wholes,
    /// Whether the claimed volume goes when the Registry goes.
    pub deletes_volume: bool,
    /// Whether there is a key file of a cloud's account, and its Secret.
    pub storage_key: Option<String>,
    /// Processor and memory of a pod.
    pub resources: Resources,
    /// The whole configuration file.
    pub config: Value,
    /// How long a stopping pod lets requests finish.
    pub drain_timeout: Duration,
    /// The keys of Secrets that pods read, the generated one among them.
    pub credentials: Vec<Credential>,
    /// How the Job that migrates is bounded.
    pub migrations: PreMigrations,
}

impl ValidRegistry {
    /// The certificate authority of the database, where it is not a public one.
    pub fn database_ca(&self) -> Option<&CertificateRef> {
        self.postgres.as_ref()?.ca_ref.as_ref()
    }

    /// Whether there are, or can be, two pods that serve at the same time.
    pub fn can_have_several(&self) -> bool {
        match &self.autoscaling {
            Some(autoscaling) => autoscaling.max_replicas > 1,
            None => self.replicas > 1,
        }
    }

    /// Whether pods prove to a cloud who they are, with no key of their own.
    pub fn has_cloud_identity(&self) -> bool {
        self.has_cloud_identity
    }

    /// Every key and value of what pods have mounted or read as a whole.
    pub fn mounted(&self, observed: &Observed) -> Vec<Vec<u8>> {
        credentials::mounted(&self.wholes, &observed.secrets, &observed.referred_config_maps)
    }

    /// The `ServiceAccount` of the pods.
    pub fn service_account_name(&self) -> &str {
        self.service_account.name.as_deref().unwrap_or(&self.name)
    }
}

/// Where pods run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Placement {
    /// Labels that a node must have.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that do not matter.
    pub tolerations: Vec<Toleration>,
    /// What draws pods to nodes or keeps them from one another.
    pub affinity: Option<Affinity>,
    /// How important pods are.
    pub priority_class: Option<String>,
}

/// What runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidImage {
    /// Repository with a tag or a digest.
    pub reference: String,
    /// When nodes fetch it.
    pub pull_policy: PullPolicy,
    /// Names of Secrets that may pull it.
    pub pull_secrets: Vec<String>,
}

/// The volume of a Registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Volume {
    /// The operator claims it.
    Claimed {
        /// Name of the claim.
        name: String,
        /// Size to ask for.
        size: String,
        /// Storage class to ask for.
        storage_class: Option<String>,
    },
    /// The claim is there.
    Existing {
        /// Name of the claim.
        name: String,
    },
}

impl Volume {
    /// Name of the claim.
    pub fn claim_name(&self) -> &str {
        match self {
            Self::Claimed { name, .. } | Self::Existing { name } => name,
        }
    }
}

/// Why a Registry is not built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The kind of reason.
    pub reason: Reason,
    /// What is wrong and what to do, each in one sentence.
    pub problems: Vec<String>,
}

/// `registry` as something to build.
///
/// # Errors
/// Everything that is wrong at once: first with the spec, then with names, then with Secrets.
pub fn validate(registry: &Registry, observed: &Observed, defaults: &Defaults) -> Result<ValidRegistry, Refusal> {
    let metadata = &registry.metadata;
    let name = metadata.name.clone().unwrap_or_default();
    let uid = metadata.uid.clone().unwrap_or_default();
    let drain_timeout = drain_timeout(registry);
    refuse_any(
        Reason::InvalidSpec,
        contradictions::of(registry, drain_timeout.as_ref().err()),
    )?;
    refuse_any(Reason::NameTaken, names_taken::of(registry, &name, &uid, observed))?;
    volume::check(registry, &name, observed)?;
    let mut credentials = credentials::referenced(registry);
    refuse_any(
        Reason::SecretMissing,
        credentials::missing(&credentials, &observed.secrets),
    )?;
    refuse_any(Reason::SecretMissing, emptied_http_secret(&name, observed))?;
    refuse_any(
        Reason::ReferenceMissing,
        credentials::missing_wholes(registry, &observed.secrets, &observed.referred_config_maps),
    )?;
    credentials.push(credentials::http_secret(&name));

    let spec = &registry.spec;
    Ok(ValidRegistry {
        namespace: metadata.namespace.clone().unwrap_or_default(),
        owner: registry.controller_owner_ref(&()).unwrap_or_default(),
        image: image(registry, observed.release.as_ref(), defaults),
        replicas: replicas(registry),
        volume: held_volume(registry, &name, observed.claim.as_ref()),
        postgres: registry.postgres().cloned(),
        service: spec.service.clone().unwrap_or_default(),
        autoscaling: spec.autoscaling.clone(),
        disruption: spec.disruption.clone(),
        spread: spec.topology_spread.clone(),
        exposure: spec.exposure.clone().unwrap_or_default(),
        tls: spec.tls.clone(),
        network: spec.network_policy.clone(),
        monitoring: spec.monitoring.clone(),
        remote_ports: remote_ports(registry),
        has_cloud_identity: has_cloud_identity(registry),
        placement: Placement {
            node_selector: spec.node_selector.clone(),
            tolerations: spec.tolerations.clone(),
            affinity: affinity(registry),
            priority_class: spec.priority_class_name.clone(),
        },
        template: spec.pod_template.clone().unwrap_or_default(),
        service_account: spec.service_account.clone().unwrap_or_default(),
        wholes: credentials::wholes(registry),
        deletes_volume: spec.deletion_policy == Some(DeletionPolicy::Delete),
        storage_key: registry
            .gcs()
            .and_then(|gcs| Some(gcs.credentials_ref.as_ref()?.name.clone())),
        resources: spec.resources.clone().unwrap_or_default(),
        config: config::merged(registry),
        drain_timeout: drain_timeout.unwrap_or_default(),
        credentials,
        name,
        uid,
        migrations: pre_migrations(registry),
    })
}

fn refuse_any(reason: Reason, problems: Vec<String>) -> Result<(), Refusal> {
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Refusal { reason, problems })
    }
}

fn drain_timeout(registry: &Registry) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_hours(1);
    let text = config::drain_timeout(&registry.spec.config);
    match humantime::parse_duration(text) {
        Ok(timeout) if timeout <= LONGEST => Ok(timeout),
        Ok(_) | Err(_) => {
            Err("spec.config.http.drain_timeout must be a duration of at most 1h, such as 30s".to_owned())
        }
    }
}

fn is_shared(registry: &Registry) -> bool {
    registry.postgres().is_some() && registry.has_bucket()
}

fn pre_migrations(registry: &Registry) -> PreMigrations {
    let migrations = registry.spec.migrations.as_ref();
    migrations
        .and_then(|migrations| migrations.pre.clone())
        .unwrap_or_default()
}

fn replicas(registry: &Registry) -> i32 {
    let spec = &registry.spec;
    let fewest = spec.autoscaling.as_ref().map(|autoscaling| autoscaling.min_replicas);
    spec.replicas
        .or(fewest)
        .unwrap_or_else(|| if is_shared(registry) { 2 } else { 1 })
}

/// The ports that pods must reach on other machines.
fn remote_ports(registry: &Registry) -> Vec<i32> {
    let mut ports: Vec<i32> = registry.postgres().map(|postgres| postgres.port).into_iter().collect();
    let endpoint = registry
        .s3()
        .and_then(|s3| s3.endpoint.as_deref())
        .or_else(|| registry.azure()?.endpoint.as_deref())
        .or_else(|| registry.gcs()?.endpoint.as_deref());
    if registry.has_bucket() {
        ports.push(endpoint.map_or(443, url_port));
    }
    if has_cloud_identity(registry) {
        // Where tokens are exchanged.
        ports.push(443);
    }
    ports
}

fn has_cloud_identity(registry: &Registry) -> bool {
    let s3 = registry.s3().is_some_and(|s3| s3.credentials_ref.is_none());
    let azure = registry
        .azure()
        .is_some_and(|azure| azure.access_key_ref.is_none() && azure.sas_token_ref.is_none());
    let gcs = registry.gcs().is_some_and(|gcs| gcs.credentials_ref.is_none());
    s3 || azure || gcs
}

/// What [`contradictions`] has found to be one.
fn affinity(registry: &Registry) -> Option<Affinity> {
    serde_json::from_value(registry.spec.affinity.clone()?).ok()
}

/// The port of an `http` or `https` URL.
fn url_port(url: &str) -> i32 {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let authority = rest.split('/').next().unwrap_or_default();
    let told = authority.rsplit_once(':').and_then(|(host, port)| {
        if host.ends_with(']') || !host.contains(':') {
            port.parse().ok()
        } else {
            None
        }
    });
    told.unwrap_or(if scheme == "http" { 80 } else { 443 })
}

fn image(registry: &Registry, release: Option<&ResolvedRelease>, defaults: &Defaults) -> ValidImage {
    let image = registry.spec.image.clone().unwrap_or_default();
    let repository = image.repository.as_ref().unwrap_or(&defaults.repository);
    let version = registry.spec.version.as_ref().unwrap_or(&defaults.version);
    let reference = match (release, &image.digest, &image.tag) {
        (Some(release), _, _) => format!("{}@{}", release.repository, release.digest),
        (None, Some(digest), _) => format!("{repository}@{digest}"),
        (None, None, Some(tag)) => format!("{repository}:{tag}"),
        (None, None, None) => format!("{repository}:{version}"),
    };
    let of_channel = registry.channel().and_then(|channel| channel.pull_secret_ref.clone());
    let mut pull_secrets: Vec<String> = image
        .pull_secrets
        .into_iter()
        .chain(of_channel)
        .map(|SecretRef { name }| name)
        .collect();
    let mut seen = BTreeSet::new();
    pull_secrets.retain(|name| seen.insert(name.clone()));
    // A pod of a registry that holds its own image could otherwise not start again while no other serves.
    let is_own = own_image::is_served_by(registry, &reference);
    let pull_policy = if is_own && image.pull_policy == PullPolicy::Always {
        PullPolicy::IfNotPresent
    } else {
        image.pull_policy
    };
    ValidImage {
        reference,
        pull_policy,
        pull_secrets,
    }
}

/// A volume is needed for images that are not in S3, and for SQLite.
fn held_volume(registry: &Registry, name: &str, live: Option<&PersistentVolumeClaim>) -> Option<Volume> {
    if is_shared(registry) {
        return None;
    }
    let filesystem = registry
        .spec
        .storage
        .as_ref()
        .and_then(|storage| storage.filesystem.clone())
        .unwrap_or_default();
    if let Some(name) = filesystem.claim_name {
        return Some(Volume::Existing { name });
    }
    let wanted = filesystem.volume_claim.unwrap_or_default();
    Some(claimed(names::claim(name), wanted, live))
}

/// A claim that outlived an earlier Registry keeps its class, and its size where that is larger: neither can change.
fn claimed(name: String, wanted: VolumeClaim, live: Option<&PersistentVolumeClaim>) -> Volume {
    let Some(live) = live.and_then(|claim| claim.spec.as_ref()) else {
        return Volume::Claimed {
            name,
            size: wanted.size,
            storage_class: wanted.storage_class_name,
        };
    };
    let live_size = live
        .resources
        .as_ref()
        .and_then(|resources| resources.requests.as_ref()?.get("storage"));
    let size = match live_size {
        Some(live_size) if quantity::bytes(&live_size.0) > quantity::bytes(&wanted.size) => live_size.0.clone(),
        Some(_) | None => wanted.size,
    };
    let storage_class = wanted.storage_class_name.and_then(|_| live.storage_class_name.clone());
    Volume::Claimed {
        name,
        size,
        storage_class,
    }
}

fn emptied_http_secret(name: &str, observed: &Observed) -> Vec<String> {
    let secret = names::http_secret(name);
    let emptied = observed
        .secrets
        .get(&secret)
        .is_some_and(|values| values.get(credentials::HTTP_SECRET_KEY).is_none_or(Vec::is_empty));
    let problem = || {
        format!(
            "Secret {secret} has no value under the key {}: delete the Secret, and the operator makes a new one",
            credentials::HTTP_SECRET_KEY
        )
    };
    emptied.then(problem).into_iter().collect()
}

#[cfg(test)]
mod tests;
