//! The conditions of Registries that somebody may want to be woken for.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::api::conditions::{ConditionType, Truth, find};

/// Few, since each is a series for each Registry.
const SHOWN: [ConditionType; 5] = [
    ConditionType::Ready,
    ConditionType::Degraded,
    ConditionType::RolloutBlocked,
    ConditionType::SchemaUpToDate,
    ConditionType::RequirementsMet,
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Conditioned {
    namespace: String,
    registry: String,
    condition: &'static str,
}

/// Which of them hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Conditions(Family<Conditioned, Gauge>);

impl Conditions {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let conditions = Self::default();
        registry.register(
            "condition",
            "1 where a condition of a Registry is True, 0 where it is False, absent where nobody can say",
            conditions.0.clone(),
        );
        conditions
    }

    /// Shows what `conditions` say now.
    pub(super) fn show(&self, namespace: &str, name: &str, conditions: &[Condition]) {
        for type_ in SHOWN {
            let label = label(namespace, name, type_);
            let status = find(conditions, type_).map(|condition| condition.status.as_str());
            if status == Some(Truth::True.as_str()) {
                self.0.get_or_create(&label).set(1);
            } else if status == Some(Truth::False.as_str()) {
                self.0.get_or_create(&label).set(0);
            } else {
                self.0.remove(&label);
            }
        }
    }

    /// Shows nothing more of a Registry that is gone.
    pub(super) fn forget(&self, namespace: &str, name: &str) {
        for type_ in SHOWN {
            self.0.remove(&label(namespace, name, type_));
        }
    }
}

fn label(namespace: &str, name: &str, type_: ConditionType) -> Conditioned {
    Conditioned {
        namespace: namespace.to_owned(),
        registry: name.to_owned(),
        condition: type_.as_str(),
    }
}
