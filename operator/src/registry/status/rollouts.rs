//! What the conditions of roll-outs say; pure.

use super::verdicts::{Said, said};
use crate::api::conditions::{ConditionType, Reason, Truth, find};
use crate::api::rollout::settings::{ApprovalStep, Strategy};
use crate::api::rollout::{Phase, RolloutState};
use crate::api::status::SchemaLevel;
use crate::api::{Registry, RegistryStatus};
use crate::rollout::guard;

/// Whether the canary of the newest roll-out was good enough.
pub(super) fn canary_healthy(state: Option<&RolloutState>) -> Said {
    let Some(state) = state.filter(|state| state.strategy == Strategy::Canary) else {
        return said(Truth::Unknown, Reason::NotRun, "the newest roll-out had no canary");
    };
    let reason = Reason::of_rollout(&state.reason);
    if matches!(reason, Reason::CanaryFailing | Reason::ProbeFailed) {
        return said(false, reason, state.message.as_str());
    }
    if matches!(
        reason,
        Reason::NoData | Reason::Inconclusive | Reason::QueryError | Reason::SharedOutage
    ) {
        return said(Truth::Unknown, reason, state.message.as_str());
    }
    match state.stands_in.unwrap_or(state.phase) {
        Phase::CanaryDeploying => said(Truth::Unknown, Reason::CanaryStarting, "the canary's pods start"),
        Phase::CanaryAnalyzing => said(Truth::Unknown, Reason::Baking, "the canary is measured"),
        Phase::AwaitingApproval if state.asks == Some(ApprovalStep::Canary) => not_begun(),
        Phase::Idle | Phase::Preflight | Phase::AwaitingLock | Phase::PreMigrating => not_begun(),
        Phase::AwaitingApproval
        | Phase::Promoting
        | Phase::MainVerifying
        | Phase::Soaking
        | Phase::PostMigrating
        | Phase::Completed => said(true, Reason::Passed, "the canary was good enough for all pods"),
        Phase::RollingBack | Phase::RolledBack | Phase::Superseded | Phase::Failed | Phase::Paused | Phase::Held => {
            said(Truth::Unknown, reason, state.message.as_str())
        }
    }
}

fn not_begun() -> Said {
    said(Truth::Unknown, Reason::NotRun, "the canary has not begun")
}

/// Whether every pod runs what the newest roll-out was for.
pub(super) fn promoted(state: Option<&RolloutState>) -> Said {
    let Some(state) = state else {
        return said(Truth::Unknown, Reason::NotRun, "there was no roll-out yet");
    };
    let reason = Reason::of_rollout(&state.reason);
    match state.phase {
        Phase::Soaking | Phase::PostMigrating | Phase::Completed => {
            said(true, Reason::Succeeded, "all pods run what the roll-out was for")
        }
        Phase::RolledBack | Phase::RollingBack => {
            let message = format!("{}: {}", state.reason, state.message);
            said(false, Reason::RolledBack, message)
        }
        Phase::Failed | Phase::Superseded | Phase::Held => said(false, reason, state.message.as_str()),
        Phase::Idle
        | Phase::Preflight
        | Phase::AwaitingLock
        | Phase::PreMigrating
        | Phase::CanaryDeploying
        | Phase::CanaryAnalyzing
        | Phase::AwaitingApproval
        | Phase::Promoting
        | Phase::MainVerifying
        | Phase::Paused => said(false, Reason::InProgress, state.message.as_str()),
    }
}

/// Whether something other than the version itself keeps the newest roll-out from going on.
pub(super) fn blocked(state: Option<&RolloutState>) -> Said {
    const BLOCKERS: [Reason; 10] = [
        Reason::WaitingForLock,
        Reason::FreezeWindow,
        Reason::PreflightRefused,
        Reason::PreflightFailed,
        Reason::VersionRefused,
        Reason::BelowFloor,
        Reason::ConsumerNeedsNewer,
        Reason::LockTimeout,
        Reason::LockLost,
        Reason::CannotRollBack,
    ];
    let blocker = state.and_then(|state| {
        let reason = Reason::of_rollout(&state.reason);
        let is_over = matches!(state.phase, Phase::Completed | Phase::Superseded | Phase::RolledBack);
        (BLOCKERS.contains(&reason) && !is_over).then(|| said(true, reason, state.message.as_str()))
    });
    blocker.unwrap_or_else(|| said(false, Reason::AsExpected, "nothing stands in the way of a roll-out"))
}

