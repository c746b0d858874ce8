//! What Argo CD and Flux make of a Registry: the shipped scripts in a Lua interpreter, and kstatus by its rules.

use berth_operator::api::Registry;
use mlua::{Lua, LuaSerdeExt};
use serde_json::{Value, json};

use crate::support::{Fixture, controllers, production};

fn script(name: &str) -> String {
    let path = format!("{}/../charts/berth/argocd/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What a script gives for an object, as Argo CD runs it: the object is the global `obj`.
fn run(name: &str, object: &Value) -> Value {
    let lua = Lua::new();
    // Without a null: Argo CD leaves out what is not there.
    let options = mlua::serde::SerializeOptions::new()
        .serialize_none_to_null(false)
        .serialize_unit_to_null(false);
    let object = lua.to_value_with(object, options).unwrap();
    lua.globals().set("obj", object).unwrap();
    let given = lua.load(script(name)).eval::<mlua::Value>().unwrap();
    lua.from_value(given).unwrap()
}

fn health(name: &str, object: &Value) -> String {
    let given = run(name, object);
    assert!(given["message"].is_string(), "{given}");
    given["status"].as_str().unwrap().to_owned()
}

/// The rules of kstatus for a kind that it does not know, in their order.
fn kstatus(object: &Value) -> &'static str {
    let is = |type_: &str, status: &str| {
        let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
        conditions
            .clone()
            .any(|condition| condition["type"] == type_ && condition["status"] == status)
    };
    let (metadata, status) = (&object["metadata"], &object["status"]);
    if metadata["deletionTimestamp"].is_string() {
        return "Terminating";
    }
    if status["observedGeneration"].is_number() && status["observedGeneration"] != metadata["generation"] {
        return "InProgress";
    }
    match () {
        () if is("Reconciling", "True") => "InProgress",
        () if is("Stalled", "True") => "Failed",
        () if is("Ready", "False") || is("Ready", "Unknown") => "InProgress",
        () => "Current",
    }
}

/// A Registry at generation 2 with these conditions, each `Type` or `Type=False`, and a roll-out in that phase.
fn registry(conditions: &[&str], phase: Option<&str>) -> Value {
    let conditions: Vec<Value> = conditions
        .iter()
        .map(|condition| {
            let (type_, status) = condition.split_once('=').unwrap_or((condition, "True"));
            json!({"type": type_, "status": status, "reason": "R", "message": "m"})
        })
        .collect();
    let mut object = json!({
        "metadata": {"name": "images", "generation": 2}, "spec": {},
        "status": {"observedGeneration": 2, "conditions": conditions},
    });
    if let Some(phase) = phase {
        object["status"]["rollout"] = json!({"id": "images-1", "phase": phase, "message": "m"});
    }
    object
}

#[test]
fn argo_cd_sees_the_health_of_a_registry_by_the_first_rule_that_holds() {
    let health = |object: &Value| health("registry-health.lua", object);
    let fine = registry(
        &["Ready", "Progressing=False", "Degraded=False", "Stalled=False"],
        Some("Completed"),
    );
    let (mut unseen, mut stale, mut suspended) = (fine.clone(), fine.clone(), fine.clone());
    unseen.as_object_mut().unwrap().remove("status");
    stale["metadata"]["generation"] = json!(3);
    suspended["spec"]["suspend"] = json!(true);

    for (object, expected) in [
        (&fine, "Healthy"),
        (&registry(&["Ready"], None), "Healthy"),
        (&unseen, "Progressing"),
        (&stale, "Progressing"),
        (&suspended, "Suspended"),
        (
            &registry(&["Ready", "Progressing"], Some("AwaitingApproval")),
            "Suspended",
        ),
        (&registry(&["Ready", "Progressing"], Some("Paused")), "Suspended"),
        (&registry(&["Ready", "Progressing"], Some("Held")), "Degraded"),
        (&registry(&["Ready"], Some("RolledBack")), "Degraded"),
        (&registry(&["Ready"], Some("Failed")), "Degraded"),
        (&registry(&["Ready", "Degraded"], None), "Degraded"),
        (&registry(&["Ready=False", "Stalled"], None), "Degraded"),
        (
            &registry(&["Ready", "Reconciling"], Some("CanaryAnalyzing")),
            "Progressing",
        ),
        (&registry(&["Ready", "Progressing"], None), "Progressing"),
        (&registry(&["Ready=False"], None), "Progressing"),
    ] {
        assert_eq!(health(object), expected, "{object}");
    }
}

#[test]
fn argo_cd_sees_the_health_of_every_phase_of_a_roll_out() {
    use berth_operator::api::rollout::Phase;

    for phase in Phase::ALL {
        let expected = match phase.as_str() {
            "Idle" | "Completed" | "Superseded" => "Healthy",
            "Paused" | "AwaitingApproval" => "Suspended",
            "Held" | "RolledBack" | "Failed" => "Degraded",
            _ => "Progressing",
        };
        let object = json!({"status": {"phase": phase.as_str(), "message": "m"}});
        assert_eq!(
            health("registryrollout-health.lua", &object),
            expected,
            "{}",
            phase.as_str()
        );
    }
    assert_eq!(health("registryrollout-health.lua", &json!({})), "Progressing");
}

#[test]
fn argo_cd_offers_what_a_roll_out_can_obey_and_asks_for_it_by_its_annotation() {
    let offered = |phase: Option<&str>| {
        let actions = run("registry-actions.lua", &registry(&[], phase));
        let mut names: Vec<String> = actions
            .as_object()
            .unwrap()
            .iter()
            .filter(|(_, action)| action["disabled"] == false)
            .map(|(name, _)| name.clone())
            .collect();
        names.sort();
        names.join(" ")
    };

    assert_eq!(offered(None), "");
    assert_eq!(offered(Some("CanaryAnalyzing")), "abort pause");
    assert_eq!(offered(Some("Paused")), "abort resume");
    assert_eq!(offered(Some("Held")), "abort resume retry");
    assert_eq!(offered(Some("RolledBack")), "retry");
    assert_eq!(offered(Some("Completed")), "");
    for action in ["pause", "resume", "abort", "retry"] {
        let object = run(&format!("registry-action-{action}.lua"), &registry(&[], Some("Held")));
        let annotation = &object["metadata"]["annotations"][format!("berth.dev/rollout-{action}")];
        assert_eq!(annotation, "images-1 by Argo CD");
    }
}

/// What both say about the Registry as it is in the cluster.
async fn seen(fixture: &Fixture) -> (&'static str, String) {
    let registry: Registry = fixture.get("images").await;
    let object = serde_json::to_value(registry).unwrap();
    (kstatus(&object), health("registry-health.lua", &object))
}

#[tokio::test]
async fn a_registry_is_told_from_its_first_pass_until_it_is_ready() {
    let fixture = Fixture::new().await;
    fixture.create("images", &json!({})).await.unwrap();
    fixture.pass("images").await;
    assert_eq!(seen(&fixture).await, ("InProgress", "Progressing".to_owned()));

    fixture.pass_until_ready("images").await;
    assert_eq!(seen(&fixture).await, ("Current", "Healthy".to_owned()));

    fixture
        .respec("images", &json!({"service": {"annotations": {"a": "b"}}}))
        .await
        .unwrap();
    assert_eq!(
        seen(&fixture).await,
        ("InProgress", "Progressing".to_owned()),
        "the operator has not seen it"
    );
    fixture.pass("images").await;
    controllers::complete_rollout(&fixture, "images").await;
    fixture.pass("images").await;
    assert_eq!(seen(&fixture).await, ("Current", "Healthy".to_owned()));
}

#[tokio::test]
async fn a_registry_that_waits_for_a_person_is_failed_and_not_in_progress_for_ever() {
    let fixture = Fixture::new().await;
    fixture.create("images", &production(&json!({}))).await.unwrap();
    fixture.pass("images").await;

    assert_eq!(
        seen(&fixture).await,
        ("Failed", "Degraded".to_owned()),
        "a Secret is missing"
    );
}
