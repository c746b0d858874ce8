//! The chart as helm renders it, and what of it an API server alone can have.

use std::process::Command;

use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde::Deserialize;
use serde_json::Value;

use super::TESTER;

/// The chart's objects for a release in `namespace` with these values, `NAME=VALUE`.
#[expect(clippy::disallowed_methods, reason = "a test has no configuration to read")]
pub(crate) fn render(namespace: &str, values: &[&str]) -> Vec<Value> {
    let helm = std::env::var("BERTH_TEST_HELM").unwrap_or_else(|_| {
        panic!("BERTH_TEST_HELM is not set: it names the helm program; `cargo verify --only api-server` sets it")
    });
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/berth");
    let mut command = Command::new(helm);
    command.args(["template", "berth", chart, "--kube-version", "1.33.0", "--is-upgrade"]);
    command.args(["--namespace", namespace]);
    for value in values {
        command.args(["--set", value]);
    }
    let rendered = command.output().unwrap();
    assert!(
        rendered.status.success(),
        "{}",
        String::from_utf8_lossy(&rendered.stderr)
    );
    let text = String::from_utf8(rendered.stdout).unwrap();
    let documents = text
        .split("\n---\n")
        .map(|document| serde_yaml::from_str::<Value>(document).unwrap());
    documents.filter(Value::is_object).collect()
}

#[derive(Deserialize)]
struct Typed {
    #[serde(rename = "apiVersion")]
    api_version: String,
    kind: String,
}

/// Applies those of `objects` that are of one of `kinds`.
pub(crate) async fn apply(client: &Client, objects: &[Value], kinds: &[&str]) {
    for object in objects {
        let typed = Typed::deserialize(object).unwrap();
        if !kinds.contains(&typed.kind.as_str()) {
            continue;
        }
        let (group, version) = typed.api_version.split_once('/').unwrap_or(("", &typed.api_version));
        let kind = GroupVersionKind::gvk(group, version, &typed.kind);
        let plural = plural(&typed.kind);
        let resource = ApiResource::from_gvk_with_plural(&kind, &plural);
        let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        let name = object["metadata"]["name"].as_str().unwrap();
        api.patch(name, &PatchParams::apply(TESTER).force(), &Patch::Apply(object))
            .await
            .unwrap();
    }
}

fn plural(kind: &str) -> String {
    let lower = kind.to_lowercase();
    match lower.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{lower}s"),
    }
}
