//! What changes when the spec changes, or when somebody meddles.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use kube::ResourceExt;
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use serde_json::{Value, json};

use crate::support::controllers::meddle;
use crate::support::{Fixture, controllers};

async fn ready(spec: &Value) -> Fixture {
    let fixture = Fixture::new().await;
    fixture.create("images", spec).await.unwrap();
    fixture.pass_until_ready("images").await;
    fixture
}

#[tokio::test]
async fn a_changed_field_is_changed_back() {
    let fixture = ready(&json!({})).await;
    let wanted = fixture.get::<Deployment>("images").await.spec;
    let containers = json!([{"name": "registry", "image": "evil:1"}]);
    meddle::<Deployment>(
        &fixture,
        "images",
        json!({"spec": {"replicas": 0, "template": {"spec": {"containers": containers}}}}),
    )
    .await;
    meddle::<Service>(
        &fixture,
        "images",
        json!({"spec": {"selector": {"app.kubernetes.io/instance": "other"}}}),
    )
    .await;
    meddle::<ServiceAccount>(&fixture, "images", json!({"automountServiceAccountToken": true})).await;

    fixture.pass("images").await;

    assert_eq!(fixture.get::<Deployment>("images").await.spec, wanted);
    let selector = fixture.get::<Service>("images").await.spec.unwrap().selector.unwrap();
    assert_eq!(selector["app.kubernetes.io/instance"], "images");
    assert_eq!(
        fixture
            .get::<ServiceAccount>("images")
            .await
            .automount_service_account_token,
        Some(false)
    );
}

#[tokio::test]
async fn a_removed_field_and_a_removed_object_come_back() {
    let fixture = ready(&json!({})).await;
    meddle::<Service>(
        &fixture,
        "images",
        json!({"metadata": {"labels": {"app.kubernetes.io/part-of": null}}}),
    )
    .await;
    fixture
        .api::<Service>()
        .delete("images-admin", &DeleteParams::default())
        .await
        .unwrap();

    fixture.pass("images").await;

    assert_eq!(
        fixture.get::<Service>("images").await.labels()["app.kubernetes.io/part-of"],
        "berth"
    );
    fixture.get::<Service>("images-admin").await;
}

#[tokio::test]
async fn fields_of_others_are_left_alone() {
    let fixture = ready(&json!({})).await;
    meddle::<Deployment>(&fixture, "images", json!({"metadata": {"annotations": {"mesh": "on"}}})).await;
    let before = fixture.get::<Deployment>("images").await;

    fixture
        .respec("images", &json!({"config": {"log": {"level": "debug"}}}))
        .await
        .unwrap();
    fixture.pass("images").await;

    let after = fixture.get::<Deployment>("images").await;
    assert_ne!(after.spec, before.spec);
    assert_eq!(after.annotations()["mesh"], "on");
}

#[tokio::test]
async fn a_field_that_is_no_longer_wanted_goes() {
    let fixture =
        ready(&json!({"service": {"annotations": {"a": "1"}}, "resources": {"limits": {"memory": "1Gi"}}})).await;

    fixture.respec("images", &json!({})).await.unwrap();
    fixture.pass("images").await;

    assert!(!fixture.get::<Service>("images").await.annotations().contains_key("a"));
    let container = fixture
        .get::<Deployment>("images")
        .await
        .spec
        .unwrap()
        .template
        .spec
        .unwrap()
        .containers
        .remove(0);
    assert_eq!(container.resources.unwrap_or_default().limits, None);
}

#[tokio::test]
async fn an_old_configuration_goes_once_nothing_refers_to_it() {
    let fixture = ready(&json!({})).await;
    let old = only_config_map(&fixture).await;
    let set = replica_set(&fixture, &old).await;
    fixture
        .respec("images", &json!({"config": {"log": {"level": "debug"}}}))
        .await
        .unwrap();

    fixture.pass("images").await;
    controllers::complete_rollout(&fixture, "images").await;
    fixture.pass("images").await;
    assert_eq!(
        fixture.list::<ConfigMap>().await.len(),
        2,
        "a ReplicaSet can still be gone back to"
    );
    fixture
        .api::<ReplicaSet>()
        .delete(&set, &DeleteParams::default())
        .await
        .unwrap();
    fixture.pass("images").await;

    assert_ne!(only_config_map(&fixture).await, old);
}

#[tokio::test]
async fn a_configuration_that_somebody_else_labelled_alike_is_left_alone() {
    let fixture = ready(&json!({})).await;
    let mut anothers: ConfigMap = fixture.get(&only_config_map(&fixture).await).await;
    anothers.metadata = ObjectMeta {
        name: Some("mine".to_owned()),
        labels: anothers.metadata.labels,
        ..ObjectMeta::default()
    };
    fixture
        .api::<ConfigMap>()
        .create(&PostParams::default(), &anothers)
        .await
        .unwrap();

    fixture.pass("images").await;

    fixture.get::<ConfigMap>("mine").await;
}

async fn only_config_map(fixture: &Fixture) -> String {
    let names: Vec<_> = fixture
        .list::<ConfigMap>()
        .await
        .iter()
        .map(ResourceExt::name_any)
        .collect();
    assert_eq!(names.len(), 1, "{names:?}");
    names[0].clone()
}

/// What the Deployment's controller would keep of its first revision.
async fn replica_set(fixture: &Fixture, config_map: &str) -> String {
    let deployment: Deployment = fixture.get("images").await;
    let template = deployment.spec.as_ref().unwrap().template.clone();
    let set: ReplicaSet = serde_json::from_value(json!({
        "metadata": {"name": "images-1", "labels": deployment.labels()},
        "spec": {"replicas": 0, "selector": {"matchLabels": template.metadata.as_ref().unwrap().labels}, "template": template},
    }))
    .unwrap();
    assert!(serde_json::to_string(&set).unwrap().contains(config_map));
    fixture
        .api::<ReplicaSet>()
        .create(&PostParams::default(), &set)
        .await
        .unwrap()
        .name_any()
}
