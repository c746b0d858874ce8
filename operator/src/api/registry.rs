//! The `Registry` kind: what to run.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::collection::{Auth, Collection, Deletion, DeletionPolicy};
use super::database::Database;
use super::exposure::{Certificate, Exposure};
use super::image::Image;
use super::network::{Monitoring, NetworkSettings};
use super::notifications::NotificationSink;
use super::release::Release;
use super::rollout::{MigrationSettings, Requirement, RolloutSettings};
use super::scaling::{Autoscaling, Disruption, Spread};
use super::scheduling::{PodTemplate, ServiceAccountSettings, Toleration};
use super::service::ServiceSettings;
use super::status::RegistryStatus;
use super::storage::Storage;

/// What the registry is to be: which version, where images and rows are kept, how clients reach it.
///
/// An empty spec works: one replica that keeps everything on a 10Gi volume.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "berth.dev",
    version = "v1alpha1",
    kind = "Registry",
    plural = "registries",
    shortname = "reg",
    namespaced,
    status = "RegistryStatus",
    derive = "PartialEq",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    doc = "Registry is a container registry that any OCI client can push to and pull from.",
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version.main",
        description = "The version that serves."),
    printcolumn(name = "Target", type_ = "string", json_path = ".status.rollout.to.version",
        description = "The version that the newest roll-out is for."),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase",
        description = "The phase of the roll-out under way, else how the registry is."),
    printcolumn(name = "Weight", type_ = "integer", json_path = ".status.rollout.weight.actual",
        description = "The canary's share of the requests, in percent."),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether the registry is as the spec says, and serves."),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        description = "Why it is ready, or why not."),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.readyReplicas",
        description = "Pods that serve."),
    printcolumn(name = "Blocked", type_ = "string",
        json_path = r#".status.conditions[?(@.type=="RolloutBlocked")].status"#, priority = 1,
        description = "Whether something keeps the newest roll-out from going on."),
    printcolumn(name = "Rollout", type_ = "string", json_path = ".status.rollout.id", priority = 1,
        description = "The newest roll-out, as commands name it."),
    printcolumn(name = "Storage", type_ = "string", json_path = ".spec.storage.s3.bucket", priority = 1,
        description = "The bucket that holds the images; empty for a volume."),
    printcolumn(name = "Database", type_ = "string", json_path = ".spec.database.postgres.host", priority = 1,
        description = "The PostgreSQL server; empty for SQLite on the volume."),
    printcolumn(name = "Schema", type_ = "string", json_path = ".status.schema.applied", priority = 1,
        description = "The newest applied migration of the database."),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.endpoints.url", priority = 1,
        description = "Where clients reach the registry."),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("size(self.metadata.name) <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("the name becomes part of Service and Job names: at most 40 lower-case letters, digits and '-', beginning with a letter"),
    validation = Rule::new("!has(self.spec.confirmDelete) || self.spec.confirmDelete == self.metadata.name")
        .message("confirmDelete must be the name of this Registry, whose images are to be deleted with it")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.version) && has(self.image) && (has(self.image.tag) || has(self.image.digest)))")
        .message("version and image.tag or image.digest say the same thing twice: remove version, or remove the tag and digest"),
    validation = Rule::new("!(has(self.version) && has(self.release))")
        .message("the version is either named or follows from tags: remove version, or remove release.channel"),
    validation = Rule::new("!(has(self.release) && has(self.image) && (has(self.image.repository) || has(self.image.tag) || has(self.image.digest)))")
        .message("with release.channel the channel says which image runs: remove image.repository, image.tag and image.digest, or remove release.channel"),
    validation = Rule::new("!has(self.replicas) || self.replicas <= 1 || (has(self.database) && has(self.database.postgres) && has(self.storage) && (has(self.storage.s3) || has(self.storage.azure) || has(self.storage.gcs)))")
        .message("more than one replica needs a database and a storage that replicas can share: set database.postgres and a bucket (storage.s3, storage.azure or storage.gcs), or set replicas to 1"),
    validation = Rule::new("!(has(self.replicas) && has(self.autoscaling))")
        .message("the number of pods is either fixed or set by the autoscaler: remove replicas or autoscaling"),
    validation = Rule::new("!has(self.autoscaling) || (has(self.database) && has(self.database.postgres) && has(self.storage) && (has(self.storage.s3) || has(self.storage.azure) || has(self.storage.gcs)))")
        .message("autoscaling needs a database and a storage that replicas can share: set database.postgres and a bucket (storage.s3, storage.azure or storage.gcs), or remove autoscaling"),
    validation = Rule::new("!has(self.autoscaling) || !has(self.autoscaling.cpu) || (has(self.resources) && has(self.resources.requests) && 'cpu' in self.resources.requests)")
        .message("autoscaling.cpu is a share of what a pod requests: set resources.requests.cpu, or remove autoscaling.cpu"),
    validation = Rule::new("!has(self.autoscaling) || !has(self.autoscaling.memory) || (has(self.resources) && has(self.resources.requests) && 'memory' in self.resources.requests)")
        .message("autoscaling.memory is a share of what a pod requests: set resources.requests.memory, or remove autoscaling.memory"),
    validation = Rule::new("(!has(self.storage) ? 'volume' : has(self.storage.s3) ? 's3' : has(self.storage.azure) ? 'azure' : has(self.storage.gcs) ? 'gcs' : 'volume') == (!has(oldSelf.storage) ? 'volume' : has(oldSelf.storage.s3) ? 's3' : has(oldSelf.storage.azure) ? 'azure' : has(oldSelf.storage.gcs) ? 'gcs' : 'volume')")
        .message("storage cannot move between a volume and a bucket, or between kinds of buckets: create another Registry with the new storage and copy the images to it"),
    validation = Rule::new("!has(self.database) || !has(self.database.postgres) || !has(oldSelf.database) || !has(oldSelf.database.postgres) || (self.database.postgres.host == oldSelf.database.postgres.host && self.database.postgres.name == oldSelf.database.postgres.name) || (has(self.version) ? self.version : '') == (has(oldSelf.version) ? oldSelf.version : '')")
        .message("a new version and a new place of the database at once leave nobody knowing which of the two failed: change database.postgres first, and version after that"),
    validation = Rule::new("!has(self.deletionPolicy) || self.deletionPolicy != 'Delete' || !(has(self.database) && has(self.database.postgres) && has(self.storage) && (has(self.storage.s3) || has(self.storage.azure) || has(self.storage.gcs)))")
        .message("deletionPolicy Delete is about the volume that the operator claims, and there is none: remove deletionPolicy; a bucket and a database are never deleted"),
    validation = Rule::new("!has(self.deletionPolicy) || self.deletionPolicy != 'Delete' || !has(self.storage) || !has(self.storage.filesystem) || !has(self.storage.filesystem.claimName)")
        .message("deletionPolicy Delete is about the volume that the operator claims, not about yours: remove deletionPolicy, or storage.filesystem.claimName"),
    validation = Rule::new("has(self.confirmDelete) == (has(self.deletionPolicy) && self.deletionPolicy == 'Delete')")
        .message("deletionPolicy Delete and confirmDelete go together: set both, or remove both"),
    validation = Rule::new("(has(self.database) && has(self.database.postgres)) == (has(oldSelf.database) && has(oldSelf.database.postgres))")
        .message("database cannot move between SQLite and PostgreSQL, because the rows would stay behind: create another Registry with the new database and copy the images to it"),
    validation = Rule::new("(has(self.storage) && has(self.storage.filesystem) && has(self.storage.filesystem.claimName) ? self.storage.filesystem.claimName : '') == (has(oldSelf.storage) && has(oldSelf.storage.filesystem) && has(oldSelf.storage.filesystem.claimName) ? oldSelf.storage.filesystem.claimName : '')")
        .message("storage.filesystem.claimName cannot change, because the images are on that volume: create another Registry with the new claim and copy the images to it")
)]
pub struct RegistrySpec {
    /// Version of the registry to run, for example `1.2.0`. Absent: the version of the operator itself. A change
    /// migrates the database first and replaces the pods after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 64),
        regex(pattern = r"^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$")
    )]
    pub version: Option<String>,

    /// Where versions come from, when `version` does not name one. A tag that is pushed and fits is rolled out by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,

    /// Image to run, where it is not the operator's default repository with `version` as its tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,

    /// Number of pods. Absent: 1, or 2 with `database.postgres` and a bucket. More than 1 needs both.
    /// Not together with `autoscaling`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub replicas: Option<i32>,

    /// Let the number of pods follow their load. Needs what more than one replica needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,

    /// How many pods a drained node may take away at once. Absent: one, when there are two or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disruption: Option<Disruption>,

    /// How pods are spread over parts of the cluster. Absent: over nodes, where that can be. Empty: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["topologyKey".into()]))]
    pub topology_spread: Option<Vec<Spread>>,

    /// Where the images' bytes are kept. Absent: on a volume of 10Gi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,

    /// Where the rows are kept: which repositories, tags and manifests there are. Absent: SQLite on the volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Database>,

    /// How clients reach the registry. Absent: port 5000 inside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceSettings>,

    /// Ways in from outside the cluster. Absent: none but the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposure: Option<Exposure>,

    /// Certificate with which the pods themselves serve clients. Absent: they speak plain HTTP, and TLS is for what
    /// stands before them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Certificate>,

    /// Who may reach the pods, and whom they may reach. Absent: no policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<NetworkSettings>,

    /// Have the Prometheus operator measure the pods. Absent: not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitoring: Option<Monitoring>,

    /// How garbage is collected. Absent: as `docs/garbage-collection.md` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gc: Option<Collection>,

    /// What clients may delete, and how long it can be brought back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion: Option<Deletion>,

    /// Who may use the registry. Absent: whoever reaches it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,

    /// Labels that a node must have for pods to run on it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::schema::labels")]
    pub node_selector: BTreeMap<String, String>,

    /// Lets pods run on nodes that turn others away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub tolerations: Vec<Toleration>,

    /// Which nodes and neighbours pods are drawn to or kept from, as `affinity` of a pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::foreign")]
    pub affinity: Option<serde_json::Value>,

    /// Name of the `PriorityClass` of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,

    /// What is added to every pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<PodTemplate>,

    /// The identity of the pods. Absent: a service account without rights, with the name of the Registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<ServiceAccountSettings>,

    /// What becomes of the volume that the operator claimed when the Registry is deleted: `Retain`, or `Delete` together
    /// with `confirmDelete`. A bucket, a database and a claim of yours always stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,

    /// The name of the Registry, with `deletionPolicy: Delete`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    pub confirm_delete: Option<String>,

    /// Processor and memory of each pod's container. Absent: no requests and no limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,

    /// `true`: the operator changes nothing, whatever this spec says, until it is `false` again. Pods go on serving.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,

    /// Further keys of the registry's configuration file, as that file spells them, for example
    /// `uploads: {expiry: 12h}`. Keys that belong to a field of this spec are refused with the name of that field.
    /// A change replaces the pods.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    #[schemars(schema_with = "super::schema::free_form")]
    pub config: serde_json::Map<String, serde_json::Value>,

    /// How a new version, image or configuration reaches the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutSettings>,

    /// How the database follows the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migrations: Option<MigrationSettings>,

    /// Who needs at least which version of this registry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["consumer".into()]))]
    pub requirements: Vec<Requirement>,

    /// Who is told about roll-outs. A place that does not answer is tried again for a while, and holds nothing up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub notifications: Vec<NotificationSink>,
}

