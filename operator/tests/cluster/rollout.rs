//! A new version reaches the pods of a Registry step by step, or does not.

use berth_operator::api::rollout::Phase;
use berth_operator::api::{Registry, RegistryRollout};
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::support::controllers::{Play, play};
use crate::support::{Fixture, production};

/// A roll-out of seconds.
fn quick(more: &Value) -> Value {
    let mut spec = production(&json!({"rollout": {
        "canary": {"bake": {"min": "0s", "max": "0s"}}, "analysis": {"interval": "0s"},
    }}));
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    spec
}

async fn ready() -> Fixture {
    let fixture = Fixture::new().await;
    fixture.create_credentials().await;
    fixture.create("images", &quick(&json!({}))).await.unwrap();
    fixture.pass_until_ready("images").await;
    fixture
}

fn phase(registry: &Registry) -> Phase {
    let status = registry.status.as_ref().unwrap();
    status.rollout.as_ref().map(|rollout| rollout.phase).unwrap_or_default()
}

async fn image(fixture: &Fixture, deployment: &str) -> String {
    let deployment: Deployment = fixture.get(deployment).await;
    deployment
        .spec
        .unwrap()
        .template
        .spec
        .unwrap()
        .containers
        .remove(0)
        .image
        .unwrap()
}

/// Passes and the controllers' part, until the roll-out is over.
async fn roll(fixture: &Fixture) -> Vec<Phase> {
    let mut phases = Vec::new();
    for _ in 0..30 {
        let registry = fixture.pass("images").await;
        phases.push(phase(&registry));
        if phase(&registry).is_final() {
            break;
        }
        play(fixture, "images", &Play::default()).await;
    }
    phases.dedup();
    phases
}

#[tokio::test]
async fn a_new_version_goes_to_a_canary_first_and_then_to_every_pod() {
    let fixture = ready().await;

    fixture
        .respec("images", &quick(&json!({"version": "0.2.0"})))
        .await
        .unwrap();
    let phases = roll(&fixture).await;

    assert_eq!(phases.last(), Some(&Phase::Completed), "{phases:?}");
    assert_eq!(image(&fixture, "images").await, "berth/berth-registry:0.2.0");
    let canary: Deployment = fixture.get("images-canary").await;
    assert_eq!(canary.spec.unwrap().replicas, Some(0));
    let record = fixture.list::<RegistryRollout>().await.remove(0);
    let status = record.status.clone().unwrap();
    assert_eq!(status.result, Some(Phase::Completed));
    let told: Vec<Phase> = status.timeline.iter().map(|entry| entry.phase).collect();
    assert_eq!(
        told,
        [
            Phase::Preflight,
            Phase::AwaitingLock,
            Phase::PreMigrating,
            Phase::CanaryDeploying,
            Phase::CanaryAnalyzing,
            Phase::Promoting,
            Phase::MainVerifying,
            Phase::Completed
        ],
        "{}",
        record.name_any()
    );
}
