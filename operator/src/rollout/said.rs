//! What a status says in the write in which a roll-out moves: the conditions are those of the phase beside them; pure.

use k8s_openapi::jiff::Timestamp;

use crate::api::{Registry, RegistryStatus};
use crate::registry::status::{self, Seen, Stage};
use crate::registry::trouble::Trouble;

/// `next` as it is written: with what follows from its roll-out. `trouble`: what keeps main from serving. `is_wanted`: main is
/// what the spec says, so that a roll-out that has ended has nothing more to say.
///
/// The generation that was observed stays: only the end of a pass has seen to all of a spec.
pub(super) fn said(
    registry: &Registry,
    next: RegistryStatus,
    seen: Seen<'_>,
    trouble: Option<Trouble>,
    is_wanted: bool,
    now: Timestamp,
) -> RegistryStatus {
    let (Some(rollout), Some(main)) = (next.rollout.clone(), seen.deployment) else {
        return next;
    };
    let main = Box::new(main.clone());
    let stage = if rollout.phase.is_final() && is_wanted {
        Stage::Deployed {
            deployment: main,
            trouble,
        }
    } else {
        Stage::Rolling {
            state: Box::new(rollout),
            main: Some(main),
            trouble,
        }
    };
    let observed_generation = next.observed_generation;
    let registry = Registry {
        status: Some(next),
        ..registry.clone()
    };
    let mut said = status::status(&registry, &stage, seen, now);
    said.observed_generation = observed_generation;
    for condition in &mut said.conditions {
        condition.observed_generation = observed_generation;
    }
    said
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::Deployment;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::conditions::{ConditionType, find};
    use crate::registry::fixtures::production;

    fn main(ready: i32) -> Deployment {
        let status = json!({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "readyReplicas": ready});
        let spec = json!({"replicas": 2, "selector": {}, "template": {}});
        serde_json::from_value(json!({"metadata": {"generation": 1}, "spec": spec, "status": status})).unwrap()
    }

    fn moved(phase: &str, more: &Value) -> RegistryStatus {
        let mut rollout = json!({
            "id": "r-1", "from": {"image": "berth:1", "revision": "a"}, "to": {"image": "berth:2", "revision": "b"},
            "trigger": "Version", "strategy": "Canary", "phase": phase, "phaseSince": "2026-01-01T00:00:00Z",
            "startedAt": "2026-01-01T00:00:00Z", "reason": "Resumed", "message": "a person wanted it to go on",
        });
        for (key, value) in more.as_object().unwrap() {
            rollout[key] = value.clone();
        }
        serde_json::from_value(json!({"observedGeneration": 2, "rollout": rollout})).unwrap()
    }

    /// The status after `next` follows on `before`: `Ready`, `Paused` and the word for all.
    fn of(before: RegistryStatus, next: RegistryStatus, is_wanted: bool) -> (RegistryStatus, [String; 3]) {
        let main = main(2);
        let seen = Seen {
            deployment: Some(&main),
            ..Seen::default()
        };
        let next = RegistryStatus {
            conditions: before.conditions,
            ..next
        };
        let status = said(
            &production(&json!({})),
            next,
            seen,
            None,
            is_wanted,
            Timestamp::UNIX_EPOCH,
        );
        let word = |type_| {
            let found = find(&status.conditions, type_).unwrap();
            format!("{} {}", found.status, found.reason)
        };
        let words = [
            word(ConditionType::Ready),
            word(ConditionType::Paused),
            status.phase.clone(),
        ];
        (status, words)
    }

    #[test]
    fn a_roll_out_that_goes_on_is_not_paused_in_the_same_status() {
        let paused = json!({"standsIn": "CanaryAnalyzing", "reason": "UserRequested"});
        let (paused, before) = of(RegistryStatus::default(), moved("Paused", &paused), false);
        let (resumed, after) = of(paused, moved("CanaryAnalyzing", &json!({})), false);

        assert_eq!(before, ["False UserRequested", "True UserRequested", "Paused"]);
        assert_eq!(after, ["False Resumed", "False AsExpected", "CanaryAnalyzing"]);
        assert_eq!(resumed.observed_generation, Some(2), "the pass has not ended");
        let told = resumed.conditions.iter().map(|condition| condition.observed_generation);
        assert!(told.into_iter().all(|generation| generation == Some(2)));
    }

    #[test]
    fn a_roll_out_that_has_ended_leaves_the_registry_as_its_pods_are() {
        let ended = |phase: &str, is_wanted: bool| {
            let reason = json!({"reason": "CanaryFailing"});
            of(RegistryStatus::default(), moved(phase, &reason), is_wanted).1
        };

        assert_eq!(
            ended("Completed", true),
            ["True AsExpected", "False AsExpected", "Ready"]
        );
        assert_eq!(
            ended("RolledBack", true),
            ["True AsExpected", "False AsExpected", "Ready"]
        );
        assert_eq!(
            ended("RolledBack", false),
            ["False CanaryFailing", "False AsExpected", "Degraded"]
        );
    }

    #[test]
    fn without_a_roll_out_or_pods_nothing_is_said_before_the_pass_ends() {
        let none = RegistryStatus::default();
        let said = said(
            &production(&json!({})),
            none.clone(),
            Seen::default(),
            None,
            true,
            Timestamp::UNIX_EPOCH,
        );

        assert_eq!(said, none);
    }
}
