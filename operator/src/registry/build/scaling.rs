//! The autoscaler, and the budget of pods that may be missing.

use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscaler,
    HorizontalPodAutoscalerBehavior, HorizontalPodAutoscalerSpec, MetricSpec, MetricTarget, ResourceMetricSource,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::super::validate::ValidRegistry;
use super::metadata;
use crate::api::scaling::{Behavior, Pace, PacePolicy, PaceUnit, SelectPolicy};
use crate::labels::{self, Component};

/// The autoscaler speaks about the Deployment, not about the Registry: so the Registry's generation stays.
pub(super) fn autoscaler(registry: &ValidRegistry) -> Option<HorizontalPodAutoscaler> {
    let settings = registry.autoscaling.as_ref()?;
    let metrics = [("cpu", settings.cpu), ("memory", settings.memory)];
    let metrics = metrics
        .into_iter()
        .filter_map(|(name, percent)| Some(metric(name, percent?)));
    Some(HorizontalPodAutoscaler {
        metadata: metadata(registry, registry.name.clone(), Component::Registry),
        spec: Some(HorizontalPodAutoscalerSpec {
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some("apps/v1".to_owned()),
                kind: "Deployment".to_owned(),
                name: registry.name.clone(),
            },
            min_replicas: Some(settings.min_replicas),
            max_replicas: settings.max_replicas,
            metrics: Some(metrics.collect()),
            behavior: settings.behavior.as_ref().map(behavior),
        }),
        ..HorizontalPodAutoscaler::default()
    })
}

fn metric(name: &str, percent: i32) -> MetricSpec {
    MetricSpec {
        type_: "Resource".to_owned(),
        resource: Some(ResourceMetricSource {
            name: name.to_owned(),
            target: MetricTarget {
                type_: "Utilization".to_owned(),
                average_utilization: Some(percent),
                ..MetricTarget::default()
            },
        }),
        ..MetricSpec::default()
    }
}

fn behavior(behavior: &Behavior) -> HorizontalPodAutoscalerBehavior {
    HorizontalPodAutoscalerBehavior {
        scale_up: behavior.scale_up.as_ref().map(rules),
        scale_down: behavior.scale_down.as_ref().map(rules),
    }
}

fn rules(pace: &Pace) -> HPAScalingRules {
    let select = pace.select_policy.map(|policy| match policy {
        SelectPolicy::Max => "Max",
        SelectPolicy::Min => "Min",
        SelectPolicy::Disabled => "Disabled",
    });
    HPAScalingRules {
        stabilization_window_seconds: pace.stabilization_window_seconds,
        select_policy: select.map(str::to_owned),
        policies: (!pace.policies.is_empty()).then(|| pace.policies.iter().map(policy).collect()),
        ..HPAScalingRules::default()
    }
}

fn policy(policy: &PacePolicy) -> HPAScalingPolicy {
    HPAScalingPolicy {
        type_: match policy.type_ {
            PaceUnit::Pods => "Pods".to_owned(),
            PaceUnit::Percent => "Percent".to_owned(),
        },
        value: policy.value,
        period_seconds: policy.period_seconds,
    }
}

/// One pod may be missing from two pods on. A single pod has no budget unless the spec has one: it would keep its node
/// from being drained.
pub(super) fn budget(registry: &ValidRegistry) -> Option<PodDisruptionBudget> {
    let one = || registry.can_have_several().then_some((Some(IntOrString::Int(1)), None));
    let told = registry.disruption.as_ref();
    let told = told.map(|told| (told.max_unavailable.clone(), told.min_available.clone()));
    let (max_unavailable, min_available) = told.or_else(one)?;
    Some(PodDisruptionBudget {
        metadata: metadata(registry, registry.name.clone(), Component::Registry),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable,
            min_available,
            selector: Some(LabelSelector {
                match_labels: Some(labels::selector(&registry.name, Component::Registry)),
                match_expressions: None,
            }),
            // A pod that does not serve anyway must not keep a node from being drained.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
        }),
        ..PodDisruptionBudget::default()
    })
}
