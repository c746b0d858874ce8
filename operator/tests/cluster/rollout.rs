//! A new version reaches the pods of a Registry step by step, or does not.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::routing::post;
use axum::{Json, Router};
use berth_operator::api::conditions::ConditionType;
use berth_operator::api::rollout::Phase;
use berth_operator::api::{Registry, RegistryRollout};
use berth_operator::clock::Clock;
use berth_operator::context::Context;
use berth_operator::foreign::HTTPRoute;
use futures::TryStreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::jiff::SignedDuration;
use kube::ResourceExt;
use kube::api::{WatchEvent, WatchParams};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use crate::faults::{Canary, Judge};
use crate::post_migrations::lose_status;
use crate::support::controllers::{Play, play, run_pod};
use crate::support::{Fixture, condition, eventually, production};

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
    roll_by(fixture, &fixture.context).await
}

/// The same by another operator.
async fn roll_by(fixture: &Fixture, operator: &Arc<Context>) -> Vec<Phase> {
    let mut phases = Vec::new();
    for _ in 0..30 {
        let registry = fixture.pass_of(operator, "images").await;
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

async fn canary(fixture: &Fixture) -> Option<Deployment> {
    fixture.api::<Deployment>().get_opt("images-canary").await.unwrap()
}

#[tokio::test]
async fn nothing_is_left_of_a_canary_once_its_pods_are_gone() {
    let fixture = ready().await;

    fixture
        .respec("images", &quick(&json!({"version": "0.2.0"})))
        .await
        .unwrap();
    roll(&fixture).await;
    play(&fixture, "images", &Play::default()).await;
    fixture.pass("images").await;

    assert_eq!(canary(&fixture).await, None);
}

#[tokio::test]
async fn a_version_that_was_taken_back_has_no_canary_again_in_any_later_pass() {
    let fixture = ready().await;
    let mut operator = fixture.restarted();
    operator.witness = Arc::new(Judge(Canary::Bad));
    let operator = Arc::new(operator);

    fixture
        .respec("images", &quick(&json!({"version": "0.2.0"})))
        .await
        .unwrap();
    let phases = roll_by(&fixture, &operator).await;

    assert!(phases.contains(&Phase::CanaryDeploying), "{phases:?}");
    assert_eq!(phases.last(), Some(&Phase::RolledBack), "{phases:?}");
    // What every pass writes follows from the number of pods too.
    for replicas in [3, 4] {
        let spec = quick(&json!({"version": "0.2.0", "replicas": replicas}));
        fixture.respec("images", &spec).await.unwrap();
        for _ in 0..2 {
            let registry = fixture.pass_of(&operator, "images").await;
            play(&fixture, "images", &Play::default()).await;
            assert_eq!(phase(&registry), Phase::RolledBack);
            assert_eq!(canary(&fixture).await, None);
        }
    }
}

#[tokio::test]
async fn a_lost_status_takes_what_was_taken_back_and_what_has_ended_from_the_records() {
    let fixture = ready().await;
    let mut bad = fixture.restarted();
    bad.witness = Arc::new(Judge(Canary::Bad));
    let version = quick(&json!({"version": "0.2.0"}));
    fixture.respec("images", &version).await.unwrap();
    let phases = roll_by(&fixture, &Arc::new(bad)).await;
    assert_eq!(phases.last(), Some(&Phase::RolledBack), "{phases:?}");
    let before = fixture.get::<Registry>("images").await.status.unwrap();
    assert_eq!((before.refused.len(), before.history.len()), (1, 1));

    lose_status(&fixture).await;
    // Nobody would find anything bad of it now.
    roll(&fixture).await;

    let after = fixture.get::<Registry>("images").await.status.unwrap();
    let state = after.rollout.unwrap();
    assert_eq!((state.phase, state.reason.as_str()), (Phase::Failed, "VersionRefused"));
    assert_eq!(after.refused, before.refused);
    assert_eq!(
        (after.history.len(), &after.history[1..]),
        (2, before.history.as_slice())
    );
    assert_eq!(image(&fixture, "images").await, "berth/berth-registry:0.1.0");
    assert_eq!(canary(&fixture).await, None);
}

/// The events that a receiver on this machine has heard.
async fn receiver() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let heard = Arc::<Mutex<Vec<String>>>::default();
    let noted = Arc::clone(&heard);
    let hear = move |Json(told): Json<Value>| async move {
        let event = told["event"].as_str().unwrap_or_default().to_owned();
        noted.lock().unwrap().push(event);
    };
    let router = Router::new().route("/", post(hear));
    let serving = TaskTracker::new();
    serving.spawn(async move { axum::serve(listener, router).await });
    (url, heard)
}

#[tokio::test]
async fn phases_that_one_pass_goes_through_are_told_each() {
    let fixture = ready().await;
    let (url, heard) = receiver().await;
    fixture
        .create_secret("hook", &[("url", url.as_str()), ("key", "0123456789abcdef")])
        .await;
    let notifications = json!([{"name": "hook", "kind": "Webhook", "secretRef": {"name": "hook"}}]);

    fixture
        .respec(
            "images",
            &quick(&json!({"version": "0.2.0", "notifications": notifications})),
        )
        .await
        .unwrap();
    let phases = roll(&fixture).await;

    assert_eq!(phases.last(), Some(&Phase::Completed), "{phases:?}");
    let expected = ["Requested", "Started", "CanaryUp", "Promoted", "Completed"];
    eventually("every event", async || {
        let heard = heard.lock().unwrap();
        expected
            .iter()
            .all(|event| heard.iter().any(|heard| heard == event))
            .then_some(())
    })
    .await;
    let mut once = heard.lock().unwrap().clone();
    once.sort();
    let told = once.len();
    once.dedup();
    assert_eq!(once.len(), told, "an event was told twice: {once:?}");
}

/// The Services that the Gateway sends requests to, with their weights.
async fn backends(fixture: &Fixture) -> Vec<(String, i64)> {
    let route: HTTPRoute = fixture.get("images").await;
    let value = serde_json::to_value(&route).unwrap();
    let backends = value["spec"]["rules"][0]["backendRefs"].as_array().unwrap();
    let each = backends.iter().map(|backend| {
        let name = backend["name"].as_str().unwrap().to_owned();
        (name, backend["weight"].as_i64().unwrap())
    });
    each.collect()
}

fn last_of(seen: &[(Phase, Vec<(String, i64)>)], phase: Phase) -> Option<&Vec<(String, i64)>> {
    seen.iter().rev().find(|(at, _)| *at == phase).map(|(_, to)| to)
}

/// Passes and the controllers' part, until the roll-out is over: what the Gateway did in each phase.
async fn roll_behind_a_gateway(fixture: &Fixture, operator: &Arc<Context>) -> Vec<(Phase, Vec<(String, i64)>)> {
    let mut seen = Vec::new();
    for _ in 0..30 {
        let registry = fixture.pass_of(operator, "images").await;
        seen.push((phase(&registry), backends(fixture).await));
        if phase(&registry).is_final() {
            break;
        }
        play(fixture, "images", &Play::default()).await;
    }
    seen.dedup();
    seen
}

/// An operator by whose clock a Service is old as soon as it is there.
fn later(fixture: &Fixture, canary: Canary) -> Arc<Context> {
    let mut operator = fixture.restarted();
    operator.clock = Clock::Fixed(Clock::System.now() + Duration::from_mins(10));
    operator.witness = Arc::new(Judge(canary));
    Arc::new(operator)
}

fn behind_a_gateway(version: &str) -> Value {
    quick(&json!({"version": version, "exposure": {
        "gateway": {"parentRefs": [{"name": "edge"}], "hostnames": ["registry.example.com"]},
    }}))
}

async fn ready_behind_a_gateway() -> Fixture {
    let fixture = Fixture::new().await;
    fixture.create_credentials().await;
    fixture.create("images", &behind_a_gateway("0.1.0")).await.unwrap();
    fixture.pass_until_ready("images").await;
    fixture
}

#[tokio::test]
async fn a_gateway_sends_the_canary_its_share_while_it_is_measured() {
    let fixture = ready_behind_a_gateway().await;
    let alike = vec![("images".to_owned(), 1)];
    assert_eq!(backends(&fixture).await, alike);
    let operator = later(&fixture, Canary::Good);

    fixture.respec("images", &behind_a_gateway("0.2.0")).await.unwrap();
    let seen = roll_behind_a_gateway(&fixture, &operator).await;

    let split = vec![("images-main".to_owned(), 90), ("images-canary".to_owned(), 10)];
    assert_eq!(last_of(&seen, Phase::CanaryAnalyzing), Some(&split), "{seen:?}");
    assert_eq!(last_of(&seen, Phase::Promoting), Some(&alike), "{seen:?}");
    assert_eq!(seen.last(), Some(&(Phase::Completed, alike)), "{seen:?}");

    // From the second roll-out on there are Services to point it to before there is a canary.
    fixture.respec("images", &behind_a_gateway("0.3.0")).await.unwrap();
    let seen = roll_behind_a_gateway(&fixture, &operator).await;

    let spared = vec![("images-main".to_owned(), 100)];
    assert_eq!(last_of(&seen, Phase::CanaryDeploying), Some(&spared), "{seen:?}");
    assert_eq!(last_of(&seen, Phase::CanaryAnalyzing), Some(&split), "{seen:?}");
}

#[tokio::test]
async fn a_gateway_sends_a_canary_that_is_taken_back_nothing_more() {
    let fixture = ready_behind_a_gateway().await;
    let operator = later(&fixture, Canary::Bad);

    fixture.respec("images", &behind_a_gateway("0.2.0")).await.unwrap();
    let seen = roll_behind_a_gateway(&fixture, &operator).await;

    let spared = vec![("images-main".to_owned(), 100)];
    let backing: Vec<_> = seen.iter().filter(|(at, _)| *at == Phase::RollingBack).collect();
    assert!(
        !backing.is_empty() && backing.iter().all(|(_, to)| *to == spared),
        "{seen:?}"
    );
    assert_eq!(
        seen.last(),
        Some(&(Phase::RolledBack, vec![("images".to_owned(), 1)])),
        "{seen:?}"
    );
}

/// A version with a migration for the end of a soak.
fn with_last_migration() -> Play {
    let contract = json!({
        "version": "0.2.0", "problems": [], "schema": {"min_level": "1"},
        "database": {"pending_pre": [], "pending_post": ["2"]},
    });
    Play {
        preflight: Some(contract),
        ..Play::default()
    }
}

#[tokio::test]
async fn a_pod_that_ends_again_and_again_in_the_soak_brings_the_old_version_back_and_the_record_says_why() {
    let fixture = ready().await;
    let version = quick(&json!({"version": "0.2.0"}));
    fixture.respec("images", &version).await.unwrap();
    for _ in 0..30 {
        if phase(&fixture.pass("images").await) == Phase::Soaking {
            break;
        }
        play(&fixture, "images", &with_last_migration()).await;
    }
    let now = fixture.context.clock.now();
    let long_ago = now.checked_sub(SignedDuration::from_hours(7)).unwrap();
    for (ends, at, why) in [(2, long_ago, "they are forgotten"), (3, now, "one end is no proof")] {
        run_pod(&fixture, "images", "images-1", ends, at).await;
        assert_eq!(phase(&fixture.pass("images").await), Phase::Soaking, "{why}");
    }

    run_pod(&fixture, "images", "images-1", 4, now).await;
    assert_eq!(phase(&fixture.pass("images").await), Phase::RollingBack);
    let phases = roll(&fixture).await;

    assert_eq!(phases.last(), Some(&Phase::RolledBack), "{phases:?}");
    assert_eq!(image(&fixture, "images").await, "berth/berth-registry:0.1.0");
    let record = fixture.list::<RegistryRollout>().await.remove(0).status.unwrap();
    assert_eq!(
        (record.result, record.reason.as_str()),
        (Some(Phase::RolledBack), "PodsRestarting")
    );
    let back = record
        .timeline
        .iter()
        .find(|entry| entry.phase == Phase::RollingBack)
        .unwrap();
    assert!(back.message.contains("images-1"), "{back:?}");
}

/// The Registry after each write since it was `first`, as whoever watches it sees it, until it is `last`.
async fn seen(fixture: &Fixture, first: &Registry, last: &Registry) -> Vec<Registry> {
    let only = WatchParams::default().fields("metadata.name=images");
    let since = first.resource_version().unwrap();
    let events = fixture.api::<Registry>().watch(&only, &since).await.unwrap();
    let (mut events, mut seen) = (std::pin::pin!(events), Vec::new());
    while seen.last() != Some(last) {
        let event = events.try_next().await.unwrap();
        if let WatchEvent::Modified(registry) = event.expect("the last one is seen") {
            seen.push(registry);
        }
    }
    seen
}

#[tokio::test]
async fn no_status_says_of_a_phase_what_was_so_in_the_one_before() {
    let fixture = ready().await;
    let first: Registry = fixture.get("images").await;
    let mut paused = quick(&json!({"version": "0.2.0"}));
    paused["rollout"]["paused"] = json!(true);
    fixture.respec("images", &paused).await.unwrap();
    assert_eq!(phase(&fixture.pass("images").await), Phase::Paused);
    fixture
        .respec("images", &quick(&json!({"version": "0.2.0"})))
        .await
        .unwrap();
    roll(&fixture).await;

    let last: Registry = fixture.get("images").await;
    assert_eq!(phase(&last), Phase::Completed);
    assert_eq!(condition(&last, ConditionType::Ready).0, "True");
    let mut phases = Vec::new();
    for registry in seen(&fixture, &first, &last).await {
        let (phase, word) = (phase(&registry), registry.status.clone().unwrap().phase);
        let (is_ready, is_paused) = (
            condition(&registry, ConditionType::Ready).0 == "True",
            condition(&registry, ConditionType::Paused).0 == "True",
        );
        phases.push(phase);
        if phase == Phase::Idle {
            continue;
        }
        assert_eq!(is_paused, phase == Phase::Paused, "{phase:?}: {:?}", registry.status);
        assert_eq!(is_ready, phase == Phase::Completed, "{phase:?}: {:?}", registry.status);
        let expected = if is_ready { "Ready" } else { phase.as_str() };
        assert_eq!(word, expected, "{:?}", registry.status);
    }
    assert!(
        phases.contains(&Phase::Paused) && phases.contains(&Phase::PreMigrating),
        "{phases:?}"
    );
}
