//! How far a Deployment is; pure.

use k8s_openapi::api::apps::v1::Deployment;

/// How far a Deployment is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rollout {
    /// Pods that are wanted.
    pub wanted: i32,
    /// Pods that exist.
    pub replicas: i32,
    /// Pods of the wanted template.
    pub updated: i32,
    /// Pods that serve.
    pub ready: i32,
    /// Whether these numbers speak about the wanted template at all.
    pub observed: bool,
    /// Whether Kubernetes has given up waiting for new pods of the wanted template.
    pub timed_out: bool,
}

impl Rollout {
    /// What `deployment` says about itself.
    pub fn of(deployment: &Deployment) -> Self {
        let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let Some(status) = &deployment.status else {
            return Self {
                wanted,
                ..Self::default()
            };
        };
        let conditions = status.conditions.as_deref().unwrap_or_default();
        // A verdict about an earlier template says nothing about this one.
        let observed = status.observed_generation >= deployment.metadata.generation;
        let timed_out = conditions.iter().any(|found| {
            found.type_ == "Progressing"
                && found.status == "False"
                && found.reason.as_deref() == Some("ProgressDeadlineExceeded")
        });
        Self {
            wanted,
            replicas: status.replicas.unwrap_or_default(),
            updated: status.updated_replicas.unwrap_or_default(),
            ready: status.ready_replicas.unwrap_or_default(),
            observed,
            timed_out: observed && timed_out,
        }
    }

    /// Whether every pod is of the wanted template.
    pub fn is_replaced(self) -> bool {
        self.observed && self.updated == self.wanted && self.replicas == self.wanted
    }

    /// Whether every pod is of the wanted template and serves.
    pub fn is_complete(self) -> bool {
        self.is_replaced() && self.ready == self.wanted
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rollout_that_timed_out_says_nothing_about_the_next_one() {
        let of = |observed: i64| {
            let given_up = json!({"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"});
            let deployment = json!({
                "metadata": {"generation": 2},
                "spec": {"selector": {}, "template": {}},
                "status": {"observedGeneration": observed, "conditions": [given_up]},
            });
            Rollout::of(&serde_json::from_value(deployment).unwrap())
        };

        assert!(of(2).timed_out);
        assert!(!of(1).timed_out);
    }
}
