//! Kubernetes events: one at each transition of a condition, none while it stays; and what no condition can say. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::events::{Event, EventType};

use crate::api::conditions::{self, ConditionType};
use crate::error::Error;

/// The events that tell how `before` became `after`.
///
/// A transition is another status, or another reason for it. A changed message alone is none.
pub fn transitions(before: &[Condition], after: &[Condition]) -> Vec<Event> {
    let told = [
        (ConditionType::Progressing, EventType::Normal, "Progress"),
        (ConditionType::Degraded, EventType::Warning, "Diagnose"),
        (ConditionType::Ready, EventType::Normal, "Serve"),
    ];
    told.into_iter()
        .filter_map(|(type_, severity, action)| {
            let now = conditions::find(after, type_).filter(|now| now.status == "True")?;
            let same = |before: &Condition| before.status == now.status && before.reason == now.reason;
            let changed = !conditions::find(before, type_).is_some_and(same);
            changed.then(|| event(type_, severity, action, now))
        })
        .collect()
}

/// The event about a pass that failed so that no status could be written.
pub fn of_failure(failed: &Error) -> Option<Event> {
    matches!(failed, Error::OlderDefinition { .. }).then(|| Event {
        type_: EventType::Warning,
        reason: failed.reason().to_owned(),
        note: Some(failed.to_string()),
        action: "Diagnose".to_owned(),
        secondary: None,
    })
}

fn event(type_: ConditionType, severity: EventType, action: &str, now: &Condition) -> Event {
    let reason = if type_ == ConditionType::Ready {
        type_.as_str().to_owned()
    } else {
        now.reason.clone()
    };
    Event {
        type_: severity,
        reason,
        note: Some(now.message.clone()),
        action: action.to_owned(),
        secondary: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

    fn condition(type_: ConditionType, status: &str, reason: &str, message: &str) -> Condition {
        Condition {
            type_: type_.as_str().to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            observed_generation: None,
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        }
    }

    #[test]
    fn a_failure_is_told_once_as_a_warning() {
        let fine = [condition(ConditionType::Degraded, "False", "AsExpected", "")];
        let failed = [condition(ConditionType::Degraded, "True", "MigrationFailed", "why")];

        let first = transitions(&fine, &failed);

        assert_eq!(
            (first.len(), first[0].type_, first[0].reason.as_str()),
            (1, EventType::Warning, "MigrationFailed")
        );
        assert!(transitions(&failed, &failed).is_empty());
    }

    #[test]
    fn another_message_of_the_same_failure_is_no_event() {
        let before = [condition(ConditionType::Degraded, "True", "PodsCrash", "code 1")];
        let after = [condition(ConditionType::Degraded, "True", "PodsCrash", "code 2")];

        assert!(transitions(&before, &after).is_empty());
    }

    #[test]
    fn becoming_ready_is_told() {
        let after = [condition(ConditionType::Ready, "True", "AsExpected", "1 pod serves")];

        assert_eq!(transitions(&[], &after)[0].reason, "Ready");
    }
}
