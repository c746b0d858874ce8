//! What there is to tell of a Registry, from its status; pure.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::{Notification, Version};
use crate::api::conditions::Reason;
use crate::api::notifications::NotificationEvent as Event;
use crate::api::rollout::{Phase, RolloutState};
use crate::api::{Registry, RegistryStatus};

/// How long an operator that was started again still tells how a roll-out ended.
const NEWS: SignedDuration = SignedDuration::from_hours(1);

/// What `status` stands for. The same status gives the same notifications, whoever asks and when, until what has ended is
/// no news any more.
pub fn of(registry: &Registry, status: &RegistryStatus, now: Timestamp) -> Vec<Notification> {
    let Some(state) = &status.rollout else {
        return Vec::new();
    };
    if state.phase.is_final() && now.duration_since(state.phase_since.0) > NEWS {
        return Vec::new();
    }
    let mut told: Vec<(Event, String)> = of_phase(state);
    if let Some(floor) = status.rollback_floor.as_ref().filter(|_| has_passed_the_floor(state)) {
        told.push((Event::FloorMoved, floor.version.clone()));
    }
    let unmet = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == "RequirementsMet" && condition.status == "False");
    if let Some(unmet) = unmet {
        told.push((
            Event::RequirementUnmet,
            unmet.last_transition_time.0.as_second().to_string(),
        ));
    }
    told.into_iter()
        .map(|(event, detail)| notification(registry, status, state, event, &detail))
        .collect()
}

fn has_passed_the_floor(state: &RolloutState) -> bool {
    matches!(state.phase, Phase::PostMigrating | Phase::Completed)
}

/// The events of a phase, each with what tells it from another of its kind in the same roll-out.
fn of_phase(state: &RolloutState) -> Vec<(Event, String)> {
    let once = |event: Event| (event, String::new());
    let for_reason = |event: Event| (event, state.reason.clone());
    let contract = state.contract.as_ref();
    let has_pre = contract.is_some_and(|contract| !contract.pending_pre.is_empty());
    let has_post = contract.is_some_and(|contract| !contract.pending_post.is_empty());
    let with = |first: Vec<(Event, String)>, more: bool, event: Event| {
        first.into_iter().chain(more.then(|| once(event))).collect()
    };
    match state.phase {
        Phase::Idle => Vec::new(),
        Phase::Preflight => vec![once(Event::Requested)],
        Phase::AwaitingLock if state.reason.contains("Freeze") || state.reason.contains("Window") => {
            vec![once(Event::Requested), for_reason(Event::Blocked)]
        }
        Phase::AwaitingLock => vec![once(Event::Requested), for_reason(Event::LockWait)],
        Phase::PreMigrating => vec![once(Event::Started), once(Event::MigrationStarted)],
        Phase::CanaryDeploying | Phase::Promoting => {
            with(vec![once(Event::Started)], has_pre, Event::MigrationFinished)
        }
        Phase::CanaryAnalyzing => measured(state),
        Phase::AwaitingApproval => {
            let step = state.asks.map(|step| format!("{step:?}"));
            vec![(Event::ApprovalNeeded, step.unwrap_or_default())]
        }
        Phase::MainVerifying => vec![once(Event::Promoted)],
        Phase::Soaking => with(vec![once(Event::Promoted)], has_post, Event::PostMigrationPending),
        Phase::PostMigrating => vec![once(Event::Promoted), once(Event::PostMigrationStarted)],
        Phase::Completed if state.reason == Reason::PostPending.as_str() => {
            vec![once(Event::Completed), once(Event::PostMigrationPending)]
        }
        Phase::Completed => with(vec![once(Event::Completed)], has_post, Event::PostMigrationDone),
        Phase::Paused => vec![(Event::Paused, state.phase_since.0.as_second().to_string())],
        Phase::Held => vec![for_reason(if is_migration(state) {
            Event::MigrationFailed
        } else {
            Event::Held
        })],
        Phase::RollingBack => vec![once(Event::RollingBack)],
        Phase::RolledBack => vec![once(Event::RolledBack)],
        Phase::Superseded => vec![once(Event::Superseded)],
        Phase::Failed => vec![once(if is_migration(state) {
            Event::MigrationFailed
        } else {
            Event::Failed
        })],
    }
}

