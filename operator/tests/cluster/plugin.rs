//! `kubectl berth` as people start it, against an API server.
//!
//! There is no kubelet here, so nothing has a log: of `logs` only what it says then can be seen.

use std::process::Stdio;
use std::time::Duration;

use berth_operator::api::rollout::Phase;
use berth_operator::api::{Registry, RegistryApproval};
use k8s_openapi::api::coordination::v1::Lease;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::support::controllers::{Play, play, run_pod};
use crate::support::{Fixture, kubeconfig_path, production};

/// How long a command may take.
const LIMIT: Duration = Duration::from_mins(2);

fn start(fixture: &Fixture, words: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_kubectl-berth"))
        .args(["--kubeconfig", &kubeconfig_path(), "--namespace", &fixture.namespace])
        .args(["--output", "json"])
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// What it printed, or what it said when it failed.
async fn end(child: Child) -> Result<String, String> {
    let ended = tokio::time::timeout(LIMIT, child.wait_with_output()).await;
    let output = ended.expect("it comes to an end").unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() {
        Ok(text(output.stdout))
    } else {
        Err(text(output.stderr))
    }
}

async fn berth(fixture: &Fixture, words: &[&str]) -> Result<String, String> {
    end(start(fixture, words)).await
}

async fn holder(fixture: &Fixture) -> Option<String> {
    let lock: Lease = fixture.get("berth-rollout-shop").await;
    lock.spec.unwrap().holder_identity.filter(|holder| !holder.is_empty())
}

#[tokio::test]
async fn a_lock_that_another_holds_is_waited_for_and_freed_by_force() {
    let fixture = Fixture::new().await;
    let hold = |id: &'static str, wait: &'static str| {
        [
            "lock",
            "hold",
            "shop",
            "--reason",
            "stocktaking",
            "--id",
            id,
            "--wait",
            wait,
        ]
    };
    berth(&fixture, &hold("one", "0s")).await.unwrap();

    let refused = berth(&fixture, &hold("two", "0s")).await.unwrap_err();
    assert!(
        refused.contains("cannot be had") && refused.contains("external/one"),
        "{refused}"
    );
    assert_eq!(holder(&fixture).await.as_deref(), Some("external/one"));

    let patient = start(&fixture, &hold("two", "2m"));
    let free = [
        "lock",
        "release",
        "shop",
        "--reason",
        "its pipeline is gone",
        "--id",
        "three",
    ];
    let refused = berth(&fixture, &free).await.unwrap_err();
    assert!(
        refused.contains("held by external/one") && refused.contains("--force"),
        "{refused}"
    );
    berth(&fixture, &[&free[..], &["--force"]].concat()).await.unwrap();

    let shown: Value = serde_json::from_str(&end(patient).await.unwrap()).unwrap();
    assert!(shown.to_string().contains("external/two"), "{shown}");
    assert_eq!(holder(&fixture).await.as_deref(), Some("external/two"));
}

fn spec(version: &str, more: &Value) -> Value {
    let mut rollout = json!({"analysis": {"interval": "0s"}});
    for (key, value) in more.as_object().unwrap() {
        rollout[key] = value.clone();
    }
    production(&json!({"version": version, "rollout": rollout}))
}

fn at(registry: &Registry) -> Phase {
    let state = registry.status.as_ref().and_then(|status| status.rollout.as_ref());
    state.map(|state| state.phase).unwrap_or_default()
}

/// A Registry whose roll-out has come to `wanted`.
async fn rolled_to(wanted: Phase, more: &Value) -> Fixture {
    let fixture = Fixture::new().await;
    fixture.create_credentials().await;
    fixture.create("images", &spec("0.1.0", more)).await.unwrap();
    fixture.pass_until_ready("images").await;
    fixture.respec("images", &spec("0.2.0", more)).await.unwrap();
    for _ in 0..30 {
        if at(&fixture.pass("images").await) == wanted {
            return fixture;
        }
        play(&fixture, "images", &Play::default()).await;
    }
    panic!("it did not come to {wanted:?}");
}

#[tokio::test]
async fn a_roll_out_that_somebody_rejects_goes_back() {
    let asks = json!({"approval": {"before": ["Main"]}, "canary": {"bake": {"min": "0s", "max": "0s"}}});
    let fixture = rolled_to(Phase::AwaitingApproval, &asks).await;

    berth(
        &fixture,
        &["rollout", "reject", "images", "--reason", "not before the sale"],
    )
    .await
    .unwrap();
    let registry = fixture.pass("images").await;

    let state = registry.status.as_ref().unwrap().rollout.clone().unwrap();
    assert_eq!(
        (state.phase, state.reason.as_str()),
        (Phase::RollingBack, "ApprovalRejected")
    );
    assert!(state.message.contains("not before the sale"), "{}", state.message);
    let said = fixture.list::<RegistryApproval>().await.remove(0).spec;
    assert!(state.message.contains(&said.approved_by), "{}", state.message);
}

#[tokio::test]
async fn a_step_that_somebody_skips_is_over_and_the_next_one_begins() {
    let steps = json!({"canary": {"steps": [25, 50], "bake": {"min": "1h", "max": "2h"}}});
    let fixture = rolled_to(Phase::CanaryAnalyzing, &steps).await;

    berth(&fixture, &["rollout", "skip-step", "images", "--reason", "seen enough"])
        .await
        .unwrap();
    let registry = fixture.pass("images").await;

    let state = registry.status.unwrap().rollout.unwrap();
    assert_eq!((state.phase, state.step), (Phase::CanaryAnalyzing, 1));
    let skipped = state.decisions.iter().find(|taken| taken.kind == "skip-step").unwrap();
    assert!(skipped.reason.contains("seen enough"), "{skipped:?}");
}

#[tokio::test]
async fn logs_that_cannot_be_had_are_refused_in_words() {
    let fixture = rolled_to(
        Phase::CanaryAnalyzing,
        &json!({"canary": {"bake": {"min": "1h", "max": "2h"}}}),
    )
    .await;

    for more in [&[][..], &["--follow"]] {
        let none = berth(&fixture, &[&["logs", "images"], more].concat())
            .await
            .unwrap_err();
        assert!(none.contains("no pod has a container that ran yet"), "{none}");
        let other = berth(&fixture, &[&["logs", "imagse"], more].concat())
            .await
            .unwrap_err();
        assert!(other.contains("images"), "{other}");
    }
    let missing = berth(&fixture, &["logs", "images", "--pod", "images-0"])
        .await
        .unwrap_err();
    assert!(missing.contains("images-0"), "{missing}");

    // Its node is not there, so the API server has nobody to ask.
    run_pod(&fixture, "images", "images-1", 0, fixture.context.clock.now()).await;
    for more in [&[][..], &["--follow"]] {
        let lost = berth(&fixture, &[&["logs", "images"], more].concat())
            .await
            .unwrap_err();
        assert!(lost.contains("lost-node"), "{lost}");
    }
}