/// Processor and memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What the scheduler reserves, by resource name: `cpu`, `memory`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::schema::quantities")]
    pub requests: BTreeMap<String, Quantity>,

    /// What the container may use at most, by resource name: `cpu`, `memory`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::schema::quantities")]
    pub limits: BTreeMap<String, Quantity>,
}

impl Registry {
    /// The bucket and what belongs to it, when images are kept in S3.
    pub fn s3(&self) -> Option<&super::storage::S3Storage> {
        self.spec.storage.as_ref()?.s3.as_ref()
    }

    /// The container and what belongs to it, when images are kept in Azure.
    pub fn azure(&self) -> Option<&super::storage::AzureStorage> {
        self.spec.storage.as_ref()?.azure.as_ref()
    }

    /// The bucket and what belongs to it, when images are kept in Google's cloud.
    pub fn gcs(&self) -> Option<&super::storage::GcsStorage> {
        self.spec.storage.as_ref()?.gcs.as_ref()
    }

    /// Name of the user's own claim, when images are kept on that.
    pub fn existing_claim(&self) -> Option<&str> {
        self.spec.storage.as_ref()?.filesystem.as_ref()?.claim_name.as_deref()
    }

    /// Whether images are kept in a bucket, of whatever kind.
    pub fn has_bucket(&self) -> bool {
        self.s3().is_some() || self.azure().is_some() || self.gcs().is_some()
    }

    /// The repository whose tags say which version runs.
    pub fn channel(&self) -> Option<&super::release::Channel> {
        self.spec.release.as_ref().map(|release| &release.channel)
    }

    /// The server and what belongs to it, when rows are kept in PostgreSQL.
    pub fn postgres(&self) -> Option<&super::database::Postgres> {
        self.spec.database.as_ref()?.postgres.as_ref()
    }
}
