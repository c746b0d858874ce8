//! What a Registry whose status was lost takes from the records of its roll-outs; pure.

use std::cmp::Ordering;

use kube::ResourceExt;

use super::guard;
use super::plan::Memory;
use crate::api::rollout::status::{Counters, Revision, RolloutState};
use crate::api::rollout::{RegistryRollout, RollbackFloor};

/// A status that names no roll-out though there are records was lost: a roll-out under way is never begun anew, the way back
/// stays closed where it was, and last migrations that wait are not forgotten.
pub(super) fn restore(mut memory: Memory, records: &[RegistryRollout]) -> Memory {
    if memory.rollout.is_some() {
        return memory;
    }
    memory.rollout = records.iter().find_map(under_way);
    memory.floor = floors(records).chain(memory.floor).reduce(higher);
    let told = |record: &&RegistryRollout| record.status.as_ref().is_some_and(|status| status.started_at.is_some());
    let newest = records.iter().filter(told).max_by_key(|record| {
        let status = record.status.as_ref();
        (status.and_then(|status| status.started_at.clone()), record.name_any())
    });
    let pending = newest.and_then(|record| record.status.as_ref()?.pending_post.clone());
    memory.pending_post = memory.pending_post.or(pending);
    memory
}

fn floors(records: &[RegistryRollout]) -> impl Iterator<Item = RollbackFloor> {
    records
        .iter()
        .filter_map(|record| record.status.as_ref()?.rollback_floor.clone())
}

/// The floor only ever rises. Of two that cannot be compared the later one stands.
fn higher(one: RollbackFloor, other: RollbackFloor) -> RollbackFloor {
    match guard::compare(&one.version, &other.version) {
        Some(Ordering::Greater | Ordering::Equal) => one,
        Some(Ordering::Less) | None => other,
    }
}

/// The state of the roll-out that `record` is of, for a Registry whose status was lost.
fn under_way(record: &RegistryRollout) -> Option<RolloutState> {
    let status = record.status.as_ref()?;
    if status.result.is_some() {
        return None;
    }
    let spec = &record.spec;
    Some(RolloutState {
        id: record.name_any(),
        from: spec.from.clone(),
        to: Revision {
            digest: status.digest.clone().or_else(|| spec.to.digest.clone()),
            ..spec.to.clone()
        },
        trigger: spec.trigger,
        requested_by: spec.requested_by.clone(),
        strategy: status.strategy?,
        phase: status.phase,
        phase_since: status.phase_since.clone()?,
        started_at: status.started_at.clone()?,
        stands_in: status.stands_in,
        asks: status.asks,
        job: None,
        pause_next: false,
        reason: status.reason.clone(),
        message: status.message.clone(),
        step: status.step,
        weight: status.weight,
        attempt: spec.attempt,
        baking_since: None,
        verdict: None,
        counters: Counters::default(),
        bad_measurements: status.bad_measurements,
        lacking_since: None,
        ended_before: None,
        locks: Vec::new(),
        contract: status.contract.clone(),
        schema: status.schema.clone(),
        settles: status.settles.clone(),
        settled: status.settled,
        commands: status.commands.clone(),
        approved: status.approved.clone(),
        decisions: Vec::new(),
        failed_at: None,
        finished_at: None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn record(name: &str, started: &str, more: &Value) -> RegistryRollout {
        let mut status = json!({"phase": "Completed", "result": "Completed", "startedAt": started});
        for (key, value) in more.as_object().unwrap() {
            status[key] = value.clone();
        }
        serde_json::from_value(json!({
            "apiVersion": "berth.dev/v1alpha1", "kind": "RegistryRollout", "metadata": {"name": name},
            "spec": {
                "registryRef": {"name": "images", "uid": "u"}, "to": {"image": "i", "revision": "r"},
                "trigger": "Version", "attempt": 1, "specHash": "h",
            },
            "status": status,
        }))
        .unwrap()
    }

    fn floor(version: &str) -> Value {
        json!({"rollbackFloor": {"version": version, "reason": "m"}})
    }

    fn pending(version: &str) -> Value {
        json!({"pendingPost": {"rollout": "r", "version": version, "revision": {"image": "i", "revision": "r"}}})
    }

    #[test]
    fn the_floor_is_the_highest_of_all_records_and_what_waits_is_that_of_the_newest() {
        let records = [
            record("b", "2026-02-01T00:00:00Z", &floor("1.10.0")),
            record("c", "2026-03-01T00:00:00Z", &pending("1.12.0")),
            record("a", "2026-01-01T00:00:00Z", &floor("1.9.0")),
            record("d", "2026-01-15T00:00:00Z", &pending("1.9.5")),
        ];

        let memory = restore(Memory::default(), &records);

        assert_eq!(memory.floor.unwrap().version, "1.10.0");
        assert_eq!(memory.pending_post.unwrap().version, "1.12.0");
        assert_eq!(memory.rollout, None);
    }

    #[test]
    fn what_the_newest_roll_out_has_run_does_not_wait_any_more() {
        let records = [
            record("a", "2026-01-01T00:00:00Z", &pending("1.9.5")),
            record("b", "2026-02-01T00:00:00Z", &floor("1.9.5")),
        ];

        let memory = restore(Memory::default(), &records);

        assert_eq!(memory.pending_post, None);
        assert_eq!(memory.floor.unwrap().version, "1.9.5");
    }

    #[test]
    fn a_status_that_names_a_roll_out_was_not_lost() {
        let under_way = record(
            "a",
            "2026-01-01T00:00:00Z",
            &json!({"result": null, "phase": "Soaking", "phaseSince": "2026-01-01T00:00:00Z", "strategy": "Canary",
                "rollbackFloor": {"version": "2.0.0", "reason": "m"}}),
        );
        let known = Memory {
            rollout: restore(Memory::default(), std::slice::from_ref(&under_way)).rollout,
            ..Memory::default()
        };
        assert_eq!(known.rollout.as_ref().unwrap().id, "a");

        assert_eq!(restore(known.clone(), &[under_way]), known);
    }
}
