//! The chart's policies of admission: whose name a request may have, and who may pass over a gate.

use berth_operator::api::Registry;
use berth_operator::api::rollout::RegistryApproval;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::support::{Fixture, TESTER, chart, client_of, eventually};

/// Installs the roles for people and the policies, which hold in the test's namespace only: others have theirs.
async fn install(fixture: &Fixture) {
    let mut rendered = chart::render(&fixture.namespace, &[]);
    for object in &mut rendered {
        if object["kind"] == "ValidatingAdmissionPolicyBinding" {
            let name = format!("{}-{}", object["metadata"]["name"].as_str().unwrap(), fixture.namespace);
            object["metadata"]["name"] = Value::String(name);
            let label = json!({"kubernetes.io/metadata.name": fixture.namespace});
            object["spec"]["matchResources"] = json!({"namespaceSelector": {"matchLabels": label}});
        }
    }
    let kinds = [
        "ClusterRole",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    ];
    chart::apply(&fixture.client, &rendered, &kinds).await;
}

/// Binds a role of the chart to a person in the test's namespace, and gives what that person can do.
async fn person(fixture: &Fixture, name: &str, roles: &[&str]) -> Client {
    for role in roles {
        let binding = format!("{name}-{role}");
        let object = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": binding},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}],
        });
        let parameters = PatchParams::apply(TESTER).force();
        fixture
            .api::<RoleBinding>()
            .patch(&binding, &parameters, &Patch::Apply(object))
            .await
            .unwrap();
    }
    client_of(name).await
}

async fn approve(fixture: &Fixture, person: &Client, by: &str) -> Result<(), String> {
    let approval: RegistryApproval = serde_json::from_value(json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "RegistryApproval", "metadata": {"generateName": "a-"},
        "spec": {"rolloutRef": {"name": "images-1"}, "step": "Main", "decision": "Approve", "approvedBy": by},
    }))
    .unwrap();
    let approvals: Api<RegistryApproval> = Api::namespaced(person.clone(), &fixture.namespace);
    let made = approvals.create(&PostParams::default(), &approval).await;
    made.map(drop).map_err(|error| error.to_string())
}

async fn change(fixture: &Fixture, person: &Client, patch: Value) -> Result<(), String> {
    let registries: Api<Registry> = Api::namespaced(person.clone(), &fixture.namespace);
    let changed = registries
        .patch("images", &PatchParams::default(), &Patch::Merge(patch))
        .await;
    changed.map(drop).map_err(|error| error.to_string())
}

fn annotated(name: &str, value: &str) -> Value {
    json!({"metadata": {"annotations": {(format!("berth.dev/{name}")): value}}})
}

#[tokio::test]
async fn an_approval_is_by_whom_it_names_and_only_by_an_approver() {
    let fixture = Fixture::new().await;
    install(&fixture).await;
    let mary = person(&fixture, "mary", &["registry-approver"]).await;
    let joe = person(&fixture, "joe", &["registry-edit", "registry-view"]).await;
    // A policy holds a moment after it was made.
    let refusal = eventually("an approval in another name is refused", async || {
        approve(&fixture, &mary, "joe").await.err()
    })
    .await;

    assert!(
        refusal.contains("spec.approvedBy is to be your own name: set it to mary"),
        "{refusal}"
    );
    assert_eq!(approve(&fixture, &mary, "mary").await, Ok(()));
    let forbidden = approve(&fixture, &joe, "joe").await.unwrap_err();
    assert!(
        forbidden.contains("cannot create resource \"registryapprovals\""),
        "{forbidden}"
    );
}

#[tokio::test]
async fn a_request_is_by_whom_it_names() {
    let fixture = Fixture::new().await;
    install(&fixture).await;
    fixture.create("images", &json!({"version": "0.1.0"})).await.unwrap();
    let mary = person(&fixture, "mary", &["registry-edit"]).await;
    let joe = person(&fixture, "joe", &["registry-edit"]).await;
    let mut asked = 0;
    let refusal = eventually("a request in another name is refused", || {
        asked += 1;
        // A name that is there already is no request.
        let request = annotated("requested-by", &format!("joe{asked}"));
        let (fixture, mary) = (&fixture, &mary);
        async move { change(fixture, mary, request).await.err() }
    })
    .await;
    assert!(
        refusal.contains("requested-by is to be your own name: set it to mary"),
        "{refusal}"
    );

    let mut asked = annotated("requested-by", "mary");
    asked["spec"] = json!({"version": "0.2.0"});
    assert_eq!(change(&fixture, &mary, asked).await, Ok(()));
    // Mary's name is still there.
    assert!(
        change(&fixture, &joe, json!({"spec": {"version": "0.3.0"}}))
            .await
            .is_err()
    );
    assert!(
        change(&fixture, &joe, annotated("rollout-abort", "images-1"))
            .await
            .is_err()
    );
    assert_eq!(change(&fixture, &joe, json!({"spec": {"replicas": 1}})).await, Ok(()));
    let mut unnamed = json!({"metadata": {"annotations": {"berth.dev/requested-by": null}}});
    unnamed["spec"] = json!({"version": "0.3.0"});
    assert_eq!(change(&fixture, &joe, unnamed).await, Ok(()));
}

#[tokio::test]
async fn a_gate_is_passed_over_only_by_those_who_may() {
    let fixture = Fixture::new().await;
    install(&fixture).await;
    fixture.create("images", &json!({})).await.unwrap();
    let joe = person(&fixture, "joe", &["registry-edit"]).await;
    let ann = person(&fixture, "ann", &["registry-edit", "registry-operator-admin"]).await;
    let promote = || annotated("rollout-promote", "images-1 the canary is fine");
    let refusal = eventually("promoting is refused", async || {
        let refused = change(&fixture, &joe, promote()).await.err();
        if refused.is_none() {
            change(&fixture, &joe, json!({"metadata": {"annotations": null}}))
                .await
                .unwrap();
        }
        refused
    })
    .await;

    assert!(refusal.contains("registry-operator-admin has it"), "{refusal}");
    assert!(
        change(&fixture, &joe, annotated("rollout-skip-step", "images-1"))
            .await
            .is_err()
    );
    let skipped = json!({"spec": {"rollout": {"analysis": {"skip": true, "skipReason": "measured by hand"}}}});
    let refusal = change(&fixture, &joe, skipped.clone()).await.unwrap_err();
    assert!(refusal.contains("registry-operator-admin has it"), "{refusal}");
    assert_eq!(
        change(&fixture, &joe, annotated("rollout-pause", "images-1")).await,
        Ok(())
    );
    assert_eq!(change(&fixture, &ann, promote()).await, Ok(()));
    assert_eq!(change(&fixture, &ann, skipped).await, Ok(()));
    // What another has decided stands in nobody's way.
    assert_eq!(
        change(&fixture, &joe, json!({"metadata": {"labels": {"team": "a"}}})).await,
        Ok(())
    );
}