fn is_migration(state: &RolloutState) -> bool {
    let stands_in = state.stands_in.unwrap_or(state.phase);
    state.reason.contains("Migrat") || matches!(stands_in, Phase::PreMigrating | Phase::PostMigrating)
}

fn measured(state: &RolloutState) -> Vec<(Event, String)> {
    let mut told = vec![(Event::CanaryUp, state.step.to_string())];
    if let Some(verdict) = &state.verdict {
        told.push((Event::Verdict, format!("{}-{}", state.step, verdict.word)));
    }
    told
}

fn notification(
    registry: &Registry,
    status: &RegistryStatus,
    state: &RolloutState,
    event: Event,
    detail: &str,
) -> Notification {
    let (namespace, name) = (registry.namespace().unwrap_or_default(), registry.name_any());
    let uid = registry.uid().unwrap_or_default();
    let mut id = format!("{uid}/{}/{}", state.id, event.as_str());
    if !detail.is_empty() {
        id = format!("{id}/{detail}");
    }
    let version = |revision: &crate::api::rollout::status::Revision| Version {
        version: revision.version.clone(),
        digest: revision.digest.clone(),
    };
    Notification {
        id,
        event,
        severity: event.severity(),
        at: state.phase_since.0,
        text: sentence(&name, status, state, event),
        registry: (namespace, name),
        rollout: state.id.clone(),
        phase: state.phase.as_str(),
        reason: state.reason.clone(),
        from: state.from.as_ref().map(version).unwrap_or_default(),
        to: version(&state.to),
        verdict: state.verdict.as_ref().map(|verdict| verdict.word.clone()),
        requested_by: state.requested_by.clone(),
    }
}