/// Whether the database has every migration of the version that runs, those for afterwards included.
pub(super) fn schema_up_to_date(schema: Option<&SchemaLevel>) -> Said {
    let Some(schema) = schema else {
        let message = "no pod has said yet what the database has";
        return said(Truth::Unknown, Reason::NotObserved, message);
    };
    if !schema.pending_pre.is_empty() {
        let message = format!("not applied yet: {}", schema.pending_pre.join(", "));
        return said(false, Reason::MigrationPending, message);
    }
    if !schema.pending_post.is_empty() {
        let message = format!(
            "migrations that follow the roll-out are not applied yet: {}; spec.migrations.post says when they are",
            schema.pending_post.join(", ")
        );
        return said(false, Reason::PostPending, message);
    }
    let message = format!("the newest applied migration is {}", schema.applied);
    said(true, Reason::UpToDate, message)
}

/// Whether the version that runs is as new as everybody needs.
pub(super) fn requirements_met(registry: &Registry, running: Option<&str>) -> Said {
    let needed = &registry.spec.requirements;
    if needed.is_empty() {
        return said(true, Reason::AsExpected, "nobody needs a certain version");
    }
    let Some(running) = running else {
        return said(Truth::Unknown, Reason::NotObserved, "no pod has said its version yet");
    };
    if let Some((_, why)) = guard::forbidden(Some(running), None, needed) {
        return said(false, Reason::ConsumerNeedsNewer, why);
    }
    let message = format!("{running} is new enough for all {} that need a version", needed.len());
    said(true, Reason::AsExpected, message)
}

