//! What each stage says.

use k8s_openapi::jiff::SignedDuration;
use serde_json::json;

use super::*;
use crate::api::conditions::{ConditionType, MESSAGE_BYTES, Reason, find};
use crate::management::{Database, Schema};
use crate::registry::fixtures::{production, registry};
use crate::registry::trouble::Needs;

fn now() -> Timestamp {
    Timestamp::from_second(1000).unwrap()
}

fn deployment(wanted: i32, updated: i32, ready: i32) -> Box<Deployment> {
    let status =
        json!({"observedGeneration": 1, "replicas": updated, "updatedReplicas": updated, "readyReplicas": ready});
    let deployment = json!({
        "metadata": {"generation": 1},
        "spec": {"replicas": wanted, "selector": {}, "template": {}},
        "status": status,
    });
    Box::new(serde_json::from_value(deployment).unwrap())
}

fn deployed(wanted: i32, updated: i32, ready: i32) -> Stage {
    Stage::Deployed {
        deployment: deployment(wanted, updated, ready),
        trouble: None,
    }
}

fn said(status: &RegistryStatus, type_: ConditionType) -> (String, String) {
    let condition = find(&status.conditions, type_).unwrap();
    (condition.status.clone(), condition.reason.clone())
}

fn pair(status: &str, reason: &str) -> (String, String) {
    (status.to_owned(), reason.to_owned())
}

fn report(pending_pre: &[&str]) -> Report {
    let pending_pre = pending_pre.iter().map(|&id| id.to_owned()).collect();
    let schema = Schema {
        applied: "3".to_owned(),
        required: "2".to_owned(),
        pending_pre,
        pending_post: Vec::new(),
    };
    Report {
        version: "0.1.0".to_owned(),
        database: Database { schema },
    }
}

#[test]
fn every_condition_is_there_from_the_first_pass_on_and_speaks_about_the_generation() {
    let status = status(&registry(&json!({})), &deployed(1, 0, 0), Seen::default(), now());

    let types: Vec<_> = status
        .conditions
        .iter()
        .map(|condition| condition.type_.as_str())
        .collect();
    assert_eq!(types, ConditionType::ALL.map(ConditionType::as_str));
    assert!(
        status
            .conditions
            .iter()
            .all(|condition| condition.observed_generation == Some(3))
    );
    assert_eq!(said(&status, ConditionType::Progressing), pair("True", "RollingOut"));
}

#[test]
fn a_complete_rollout_is_ready_and_migrated() {
    let status = status(&registry(&json!({})), &deployed(1, 1, 1), Seen::default(), now());

    assert_eq!(said(&status, ConditionType::Ready), pair("True", "AsExpected"));
    assert_eq!(said(&status, ConditionType::Progressing), pair("False", "AsExpected"));
    assert_eq!(said(&status, ConditionType::Degraded), pair("False", "AsExpected"));
    assert_eq!(said(&status, ConditionType::DatabaseMigrated), pair("True", "Migrated"));
    assert_eq!((status.replicas, status.ready_replicas), (1, 1));
}

#[test]
fn the_same_pass_a_minute_later_leaves_the_same_status() {
    let mut registry = registry(&json!({}));
    let first = status(
        &registry,
        &deployed(1, 1, 1),
        Seen {
            report: Some(&report(&[])),
            ..Seen::default()
        },
        now(),
    );
    registry.status = Some(first.clone());

    let later = status(
        &registry,
        &deployed(1, 1, 1),
        Seen::default(),
        now() + SignedDuration::from_secs(60),
    );

    assert_eq!(first, later);
}

#[test]
fn what_pods_said_goes_with_the_image_that_they_ran() {
    let with_image = |image: &str| {
        let mut deployment = deployment(1, 1, 1);
        let pod = json!({"containers": [{"name": "registry", "image": image}]});
        deployment.spec.as_mut().unwrap().template.spec = serde_json::from_value(pod).unwrap();
        deployment
    };
    let after = |image: &str| {
        let report = report(&[]);
        let mut registry = registry(&json!({}));
        let answered = Seen {
            report: Some(&report),
            ..Seen::default()
        };
        registry.status = Some(status(&registry, &deployed(1, 1, 1), answered, now()));
        let (running, deployment) = (with_image("r:1"), with_image(image));
        let seen = Seen {
            deployment: Some(&running),
            ..Seen::default()
        };
        let stage = Stage::Deployed {
            deployment,
            trouble: None,
        };
        status(&registry, &stage, seen, now())
    };

    let (same, other) = (after("r:1"), after("r:2"));

    assert!(same.version.is_some() && same.schema.is_some());
    assert_eq!((other.version, other.schema), (None, None));
}

#[test]
fn a_failed_migration_says_that_the_old_pods_serve_why_it_failed_and_how_to_start_another() {
    let stage = Stage::MigrationFailed {
        job: "images-mig-pre-1".to_owned(),
        cause: "permission denied".to_owned(),
    };

    let status = status(&production(&json!({})), &stage, Seen::default(), now());

    assert_eq!(
        said(&status, ConditionType::DatabaseMigrated),
        pair("False", "MigrationFailed")
    );
    assert_eq!(said(&status, ConditionType::Degraded), pair("True", "MigrationFailed"));
    assert_eq!(said(&status, ConditionType::Ready), pair("False", "MigrationFailed"));
    let message = &find(&status.conditions, ConditionType::DatabaseMigrated)
        .unwrap()
        .message;
    for part in [
        "go on serving",
        "kubectl delete job -n team images-mig-pre-1",
        "permission denied",
    ] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
}

