//! What a Registry whose status was lost takes from the records of its roll-outs; pure.

use std::cmp::{Ordering, Reverse};

use kube::ResourceExt;

use super::guard;
use super::plan::{HISTORY, Memory};
use crate::api::rollout::status::{Counters, HistoryEntry, Revision, RolloutState};
use crate::api::rollout::{RegistryRollout, RollbackFloor};

/// A status that names no roll-out though there are records was lost: a roll-out under way is never begun anew, the way back
/// stays closed where it was, last migrations that wait are not forgotten, and what was taken back is not tried again.
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
    let newest = newest.and_then(|record| record.status.clone()).unwrap_or_default();
    memory.pending_post = memory.pending_post.or(newest.pending_post);
    if memory.refused.is_empty() {
        memory.refused = newest.refused;
    }
    if memory.history.is_empty() {
        memory.history = history(records);
    }
    memory
}

/// What has ended, as far as its record is kept, the newest first.
fn history(records: &[RegistryRollout]) -> Vec<HistoryEntry> {
    let mut ended: Vec<&RegistryRollout> = records.iter().collect();
    ended.sort_by_key(|record| {
        let status = record.status.as_ref();
        let (finished, started) = status.map_or((None, None), |status| {
            (status.finished_at.clone(), status.started_at.clone())
        });
        Reverse((finished, started, record.name_any()))
    });
    ended.into_iter().filter_map(entry).take(HISTORY).collect()
}

fn entry(record: &RegistryRollout) -> Option<HistoryEntry> {
    let (spec, status) = (&record.spec, record.status.as_ref()?);
    Some(HistoryEntry {
        id: record.name_any(),
        from: spec.from.as_ref().and_then(|from| from.version.clone()),
        to: spec.to.version.clone(),
        digest: status.digest.clone(),
        result: status.result?,
        reason: status.reason.clone(),
        at: status.finished_at.clone()?,
        by: spec.requested_by.clone(),
    })
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
    use crate::api::rollout::Phase;

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
    fn what_was_taken_back_is_that_of_the_newest_and_what_has_ended_is_told_the_newest_first() {
        let refused = |revision: &str| json!({"revision": revision, "image": "i", "rollout": "r", "reason": "bad"});
        let ended = |day: u32, result: &str, more: &Value| {
            let mut status =
                json!({"finishedAt": format!("2026-01-{day:02}T01:00:00Z"), "result": result, "reason": "Why"});
            for (key, value) in more.as_object().unwrap() {
                status[key] = value.clone();
            }
            record(&format!("r-{day}"), &format!("2026-01-{day:02}T00:00:00Z"), &status)
        };
        let mut records = vec![
            ended(
                2,
                "RolledBack",
                &json!({"refused": [refused("x"), refused("y")], "digest": "sha256:d"}),
            ),
            ended(3, "Completed", &json!({"refused": [refused("y")]})),
            ended(1, "Failed", &json!({})),
        ];
        let memory = restore(Memory::default(), &records);
        let revisions = memory.refused.iter().map(|refused| refused.revision.as_str());
        assert_eq!(revisions.collect::<Vec<_>>(), ["y"], "the other was tried again");
        let told = memory.history.iter().map(|entry| (entry.id.as_str(), entry.result));
        assert_eq!(
            told.collect::<Vec<_>>(),
            [
                ("r-3", Phase::Completed),
                ("r-2", Phase::RolledBack),
                ("r-1", Phase::Failed)
            ]
        );
        let second = &memory.history[1];
        assert_eq!(
            (second.digest.as_deref(), second.reason.as_str()),
            (Some("sha256:d"), "Why")
        );
        assert_eq!(second.at.0.to_string(), "2026-01-02T01:00:00Z");

        let known = Memory {
            refused: memory.refused.clone(),
            history: memory.history[..1].to_vec(),
            ..Memory::default()
        };
        records.extend((4..20).map(|day| ended(day, "Completed", &json!({}))));
        assert_eq!(restore(known.clone(), &records).history, known.history);
        assert_eq!(restore(known.clone(), &records).refused, known.refused);
        assert_eq!(restore(Memory::default(), &records).history.len(), HISTORY);
    }

    #[test]
    fn what_has_not_ended_is_no_history() {
        let more =
            json!({"result": null, "phase": "Soaking", "phaseSince": "2026-01-01T00:00:00Z", "strategy": "Canary"});

        assert_eq!(
            restore(Memory::default(), &[record("a", "2026-01-01T00:00:00Z", &more)]).history,
            []
        );
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
