//! From the definitions of an earlier chart to those of this one, as `helm upgrade` does it.

use std::process::Output;

use berth_operator::api::Registry;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::program::{self, Account};
use crate::support::{Fixture, TESTER, chart, eventually};

/// The definition that the chart had before there were roll-outs.
const EARLIER: &str = include_str!("fixtures/registries-before-rollouts.yaml");

/// Runs `berth-operator crds --apply` with the rights of the chart's Job.
async fn apply_definitions(fixture: &Fixture) -> Output {
    let rendered = chart::render(&fixture.namespace, &[]);
    let hooks: Vec<Value> = rendered
        .into_iter()
        .filter(|object| object["metadata"]["name"] == "berth-definitions")
        .collect();
    let job = hooks.iter().find(|object| object["kind"] == "Job").unwrap();
    let arguments = job["spec"]["template"]["spec"]["containers"][0]["args"]
        .as_array()
        .unwrap();
    chart::apply(
        &fixture.client,
        &hooks,
        &["ServiceAccount", "ClusterRole", "ClusterRoleBinding"],
    )
    .await;
    let account = Account {
        namespace: &fixture.namespace,
        name: "berth-definitions",
    };
    let folder = tempfile::tempdir().unwrap();
    let mut command = program::operator(&fixture.client, account, folder.path()).await;
    command.args(arguments.iter().map(|argument| argument.as_str().unwrap()));
    command.output().unwrap()
}

#[tokio::test]
async fn an_upgrade_brings_the_definitions_up_to_date_and_leaves_what_is_there() {
    // Every test sees the definitions.
    let fixture = Fixture::alone().await;
    let definitions: Api<CustomResourceDefinition> = Api::all(fixture.client.clone());
    let earlier: Value = serde_yaml::from_str(EARLIER).unwrap();
    let parameters = PatchParams::apply(TESTER).force();
    definitions
        .patch("registries.berth.dev", &parameters, &Patch::Apply(&earlier))
        .await
        .unwrap();
    let spec = json!({"storage": {"filesystem": {"volumeClaim": {"size": "5Gi"}}}, "version": "0.1.0"});
    fixture.create("images", &spec).await.unwrap();
    let paused = Patch::Merge(json!({"spec": {"rollout": {"paused": true}}}));
    let is_known = async || {
        fixture
            .api::<Registry>()
            .patch("images", &PatchParams::default(), &paused)
            .await
            .unwrap();
        let registry: Registry = fixture.get("images").await;
        serde_json::to_value(registry.spec).unwrap()["rollout"]["paused"] == true
    };
    eventually("the earlier definition is in force", async || {
        (!is_known().await).then_some(())
    })
    .await;

    let first = apply_definitions(&fixture).await;
    let second = apply_definitions(&fixture).await;

    let told = String::from_utf8(first.stdout).unwrap();
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    assert!(told.contains("registries.berth.dev: brought up to date\n"), "{told}");
    let told = String::from_utf8(second.stdout).unwrap();
    assert!(
        second.status.success() && told.contains("registries.berth.dev: up to date\n"),
        "{told}"
    );
    eventually("the new field is known", async || is_known().await.then_some(())).await;
    let kept = serde_json::to_value(fixture.get::<Registry>("images").await.spec).unwrap();
    assert_eq!(kept["storage"]["filesystem"]["volumeClaim"]["size"], "5Gi");
    assert_eq!(kept["version"], "0.1.0");
}
