//! Definitions and operator of two releases: whichever of them is ahead, nothing is lost and nothing is written again and again.

use berth_operator::api::{self, Registry};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::quiet::assert_quiet;
use crate::runner::{Running, ready};
use crate::support::{Fixture, TESTER, eventually};

const NAME: &str = "registries.berth.dev";
/// A field that no release knows.
const AHEAD: &str = "ahead";

/// The definition of Registries as it is in this release.
fn present() -> Value {
    let all = api::definitions();
    let ours = all.iter().find(|one| one.metadata.name.as_deref() == Some(NAME));
    serde_json::to_value(ours.unwrap()).unwrap()
}

fn properties<'d>(definition: &'d mut Value, path: &str) -> &'d mut serde_json::Map<String, Value> {
    let schema = &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    schema.pointer_mut(path).unwrap().as_object_mut().unwrap()
}

/// Puts a definition in force, which everyone sees.
async fn put(fixture: &Fixture, definition: &Value) {
    let definitions: Api<CustomResourceDefinition> = Api::all(fixture.client.clone());
    definitions
        .patch(NAME, &PatchParams::apply(TESTER).force(), &Patch::Apply(definition))
        .await
        .unwrap();
}

/// The whole object, fields that this release does not know included.
async fn whole(fixture: &Fixture) -> Value {
    let request = format!(
        "/apis/berth.dev/v1alpha1/namespaces/{}/registries/images",
        fixture.namespace
    );
    let request = axum::http::Request::get(request).body(Vec::new()).unwrap();
    fixture.client.request(request).await.unwrap()
}

/// The definition as it was before these fields.
fn without(fields: &[(&str, &str)]) -> Value {
    let mut behind = present();
    for (path, field) in fields {
        properties(&mut behind, path).remove(*field);
    }
    behind
}

#[tokio::test]
async fn an_operator_that_is_ahead_of_the_spec_serves_and_comes_to_rest() {
    let fixture = Fixture::alone().await;
    let spec = [
        ("/properties/spec/properties", "rollout"),
        ("/properties/spec/properties/storage/properties", "inlineSize"),
    ];
    put(&fixture, &without(&spec)).await;

    fixture.create("images", &json!({})).await.unwrap();
    fixture.pass_until_ready("images").await;

    assert_quiet(&fixture).await;
    put(&fixture, &present()).await;
}

#[tokio::test]
async fn an_operator_that_is_ahead_of_the_status_says_what_to_do_and_goes_on_when_it_is_done() {
    let fixture = Fixture::alone().await;
    put(&fixture, &without(&[("/properties/status/properties", "endpoints")])).await;
    let running = Running::start(&fixture);

    fixture.create("images", &json!({})).await.unwrap();
    let told = eventually("the older definition is told", async || {
        let mut events = fixture.events().await;
        events.retain(|event| event.reason.as_deref() == Some("OlderDefinition"));
        events.pop()
    })
    .await;

    let note = told.note.unwrap();
    assert!(
        note.contains("berth-operator crds --apply") && note.contains("endpoints"),
        "{note}"
    );
    put(&fixture, &present()).await;
    ready(&fixture).await;
    running.stop().await;
}

#[tokio::test]
async fn an_operator_that_is_behind_its_definitions_keeps_what_it_does_not_know() {
    let fixture = Fixture::alone().await;
    let mut ahead = present();
    for path in ["/properties/spec/properties", "/properties/status/properties"] {
        properties(&mut ahead, path).insert(AHEAD.to_owned(), json!({"type": "string"}));
    }
    put(&fixture, &ahead).await;
    fixture.create("images", &json!({})).await.unwrap();
    let registries = fixture.api::<Registry>();
    let (spec, status) = (json!({"spec": {AHEAD: "kept"}}), json!({"status": {AHEAD: "kept"}}));
    let merge = PatchParams::default();
    eventually("the newer definition is in force", async || {
        registries.patch("images", &merge, &Patch::Merge(&spec)).await.unwrap();
        (whole(&fixture).await["spec"][AHEAD] == "kept").then_some(())
    })
    .await;

    fixture.pass_until_ready("images").await;
    registries
        .patch_status("images", &merge, &Patch::Merge(&status))
        .await
        .unwrap();
    let more = json!({"spec": {"resources": {"limits": {"memory": "1Gi"}}}});
    registries.patch("images", &merge, &Patch::Merge(&more)).await.unwrap();
    fixture.pass_until_ready("images").await;

    let deployment: Deployment = fixture.get("images").await;
    let text = serde_json::to_string(&deployment.spec).unwrap();
    assert!(text.contains("\"memory\":\"1Gi\""), "{text}");
    let kept = whole(&fixture).await;
    assert_eq!(
        (&kept["spec"][AHEAD], &kept["status"][AHEAD]),
        (&json!("kept"), &json!("kept"))
    );
    assert_quiet(&fixture).await;
    put(&fixture, &present()).await;
}
