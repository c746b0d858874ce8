//! How many pods a Registry has, and how many may be missing.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A `HorizontalPodAutoscaler` that sets the number of pods.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.minReplicas <= self.maxReplicas")
        .message("the fewest pods are more than the most: lower autoscaling.minReplicas or raise autoscaling.maxReplicas"),
    validation = Rule::new("has(self.cpu) || has(self.memory)")
        .message("nothing says when to add pods: set autoscaling.cpu or autoscaling.memory")
)]
pub struct Autoscaling {
    /// The fewest pods.
    #[serde(default = "Autoscaling::default_min")]
    #[schemars(range(min = 1, max = 100))]
    pub min_replicas: i32,

    /// The most pods.
    #[schemars(range(min = 1, max = 100))]
    pub max_replicas: i32,

    /// Average use of the processor that is aimed at, in percent of `resources.requests.cpu`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub cpu: Option<i32>,

    /// Average use of memory that is aimed at, in percent of `resources.requests.memory`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub memory: Option<i32>,

    /// How fast pods come and go. Absent: Kubernetes' own pace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behavior: Option<Behavior>,
}

impl Autoscaling {
    fn default_min() -> i32 {
        2
    }
}

/// How fast pods come and go.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Behavior {
    /// How fast pods come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_up: Option<Pace>,

    /// How fast pods go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_down: Option<Pace>,
}

/// How fast the number of pods changes in one direction.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pace {
    /// For how long a recommendation must hold before it is followed, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3600))]
    pub stabilization_window_seconds: Option<i32>,

    /// Which policy counts when there are several: `Max` (the fastest), `Min` (the slowest), or `Disabled` (no change
    /// in this direction).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub select_policy: Option<SelectPolicy>,

    /// What may change within a time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub policies: Vec<PacePolicy>,
}

/// Which policy counts when there are several: `Max` (the fastest), `Min` (the slowest), or `Disabled` (no change in this
/// direction).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SelectPolicy {
    /// The fastest.
    Max,
    /// The slowest.
    Min,
    /// No change in this direction.
    Disabled,
}

/// What may change within a time.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PacePolicy {
    /// What `value` counts: `Pods`, or `Percent` of the pods.
    #[serde(rename = "type")]
    pub type_: PaceUnit,

    /// How many may come or go.
    #[schemars(range(min = 1, max = 10000))]
    pub value: i32,

    /// Within how many seconds.
    #[schemars(range(min = 1, max = 1800))]
    pub period_seconds: i32,
}

/// What a policy counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PaceUnit {
    /// Pods.
    Pods,
    /// Percent of the pods.
    Percent,
}

/// How many pods a drained node may take away at once: exactly one of the two.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.minAvailable) != has(self.maxUnavailable)")
        .message("the budget is told in one way: set disruption.minAvailable or disruption.maxUnavailable, exactly one of them")
)]
pub struct Disruption {
    /// How many pods may be missing: a number, or a share such as `25%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::count_or_percent")]
    pub max_unavailable: Option<IntOrString>,

    /// How many pods must stay: a number, or a share such as `75%`. As many as there are pods keep every node from being
    /// drained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::count_or_percent")]
    pub min_available: Option<IntOrString>,
}

/// How pods are spread over parts of the cluster.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spread {
    /// Label of the nodes that says which part they are in, such as `topology.kubernetes.io/zone`.
    #[schemars(length(min = 1, max = 316))]
    pub topology_key: String,

    /// By how many pods the parts may differ.
    #[serde(default = "Spread::default_skew")]
    #[schemars(range(min = 1, max = 100))]
    pub max_skew: i32,

    /// What becomes of a pod that fits nowhere: `ScheduleAnyway`, or `DoNotSchedule` (it waits).
    #[serde(default)]
    pub when_unsatisfiable: Unsatisfiable,
}

impl Spread {
    fn default_skew() -> i32 {
        1
    }

    /// Over nodes, where that can be.
    pub fn over_nodes() -> Self {
        Self {
            topology_key: "kubernetes.io/hostname".to_owned(),
            max_skew: Self::default_skew(),
            when_unsatisfiable: Unsatisfiable::default(),
        }
    }
}

/// What becomes of a pod that fits nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Unsatisfiable {
    /// It runs where there is room.
    #[default]
    ScheduleAnyway,
    /// It waits.
    DoNotSchedule,
}

impl Unsatisfiable {
    /// The word that a pod takes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ScheduleAnyway => "ScheduleAnyway",
            Self::DoNotSchedule => "DoNotSchedule",
        }
    }
}
