//! What a command asks of a Registry, as the objects and annotations that the operator reads; pure.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::api::ObjectMeta;
use serde::{Deserialize, Serialize};
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

/// Annotation of a Lease with what people did with the lock, as JSON.
pub const LOCK_RECORD: &str = "berth.dev/lock-record";
/// How much of it is kept.
const LONGEST_RECORD: usize = 20;

/// What somebody did with a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockEntry {
    /// When.
    pub at: Timestamp,
    /// `held`, `released`, or `freed` where somebody else held it.
    pub what: String,
    /// Who, as the API server knows them.
    pub by: String,
    /// Who held the lock then.
    pub holder: String,
    /// Why.
    pub reason: String,
}

/// What people did with the lock that `lease` is, newest last. An annotation that cannot be read counts as none.
pub fn lock_record(lease: &Lease) -> Vec<LockEntry> {
    let annotations = lease.metadata.annotations.as_ref();
    let text = annotations.and_then(|annotations| annotations.get(LOCK_RECORD));
    text.and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}

/// `lease` with `entry` at the end of its record; the oldest entries go.
pub fn note(lease: &mut Lease, entry: LockEntry) {
    let mut record = lock_record(lease);
    record.push(entry);
    record.drain(..record.len().saturating_sub(LONGEST_RECORD));
    if let Ok(text) = serde_json::to_string(&record) {
        let annotations = lease.metadata.annotations.get_or_insert_default();
        annotations.insert(LOCK_RECORD.to_owned(), text);
    }
}

/// The name of the Lease of a lock, however somebody wrote it.
pub fn lease_name(group: &str) -> String {
    let prefix = "berth-rollout-";
    format!("{prefix}{}", group.strip_prefix(prefix).unwrap_or(group))
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

    #[test]
    fn what_people_do_with_a_lock_is_kept_with_it_and_is_bounded() {
        let mut lease = Lease::default();
        for number in 0..30 {
            let entry = LockEntry {
                at: Timestamp::UNIX_EPOCH,
                what: "held".to_owned(),
                by: "ada".to_owned(),
                holder: "external/ada".to_owned(),
                reason: number.to_string(),
            };
            note(&mut lease, entry);
        }

        let record = lock_record(&lease);
        assert_eq!(record.len(), LONGEST_RECORD);
        assert_eq!(record.last().unwrap().reason, "29");
    }

    #[test]
    fn a_lock_is_named_by_its_group_or_its_lease() {
        assert_eq!(lease_name("team"), "berth-rollout-team");
        assert_eq!(lease_name("berth-rollout-team"), "berth-rollout-team");
    }
}
