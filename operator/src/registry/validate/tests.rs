//! What is refused, with which words, and what the rest becomes.

use k8s_openapi::api::apps::v1::Deployment;
use serde_json::json;

use super::*;
use crate::registry::fixtures::{defaults, observed, production, registry, valid};

fn refusal(registry: &Registry, observed: &Observed) -> Refusal {
    validate(registry, observed, &defaults()).unwrap_err()
}

#[test]
fn an_empty_spec_is_one_replica_of_the_operators_version_on_a_claimed_volume() {
    let valid = valid(&registry(&json!({})));

    assert_eq!(valid.image.reference, "berth/berth-registry:0.1.0");
    assert_eq!(valid.replicas, 1);
    assert_eq!(
        valid.volume,
        Some(Volume::Claimed {
            name: "images-data".to_owned(),
            size: "10Gi".to_owned(),
            storage_class: None
        })
    );
}

#[test]
fn postgres_and_s3_make_two_replicas_without_a_volume() {
    let valid = valid(&production(&json!({})));

    assert_eq!(valid.replicas, 2);
    assert_eq!(valid.volume, None);
}

#[test]
fn s3_with_sqlite_still_has_a_volume() {
    let mut registry = production(&json!({}));
    registry.spec.database = None;

    assert!(valid(&registry).volume.is_some());
}

#[test]
fn a_digest_wins_over_a_tag() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let valid = valid(&registry(
        &json!({"image": {"repository": "r.example/x", "tag": "1", "digest": digest}}),
    ));

    assert_eq!(valid.image.reference, format!("r.example/x@{digest}"));
}

#[test]
fn two_replicas_on_a_volume_are_refused_with_the_remedy() {
    let refusal = refusal(&registry(&json!({"replicas": 2})), &observed());

    assert_eq!(refusal.reason, Reason::InvalidSpec);
    assert!(
        refusal.problems[0].contains("set database.postgres and a bucket"),
        "{refusal:?}"
    );
}

#[test]
fn everything_that_is_wrong_with_the_spec_is_said_at_once() {
    let spec = json!({"replicas": 2, "config": {"data_dir": "/x", "http": {"drain_timeout": "soon"}}});

    assert_eq!(refusal(&registry(&spec), &observed()).problems.len(), 3);
}

#[test]
fn a_secret_that_is_not_there_is_refused_until_it_appears() {
    let mut observed = observed();
    observed.secrets.remove("db");

    let refusal = refusal(&production(&json!({})), &observed);

    assert_eq!(refusal.reason, Reason::SecretMissing);
    assert_eq!(refusal.problems.len(), 1, "{refusal:?}");
}

#[test]
fn a_deployment_of_somebody_else_is_not_taken_over() {
    let observed = Observed {
        deployment: Some(Deployment::default()),
        ..observed()
    };

    let refusal = refusal(&registry(&json!({})), &observed);

    assert_eq!(refusal.reason, Reason::NameTaken);
    assert!(
        refusal.problems[0].starts_with("Deployment images exists"),
        "{refusal:?}"
    );
}

#[test]
fn a_claim_that_outlived_its_registry_keeps_its_larger_size() {
    let claim: PersistentVolumeClaim = serde_json::from_value(json!({
        "spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "50Gi"}}}
    }))
    .unwrap();
    let observed = Observed {
        claim: Some(claim),
        ..observed()
    };
    let registry = registry(&json!({"storage": {"filesystem": {"volumeClaim": {"storageClassName": "slow"}}}}));

    let valid = validate(&registry, &observed, &defaults()).unwrap();

    let Some(Volume::Claimed {
        size, storage_class, ..
    }) = valid.volume
    else {
        panic!("{:?}", valid.volume)
    };
    assert_eq!((size.as_str(), storage_class.as_deref()), ("50Gi", Some("fast")));
}

#[test]
fn an_emptied_generated_secret_is_refused_with_the_way_to_a_new_one() {
    let mut observed = observed();
    observed.secrets.insert("images-http".to_owned(), BTreeMap::new());

    let refusal = refusal(&registry(&json!({})), &observed);

    assert!(refusal.problems[0].contains("delete the Secret"), "{refusal:?}");
}

#[test]
fn a_gate_that_cannot_fail_or_cannot_pass_is_refused_before_anything_moves() {
    let gate = |analysis| registry(&json!({"rollout": {"analysis": analysis}}));
    let apdex = |satisfied: f64, min: f64| json!({"apdex": [{"class": "manifest_read", "satisfied": satisfied, "tolerated": 1.0, "min": min}]});

    let deaf = refusal(&gate(json!({"errorRatio": {"max": 1.0}})), &observed());
    let impossible = refusal(&gate(json!({"errorRatio": {"max": 0.0}})), &observed());
    let unmeasurable = refusal(&gate(apdex(0.3, 0.9)), &observed());
    let slow = refusal(&gate(apdex(0.5, 0.0)), &observed());

    assert_eq!(deaf.reason, Reason::InvalidSpec);
    assert!(deaf.problems[0].contains("lower errorRatio.max"), "{deaf:?}");
    assert!(
        impossible.problems[0].contains("raise errorRatio.max"),
        "{impossible:?}"
    );
    assert!(unmeasurable.problems[0].contains("0.3"), "{unmeasurable:?}");
    assert!(slow.problems[0].contains("raise min"), "{slow:?}");
    valid(&gate(apdex(0.5, 0.9)));
}