/// The word for all of it: the phase of a roll-out under way, else how the registry is.
pub(super) fn phase(status: &RegistryStatus) -> &'static str {
    let of = |type_| find(&status.conditions, type_);
    let holds = |type_| of(type_).is_some_and(|condition| condition.status == Truth::True.as_str());
    if of(ConditionType::Ready).is_some_and(|ready| ready.reason == Reason::Suspended.as_str()) {
        return Reason::Suspended.as_str();
    }
    if let Some(state) = status.rollout.as_ref().filter(|state| !state.phase.is_final()) {
        return state.phase.as_str();
    }
    if holds(ConditionType::Ready) {
        "Ready"
    } else if holds(ConditionType::Degraded) {
        "Degraded"
    } else {
        "Progressing"
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::registry::fixtures::registry;

    fn state(phase: Phase, reason: Reason) -> RolloutState {
        let state = json!({
            "id": "r-1", "to": {"image": "berth:2", "revision": "b"}, "trigger": "Version", "strategy": "Canary",
            "phase": phase, "phaseSince": Time(Timestamp::UNIX_EPOCH), "startedAt": Time(Timestamp::UNIX_EPOCH),
            "reason": reason.as_str(), "message": "why",
        });
        serde_json::from_value(state).unwrap()
    }

    fn pair(said: &Said) -> (Truth, Reason) {
        (said.truth, said.reason)
    }

    #[test]
    fn a_canary_is_unknown_until_it_is_judged_and_keeps_its_verdict() {
        let table = [
            (
                Phase::Preflight,
                Reason::CheckingImage,
                (Truth::Unknown, Reason::NotRun),
            ),
            (
                Phase::CanaryDeploying,
                Reason::CanaryStarting,
                (Truth::Unknown, Reason::CanaryStarting),
            ),
            (Phase::CanaryAnalyzing, Reason::Baking, (Truth::Unknown, Reason::Baking)),
            (Phase::Promoting, Reason::RollingOut, (Truth::True, Reason::Passed)),
            (Phase::Completed, Reason::AsExpected, (Truth::True, Reason::Passed)),
            (
                Phase::RollingBack,
                Reason::CanaryFailing,
                (Truth::False, Reason::CanaryFailing),
            ),
            (
                Phase::RolledBack,
                Reason::ProbeFailed,
                (Truth::False, Reason::ProbeFailed),
            ),
            (
                Phase::RolledBack,
                Reason::UserAborted,
                (Truth::Unknown, Reason::UserAborted),
            ),
            (Phase::Paused, Reason::NoData, (Truth::Unknown, Reason::NoData)),
            (
                Phase::Held,
                Reason::SharedOutage,
                (Truth::Unknown, Reason::SharedOutage),
            ),
        ];
        for (phase, reason, expected) in table {
            assert_eq!(
                pair(&canary_healthy(Some(&state(phase, reason)))),
                expected,
                "{phase:?}"
            );
        }
    }

    #[test]
    fn a_roll_out_without_a_canary_says_nothing_of_one() {
        let direct = RolloutState {
            strategy: Strategy::Direct,
            ..state(Phase::Completed, Reason::AsExpected)
        };

        assert_eq!(pair(&canary_healthy(Some(&direct))), (Truth::Unknown, Reason::NotRun));
        assert_eq!(pair(&canary_healthy(None)), (Truth::Unknown, Reason::NotRun));
    }

    #[test]
    fn a_roll_out_is_promoted_when_all_pods_are_replaced_and_not_when_it_was_taken_back() {
        let of = |phase, reason| pair(&promoted(Some(&state(phase, reason))));

        assert_eq!(
            of(Phase::MainVerifying, Reason::Verifying),
            (Truth::False, Reason::InProgress)
        );
        assert_eq!(of(Phase::Soaking, Reason::Soaking), (Truth::True, Reason::Succeeded));
        assert_eq!(
            of(Phase::RolledBack, Reason::CanaryFailing),
            (Truth::False, Reason::RolledBack)
        );
        assert_eq!(
            of(Phase::Failed, Reason::BelowFloor),
            (Truth::False, Reason::BelowFloor)
        );
        assert_eq!(pair(&promoted(None)), (Truth::Unknown, Reason::NotRun));
    }

    #[test]
    fn what_blocks_a_roll_out_is_told_until_it_goes_on() {
        let of = |phase, reason| pair(&blocked(Some(&state(phase, reason))));

        assert_eq!(
            of(Phase::AwaitingLock, Reason::FreezeWindow),
            (Truth::True, Reason::FreezeWindow)
        );
        assert_eq!(of(Phase::Failed, Reason::BelowFloor), (Truth::True, Reason::BelowFloor));
        assert_eq!(
            of(Phase::CanaryAnalyzing, Reason::Baking),
            (Truth::False, Reason::AsExpected)
        );
        assert_eq!(
            of(Phase::Superseded, Reason::BelowFloor),
            (Truth::False, Reason::AsExpected)
        );
    }

    #[test]
    fn a_schema_with_something_pending_is_not_up_to_date() {
        let level = |pre: &[&str], post: &[&str]| SchemaLevel {
            applied: "7".to_owned(),
            required: "5".to_owned(),
            pending_pre: pre.iter().map(ToString::to_string).collect(),
            pending_post: post.iter().map(ToString::to_string).collect(),
        };

        assert_eq!(
            pair(&schema_up_to_date(Some(&level(&[], &[])))),
            (Truth::True, Reason::UpToDate)
        );
        assert_eq!(
            pair(&schema_up_to_date(Some(&level(&[], &["8"])))),
            (Truth::False, Reason::PostPending)
        );
        assert_eq!(
            pair(&schema_up_to_date(Some(&level(&["7"], &["8"])))),
            (Truth::False, Reason::MigrationPending)
        );
        assert_eq!(pair(&schema_up_to_date(None)), (Truth::Unknown, Reason::NotObserved));
    }

    #[test]
    fn a_consumer_that_needs_more_than_runs_is_told() {
        let needs = registry(&json!({"requirements": [{"consumer": "ci", "minVersion": "1.2.0"}]}));

        assert_eq!(
            pair(&requirements_met(&needs, Some("1.2.0"))),
            (Truth::True, Reason::AsExpected)
        );
        assert_eq!(
            pair(&requirements_met(&needs, Some("1.1.9"))),
            (Truth::False, Reason::ConsumerNeedsNewer)
        );
        assert_eq!(
            pair(&requirements_met(&needs, None)),
            (Truth::Unknown, Reason::NotObserved)
        );
    }
}