#[test]
fn a_long_cause_leaves_room_for_the_remedy() {
    let stage = Stage::MigrationFailed {
        job: "images-mig-pre-1".to_owned(),
        cause: "x".repeat(5000),
    };

    let status = status(&production(&json!({})), &stage, Seen::default(), now());

    let message = &find(&status.conditions, ConditionType::Degraded).unwrap().message;
    assert!(
        message.len() <= MESSAGE_BYTES && message.contains("kubectl delete job"),
        "{message}"
    );
}

#[test]
fn pods_that_miss_migrations_are_not_ready() {
    let report = report(&["4"]);

    let seen = Seen {
        report: Some(&report),
        ..Seen::default()
    };
    let mut registry = production(&json!({}));
    let told = status(&registry, &deployed(2, 2, 2), seen, now());

    assert_eq!(
        said(&told, ConditionType::DatabaseMigrated),
        pair("False", "MigrationPending")
    );
    assert_eq!(said(&told, ConditionType::Ready), pair("False", "MigrationPending"));
    assert_eq!(told.schema.as_ref().unwrap().pending_pre, ["4"]);

    let deployment = deployment(2, 2, 2);
    let unanswered = Seen {
        deployment: Some(&deployment),
        ..Seen::default()
    };
    registry.status = Some(told.clone());
    let later = status(&registry, &deployed(2, 2, 2), unanswered, now());
    assert_eq!(later, told, "an answer that is missing once changes nothing");
}

#[test]
fn a_refused_spec_is_degraded_with_all_problems() {
    let refusal = Refusal {
        reason: Reason::InvalidSpec,
        problems: vec!["one".to_owned(), "two".to_owned()],
    };

    let status = status(&registry(&json!({})), &Stage::Refused(refusal), Seen::default(), now());

    assert_eq!(
        find(&status.conditions, ConditionType::Degraded).unwrap().message,
        "one; two"
    );
    assert_eq!(
        said(&status, ConditionType::DatabaseMigrated),
        pair("Unknown", "NotObserved")
    );
}

#[test]
fn a_pod_that_only_needs_time_does_not_degrade_the_registry() {
    let trouble = Trouble {
        reason: Reason::RollingOut,
        message: "no node yet".to_owned(),
        needs: Needs::Time,
    };
    let stage = Stage::Deployed {
        deployment: deployment(1, 1, 0),
        trouble: Some(trouble),
    };

    let status = status(&registry(&json!({})), &stage, Seen::default(), now());

    assert_eq!(said(&status, ConditionType::Degraded), pair("False", "AsExpected"));
    assert_eq!(
        find(&status.conditions, ConditionType::Progressing).unwrap().message,
        "no node yet"
    );
}

#[test]
fn the_address_is_the_load_balancers_once_there_is_one() {
    let service = |status: serde_json::Value| -> Service {
        serde_json::from_value(json!({"spec": {"ports": [{"port": 5000}]}, "status": status})).unwrap()
    };
    let url = |service: &Service| endpoints::of(&registry(&json!({})), service).unwrap().url;

    assert_eq!(url(&service(json!({}))), "http://images.team.svc:5000");
    assert_eq!(
        url(&service(json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}))),
        "http://192.0.2.1:5000"
    );
}

#[test]
fn pods_that_start_are_a_rollout_and_pods_that_are_lost_later_are_too_few() {
    let mut registry = registry(&json!({}));
    let starting = status(&registry, &deployed(1, 1, 0), Seen::default(), now());
    registry.status = Some(status(&registry, &deployed(1, 1, 1), Seen::default(), now()));

    let lost = status(&registry, &deployed(1, 1, 0), Seen::default(), now());

    assert_eq!(said(&starting, ConditionType::Progressing), pair("True", "RollingOut"));
    assert_eq!(said(&lost, ConditionType::Progressing), pair("True", "TooFewReplicas"));
    assert_eq!(said(&lost, ConditionType::DatabaseMigrated), pair("True", "Migrated"));
}

#[test]
fn a_version_that_was_taken_back_leaves_a_database_that_has_what_the_one_before_needs() {
    let mut registry = production(&json!({}));
    let at = |phase: &str, reason: &str| {
        let state = json!({
            "id": "r-1", "from": {"image": "berth:1", "revision": "a"}, "to": {"image": "berth:2", "revision": "b"},
            "trigger": "Version", "strategy": "Canary", "phase": phase, "phaseSince": "2026-01-01T00:00:00Z",
            "startedAt": "2026-01-01T00:00:00Z", "reason": reason, "message": "why",
        });
        Stage::Rolling {
            state: serde_json::from_value(state).unwrap(),
            main: Some(deployment(2, 2, 2)),
            trouble: None,
        }
    };

    registry.status = Some(status(
        &registry,
        &at("PreMigrating", "Migrating"),
        Seen::default(),
        now(),
    ));
    let migrating = said(registry.status.as_ref().unwrap(), ConditionType::DatabaseMigrated);
    let after = status(&registry, &at("RolledBack", "CanaryFailing"), Seen::default(), now());

    assert_eq!(migrating, pair("Unknown", "Migrating"));
    assert_eq!(said(&after, ConditionType::DatabaseMigrated), pair("True", "Migrated"));
    assert_eq!(said(&after, ConditionType::Ready), pair("False", "CanaryFailing"));
}