fn sentence(name: &str, status: &RegistryStatus, state: &RolloutState, event: Event) -> String {
    let to = state.to.version.as_deref().unwrap_or("the new image");
    let from = state
        .from
        .as_ref()
        .and_then(|from| from.version.as_deref())
        .unwrap_or("the old image");
    let by = state
        .requested_by
        .as_ref()
        .map(|by| format!(" by {by}"))
        .unwrap_or_default();
    let said = match event {
        Event::Requested => format!("{to} is asked for{by}; {from} runs"),
        Event::Blocked => format!("the roll-out of {to} waits for an open window"),
        Event::LockWait => format!("the roll-out of {to} waits for the lock"),
        Event::Started => format!("the roll-out from {from} to {to} has begun"),
        Event::MigrationStarted => format!("the database is migrated for {to}"),
        Event::MigrationFinished => format!("the database is ready for {to}"),
        Event::MigrationFailed => format!("a migration for {to} failed"),
        Event::CanaryUp => format!("{to} gets {} % of the requests", state.weight.actual),
        Event::Verdict => {
            let word = state
                .verdict
                .as_ref()
                .map(|verdict| verdict.word.as_str())
                .unwrap_or_default();
            format!("{to} was measured: {word}")
        }
        Event::ApprovalNeeded => format!("{to} waits for a person to approve it"),
        Event::Promoted => format!("every pod runs {to}"),
        Event::PostMigrationPending => format!("{to} is watched before the last migrations"),
        Event::PostMigrationStarted => format!("the last migrations for {to} run"),
        Event::PostMigrationDone => format!("the last migrations for {to} are done"),
        Event::Paused => format!("the roll-out of {to} stands still as it was asked to"),
        Event::Held => format!("the roll-out of {to} stands still and needs a person"),
        Event::RollingBack => format!("{to} failed, {from} comes back"),
        Event::RolledBack => format!("{to} failed, {from} is back"),
        Event::Superseded => format!("another version takes the place of {to}"),
        Event::Failed => format!("the roll-out of {to} ended before any pod changed"),
        Event::Completed => format!("{to} is rolled out"),
        Event::FloorMoved => {
            let floor = status
                .rollback_floor
                .as_ref()
                .map(|floor| floor.version.as_str())
                .unwrap_or_default();
            format!("there is no way back below {floor} any more")
        }
        Event::RequirementUnmet => "a consumer needs a higher version than runs".to_owned(),
    };
    let why = state.message.trim();
    if why.is_empty() {
        format!("{name}: {said}")
    } else {
        format!("{name}: {said}. {why}")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    pub(in crate::notify) fn registry() -> Registry {
        serde_json::from_value(json!({
            "apiVersion": "berth.dev/v1alpha1", "kind": "Registry",
            "metadata": {"name": "main", "namespace": "team", "uid": "u-1"}, "spec": {},
        }))
        .unwrap()
    }

    pub(in crate::notify) fn in_phase(phase: Phase, reason: &str) -> RegistryStatus {
        let state = json!({
            "id": "main-1", "to": {"version": "1.1.0", "image": "i:1.1.0", "revision": "b"},
            "from": {"version": "1.0.0", "image": "i:1.0.0", "revision": "a"}, "trigger": "Version",
            "strategy": "Canary", "phase": phase, "phaseSince": "2026-01-01T00:00:00Z",
            "startedAt": "2026-01-01T00:00:00Z", "reason": reason, "message": "",
        });
        serde_json::from_value(json!({"replicas": 1, "readyReplicas": 1, "rollout": state})).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn an_operator_that_is_started_again_tells_the_same_under_the_same_ids() {
        for phase in Phase::ALL {
            let status = in_phase(phase, "Why");

            let first = of(&registry(), &status, at("2026-01-01T00:01:00Z"));
            let again = of(&registry(), &status, at("2026-01-01T00:09:00Z"));

            assert_eq!(first, again);
            assert!(phase == Phase::Idle || !first.is_empty(), "{phase:?} is not told");
        }
    }

    #[test]
    fn what_ended_long_ago_is_no_news_but_what_still_stands_is() {
        let late = at("2026-01-02T00:00:00Z");

        assert_eq!(of(&registry(), &in_phase(Phase::RolledBack, "Worse"), late), []);
        assert_eq!(of(&registry(), &in_phase(Phase::Held, "Worse"), late).len(), 1);
    }

    #[test]
    fn each_step_each_verdict_and_each_reason_to_stand_still_is_told_once() {
        let now = at("2026-01-01T00:01:00Z");
        let mut status = in_phase(Phase::CanaryAnalyzing, "Baking");
        let ids = |status: &RegistryStatus| -> Vec<String> {
            of(&registry(), status, now).into_iter().map(|news| news.id).collect()
        };

        assert_eq!(ids(&status), ["u-1/main-1/CanaryUp/0"]);
        let verdict = json!({"at": "2026-01-01T00:00:30Z", "word": "Strong"});
        let state = status.rollout.as_mut().unwrap();
        (state.step, state.verdict) = (1, serde_json::from_value(verdict).unwrap());
        assert_eq!(ids(&status), ["u-1/main-1/CanaryUp/1", "u-1/main-1/Verdict/1-Strong"]);
        assert_eq!(ids(&in_phase(Phase::Held, "NoData")), ["u-1/main-1/Held/NoData"]);
        assert_eq!(
            ids(&in_phase(Phase::Held, "MigrationFailed")),
            ["u-1/main-1/MigrationFailed/MigrationFailed"]
        );
    }

    #[test]
    fn a_sentence_says_what_runs_and_what_is_to_run() {
        let news = of(
            &registry(),
            &in_phase(Phase::RolledBack, "Worse"),
            at("2026-01-01T00:01:00Z"),
        );

        assert_eq!(news[0].text, "main: 1.1.0 failed, 1.0.0 is back");
    }
}
