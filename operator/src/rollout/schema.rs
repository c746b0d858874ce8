//! What a Registry's status says of the database between a migration and the first word of a pod about it; pure.

use crate::api::rollout::RolloutState;
use crate::api::rollout::status::SchemaRead;
use crate::api::status::SchemaLevel;

/// What is known of the database once `after` has read it back. What was read before says nothing new: pods may have
/// told something else since, as after a restored backup.
pub fn read_back(
    known: Option<SchemaLevel>,
    before: Option<&RolloutState>,
    after: Option<&RolloutState>,
) -> Option<SchemaLevel> {
    let of = |state: Option<&RolloutState>| state.and_then(|state| state.schema.clone());
    match of(after).filter(|read| of(before).as_ref() != Some(read)) {
        Some(read) => known.map(|known| moved(known, &read)),
        None => known,
    }
}

fn moved(known: SchemaLevel, read: &SchemaRead) -> SchemaLevel {
    SchemaLevel {
        applied: read.level.clone(),
        pending_pre: missing(known.pending_pre, read),
        pending_post: missing(known.pending_post, read),
        required: known.required,
    }
}

fn missing(mut ids: Vec<String>, read: &SchemaRead) -> Vec<String> {
    ids.retain(|id| !read.applied.contains(id));
    ids
}

/// What the database has for the version that `state` rolls out, by what its image and its migrations said: pods of a new
/// version have not said anything when the first of them starts.
pub fn of_new_version(state: &RolloutState) -> Option<SchemaLevel> {
    let (contract, read) = (state.contract.as_ref()?, state.schema.as_ref()?);
    Some(SchemaLevel {
        applied: read.level.clone(),
        required: contract.min_level.clone()?,
        pending_pre: missing(contract.pending_pre.clone(), read),
        pending_post: missing(contract.pending_post.clone(), read),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ids(ids: &[&str]) -> Vec<String> {
        ids.iter().map(ToString::to_string).collect()
    }

    fn state(schema: &serde_json::Value) -> RolloutState {
        let state = json!({
            "id": "r-1", "to": {"image": "berth:2", "revision": "b"}, "trigger": "Version", "strategy": "Canary",
            "phase": "CanaryDeploying", "phaseSince": "2026-01-01T00:00:00Z", "startedAt": "2026-01-01T00:00:00Z",
            "reason": "CanaryStarting", "message": "why", "schema": schema,
            "contract": {"version": "2", "minLevel": "5", "pendingPre": ["7"], "pendingPost": ["8"]},
        });
        serde_json::from_value(state).unwrap()
    }

    fn level(applied: &str, pre: &[&str], post: &[&str]) -> SchemaLevel {
        SchemaLevel {
            applied: applied.to_owned(),
            required: "5".to_owned(),
            pending_pre: ids(pre),
            pending_post: ids(post),
        }
    }

    #[test]
    fn what_a_migration_applied_is_pending_no_longer() {
        let (before, after) = (state(&json!(null)), state(&json!({"level": "7", "applied": ["7"]})));

        let known = read_back(Some(level("6", &["7"], &["8"])), Some(&before), Some(&after));

        assert_eq!(known, Some(level("7", &[], &["8"])));
    }

    #[test]
    fn what_was_read_back_once_does_not_outweigh_what_pods_said_later() {
        let read = state(&json!({"level": "7", "applied": ["7"]}));
        let of_a_backup = level("6", &["7"], &[]);

        let known = read_back(Some(of_a_backup.clone()), Some(&read), Some(&read));

        assert_eq!(known, Some(of_a_backup));
    }

    #[test]
    fn a_new_version_has_what_its_image_and_its_migrations_say() {
        let read = state(&json!({"level": "7", "applied": ["7"]}));

        assert_eq!(of_new_version(&read), Some(level("7", &[], &["8"])));
        assert_eq!(of_new_version(&state(&json!(null))), None);
    }
}
