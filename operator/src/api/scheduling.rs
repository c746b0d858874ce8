//! Where the pods of a Registry run, as whom, and what is added to them.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::image::SecretRef;

/// Lets pods run on nodes that turn others away.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.operator != 'Exists' || !has(self.value)")
        .message("operator Exists takes any value: remove value, or set operator to Equal"),
    validation = Rule::new("self.operator == 'Exists' || has(self.key)")
        .message("operator Equal compares the value of a key: set key, or set operator to Exists"),
    validation = Rule::new("!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')")
        .message("tolerationSeconds only counts with the effect NoExecute: set effect to NoExecute, or remove tolerationSeconds")
)]
pub struct Toleration {
    /// Key of the taint. Absent: every key, with operator `Exists`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 316))]
    pub key: Option<String>,

    /// `Equal` (the taint has this value) or `Exists` (whatever its value).
    #[serde(default)]
    pub operator: TolerationOperator,

    /// Value of the taint, with operator `Equal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub value: Option<String>,

    /// Effect of the taint. Absent: every effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,

    /// How long a pod stays after the taint came, in seconds, with effect `NoExecute`. Absent: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 31_536_000))]
    pub toleration_seconds: Option<i64>,
}

/// How a toleration compares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TolerationOperator {
    /// The taint has this value.
    #[default]
    Equal,
    /// Whatever its value.
    Exists,
}

/// Effect of the taint: `NoSchedule`, `PreferNoSchedule` or `NoExecute`. Absent: every effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TaintEffect {
    /// Pods do not come.
    NoSchedule,
    /// Pods come when there is no other node.
    PreferNoSchedule,
    /// Pods do not come, and those that are there go.
    NoExecute,
}

/// What is added to every pod: a narrow list, so that a Registry cannot make a pod more powerful.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodTemplate {
    /// Labels of the pods, beside the operator's own, for example `azure.workload.identity/use: "true"`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::schema::labels")]
    pub labels: BTreeMap<String, String>,

    /// Annotations of the pods, beside the operator's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::schema::annotations")]
    pub annotations: BTreeMap<String, String>,

    /// Further variables of the container, such as `HTTPS_PROXY`. Not `BERTH_…`: those are settings of the registry, and
    /// belong to the other fields of this spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub extra_env: Vec<ExtraVariable>,

    /// Secrets and config maps that are mounted into the container to be read. Pods are replaced when their content
    /// changes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub extra_volumes: Vec<ExtraVolume>,
}

/// A variable: exactly one of `value`, `secretKeyRef` and `configMapKeyRef`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.value), has(self.secretKeyRef), has(self.configMapKeyRef)].filter(given, given).size() == 1")
        .message("a variable has one value: set value, secretKeyRef or configMapKeyRef, exactly one of them"),
    validation = Rule::new("!self.name.startsWith('BERTH_')")
        .message("variables that begin with BERTH_ are settings of the registry, which the operator sets: use the fields of the spec, or spec.config")
)]
pub struct ExtraVariable {
    /// Name of the variable.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]*$"))]
    pub name: String,

    /// The value itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub value: Option<String>,

    /// A key of a Secret in the namespace of the Registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<KeyRef>,

    /// A key of a `ConfigMap` in the namespace of the Registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<KeyRef>,
}

/// A key of a Secret or a `ConfigMap` in the namespace of the Registry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyRef {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Key in it.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// A Secret or a `ConfigMap` that is mounted to be read: exactly one of the two.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.secretRef) != has(self.configMapRef)")
        .message("a volume has one source: set secretRef or configMapRef, exactly one of them"),
    validation = Rule::new("!['/etc/berth', '/etc/berth-database-ca', '/etc/berth-tls', '/etc/berth-storage', '/var/lib/berth', '/tmp'].exists(own, self.mountPath == own || self.mountPath.startsWith(own + '/') || own.startsWith(self.mountPath + '/'))")
        .message("that place is the operator's own: mount it elsewhere, such as /etc/extra/<name>")
)]
pub struct ExtraVolume {
    /// Name of the volume, for the list.
    #[schemars(length(min = 1, max = 50), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,

    /// Folder in the container.
    #[schemars(length(min = 2, max = 256), regex(pattern = r"^(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$"))]
    pub mount_path: String,

    /// Secret in the namespace of the Registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,

    /// `ConfigMap` in the namespace of the Registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<ConfigMapRef>,
}

/// A `ConfigMap` in the namespace of the Registry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapRef {
    /// Name of the `ConfigMap`, in the namespace of the Registry.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// The identity of the pods. They have no right in the cluster; a cloud may know them by it.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.create || has(self.name)")
        .message("a service account that is there already has a name: set serviceAccount.name, or set serviceAccount.create to true"),
    validation = Rule::new("self.create || !has(self.annotations)")
        .message("the operator only annotates a service account that it makes: annotate yours yourself, or set serviceAccount.create to true"),
    validation = Rule::new("!self.create || !has(self.name)")
        .message("a service account that the operator makes has the name of the Registry: remove serviceAccount.name, or set serviceAccount.create to false")
)]
pub struct ServiceAccountSettings {
    /// Whether the operator makes the service account, with the name of the Registry.
    #[serde(default = "ServiceAccountSettings::creates")]
    pub create: bool,

    /// Name of a service account that is there already, in the namespace of the Registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,

    /// Annotations by which a cloud gives the account a role, such as `eks.amazonaws.com/role-arn`,
    /// `azure.workload.identity/client-id` or `iam.gke.io/gcp-service-account`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::schema::annotations")]
    pub annotations: BTreeMap<String, String>,
}

impl ServiceAccountSettings {
    fn creates() -> bool {
        true
    }
}

impl Default for ServiceAccountSettings {
    fn default() -> Self {
        Self {
            create: Self::creates(),
            name: None,
            annotations: BTreeMap::new(),
        }
    }
}
