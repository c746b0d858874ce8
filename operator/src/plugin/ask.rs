//! What a command asks of a Registry, as the objects and annotations that the operator reads; pure.

use kube::api::ObjectMeta;
use serde_json::{Value, json};

use crate::api::rollout::approval::RolloutRef;
use crate::api::rollout::{Decision, RegistryApproval, RegistryApprovalSpec, RolloutState};
use crate::api::{Registry, RegistryApproval as Approval};

/// Why a command makes no sense now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Senseless {
    /// There is nothing to ask about.
    #[error("{0} has no roll-out: change spec.version, and one begins")]
    NoRollout(String),
    /// It is over.
    #[error("roll-out {0} has ended ({1}): only `retry` follows")]
    Over(String, &'static str),
    /// Nobody is asked.
    #[error("roll-out {0} does not wait for a person: it is in {1}")]
    NobodyAsked(String, &'static str),
}

/// The newest roll-out of `registry`, as far as `command` makes sense for it.
///
/// # Errors
/// [`Senseless`].
pub fn rollout_for<'r>(registry: &'r Registry, command: &str) -> Result<&'r RolloutState, Senseless> {
    let name = registry.metadata.name.clone().unwrap_or_default();
    let state = registry.status.as_ref().and_then(|status| status.rollout.as_ref());
    let state = state.ok_or(Senseless::NoRollout(name))?;
    if state.phase.is_final() && command != "retry" {
        return Err(Senseless::Over(state.id.clone(), state.phase.as_str()));
    }
    Ok(state)
}

/// The merge patch that gives a command to the roll-out `id` in the name of `user`.
pub fn command(command: &str, id: &str, reason: Option<&str>, user: &str) -> Value {
    let value = reason.map_or_else(|| id.to_owned(), |reason| format!("{id} {reason}"));
    let key = format!("berth.dev/rollout-{command}");
    json!({"metadata": {"annotations": {key: value, "berth.dev/requested-by": user}}})
}

/// The word of `user` on what `state` asks.
///
/// # Errors
/// [`Senseless::NobodyAsked`].
pub fn approval(
    registry: &Registry,
    state: &RolloutState,
    decision: Decision,
    reason: Option<String>,
    user: &str,
) -> Result<Approval, Senseless> {
    let nobody = || Senseless::NobodyAsked(state.id.clone(), state.phase.as_str());
    let step = state.asks.ok_or_else(nobody)?;
    Ok(RegistryApproval {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", state.id)),
            namespace: registry.metadata.namespace.clone(),
            ..ObjectMeta::default()
        },
        spec: RegistryApprovalSpec {
            rollout_ref: RolloutRef { name: state.id.clone() },
            digest: state.to.digest.clone(),
            step,
            decision,
            reason,
            approved_by: user.to_owned(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(phase: &str, asks: Option<&str>) -> Registry {
        let mut rollout = json!({
            "id": "main-1", "to": {"version": "1.1.0", "image": "i", "revision": "b", "digest": format!("sha256:{}", "1".repeat(64))},
            "trigger": "Version", "strategy": "Canary", "phase": phase, "phaseSince": "2026-01-01T00:00:00Z",
            "startedAt": "2026-01-01T00:00:00Z", "reason": "", "message": "",
        });
        if let Some(asks) = asks {
            rollout["asks"] = json!(asks);
        }
        serde_json::from_value(json!({
            "apiVersion": "berth.dev/v1alpha1", "kind": "Registry", "metadata": {"name": "main", "namespace": "team"},
            "spec": {}, "status": {"replicas": 1, "readyReplicas": 1, "rollout": rollout},
        }))
        .unwrap()
    }

    #[test]
    fn a_command_is_addressed_to_one_roll_out_and_carries_who_and_why() {
        let patch = command("pause", "main-1", Some("lunch"), "ada");

        let annotations = &patch["metadata"]["annotations"];
        assert_eq!(annotations["berth.dev/rollout-pause"], "main-1 lunch");
        assert_eq!(annotations["berth.dev/requested-by"], "ada");
    }

    #[test]
    fn an_approval_is_for_the_digest_and_the_step_that_are_asked_about() {
        let registry = registry("AwaitingApproval", Some("Main"));
        let state = rollout_for(&registry, "approve").unwrap();

        let approval = approval(&registry, state, Decision::Approve, None, "ada").unwrap();
        assert_eq!(approval.spec.digest, state.to.digest);
        assert_eq!(json!(approval.spec.step), "Main");
        assert_eq!(approval.spec.approved_by, "ada");
    }

    #[test]
    fn what_makes_no_sense_now_is_refused_with_why() {
        let over = registry("Completed", None);
        assert!(rollout_for(&over, "abort").is_err());
        assert!(rollout_for(&over, "retry").is_ok());
        let busy = registry("CanaryAnalyzing", None);
        let state = rollout_for(&busy, "approve").unwrap();
        assert!(approval(&busy, state, Decision::Approve, None, "ada").is_err());
    }
}
