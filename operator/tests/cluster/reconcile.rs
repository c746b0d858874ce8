//! What a Registry becomes.

use std::sync::Arc;
use std::time::Duration;

use berth_operator::api::Registry;
use berth_operator::api::conditions::ConditionType;
use berth_operator::registry;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount};
use kube::ResourceExt;
use kube::api::{DeleteParams, PostParams};
use kube::runtime::controller::Action;
use serde_json::json;

use crate::support::{Fixture, condition, production};

#[tokio::test]
async fn an_empty_registry_becomes_its_objects_and_is_ready_once_its_pod_serves() {
    let fixture = Fixture::new().await;
    fixture.create("images", &json!({})).await.unwrap();

    let first = fixture.pass("images").await;

    assert_eq!(condition(&first, ConditionType::Ready).0, "False");
    assert_eq!(condition(&first, ConditionType::Progressing).0, "True");
    fixture.get::<Service>("images").await;
    fixture.get::<Service>("images-admin").await;
    fixture.get::<ServiceAccount>("images").await;
    fixture.get::<PersistentVolumeClaim>("images-data").await;
    let ready = fixture.pass_until_ready("images").await;
    let status = ready.status.unwrap();
    assert_eq!(
        (status.observed_generation, status.ready_replicas),
        (ready.metadata.generation, 1)
    );
    assert_eq!(
        status.endpoints.unwrap().url,
        format!("http://images.{}.svc:5000", fixture.namespace)
    );
}

#[tokio::test]
async fn the_pods_are_admitted_to_a_namespace_at_the_restricted_level() {
    let fixture = Fixture::new().await;
    fixture.create_credentials().await;
    for (name, spec) in [("images", json!({})), ("shared", production(&json!({})))] {
        fixture.create(name, &spec).await.unwrap();
        fixture.pass_until_ready(name).await;
        let template = fixture.get::<Deployment>(name).await.spec.unwrap().template;
        let pod =
            json!({"metadata": {"name": name, "labels": template.metadata.unwrap().labels}, "spec": template.spec});

        let admitted = fixture
            .api::<Pod>()
            .create(&PostParams::default(), &serde_json::from_value(pod).unwrap())
            .await;

        assert!(admitted.is_ok(), "{admitted:?}");
    }
}

#[tokio::test]
async fn the_generated_secret_is_made_once_and_a_deleted_one_replaces_the_pods() {
    let fixture = Fixture::new().await;
    fixture.create("images", &json!({})).await.unwrap();
    fixture.pass_until_ready("images").await;
    let template = async || fixture.get::<Deployment>("images").await.spec.unwrap().template;
    let secret: Secret = fixture.get("images-http").await;
    let before = template().await;
    fixture.pass("images").await;
    assert_eq!(fixture.get::<Secret>("images-http").await, secret);
    assert_eq!(secret.data.unwrap()["http-secret"].0.len(), 64);

    fixture
        .api::<Secret>()
        .delete("images-http", &DeleteParams::default())
        .await
        .unwrap();
    fixture.pass("images").await;

    assert_ne!(template().await, before);
}

#[tokio::test]
async fn a_rotated_secret_replaces_the_pods() {
    let fixture = Fixture::new().await;
    fixture.create_credentials().await;
    fixture.create("images", &production(&json!({}))).await.unwrap();
    fixture.pass_until_ready("images").await;
    let generation = fixture.get::<Deployment>("images").await.metadata.generation;

    fixture
        .api::<Secret>()
        .delete("bucket", &DeleteParams::default())
        .await
        .unwrap();
    fixture
        .create_secret("bucket", &[("access-key-id", "AK2"), ("secret-access-key", "SK2")])
        .await;
    fixture.pass("images").await;

    assert!(fixture.get::<Deployment>("images").await.metadata.generation > generation);
}

#[tokio::test]
async fn a_missing_secret_is_said_until_it_appears() {
    let fixture = Fixture::new().await;
    fixture.create("images", &production(&json!({}))).await.unwrap();

    let waiting = fixture.pass("images").await;

    let (status, reason, message) = condition(&waiting, ConditionType::Degraded);
    assert_eq!((status.as_str(), reason.as_str()), ("True", "SecretMissing"));
    assert!(
        message.contains("Secret db of spec.database.postgres.credentialsRef does not exist"),
        "{message}"
    );
    assert!(
        message.contains("Secret bucket of spec.storage.s3.credentialsRef does not exist"),
        "{message}"
    );
    fixture.create_credentials().await;
    fixture.pass_until_ready("images").await;
}

#[tokio::test]
async fn a_deployment_of_somebody_else_is_left_alone() {
    let fixture = Fixture::new().await;
    let foreign: Deployment = serde_json::from_value(json!({
        "metadata": {"name": "images"},
        "spec": {
            "selector": {"matchLabels": {"app": "mine"}},
            "template": {"metadata": {"labels": {"app": "mine"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        },
    }))
    .unwrap();
    fixture
        .api::<Deployment>()
        .create(&PostParams::default(), &foreign)
        .await
        .unwrap();
    fixture.create("images", &json!({})).await.unwrap();

    let refused = fixture.pass("images").await;

    assert_eq!(condition(&refused, ConditionType::Degraded).1, "NameTaken");
    assert_eq!(fixture.get::<Deployment>("images").await.labels().len(), 0);
    assert!(fixture.list::<Service>().await.is_empty());
}

#[tokio::test]
async fn what_the_api_server_refuses_is_said_with_its_words() {
    let fixture = Fixture::new().await;
    fixture
        .create("images", &json!({"service": {"type": "NodePort", "nodePort": 1}}))
        .await
        .unwrap();

    let refused = fixture.pass("images").await;

    let (_, reason, message) = condition(&refused, ConditionType::Degraded);
    assert_eq!(reason, "ApplyRefused");
    assert!(
        message.contains("nodePort") && message.contains("30000-32767"),
        "{message}"
    );
}

#[tokio::test]
async fn the_volume_outlives_its_registry_and_is_taken_up_again() {
    let fixture = Fixture::new().await;
    let large = json!({"storage": {"filesystem": {"volumeClaim": {"size": "50Gi"}}}});
    fixture.create("images", &large).await.unwrap();
    fixture.pass_until_ready("images").await;
    let claim: PersistentVolumeClaim = fixture.get("images-data").await;
    assert_eq!(claim.owner_references(), &[]);

    fixture
        .api::<Registry>()
        .delete("images", &DeleteParams::default())
        .await
        .unwrap();
    collect_garbage(&fixture).await;
    fixture.create("images", &json!({})).await.unwrap();
    fixture.pass_until_ready("images").await;

    let again: PersistentVolumeClaim = fixture.get("images-data").await;
    assert_eq!(again.uid(), claim.uid());
    assert_eq!(again.spec.unwrap().resources, claim.spec.unwrap().resources);
}

/// Removes what has an owner, as Kubernetes does when the owner is gone.
async fn collect_garbage(fixture: &Fixture) {
    let parameters = DeleteParams::default();
    fixture.api::<Deployment>().delete("images", &parameters).await.unwrap();
    fixture.api::<Service>().delete("images", &parameters).await.unwrap();
    fixture
        .api::<Service>()
        .delete("images-admin", &parameters)
        .await
        .unwrap();
    fixture
        .api::<ServiceAccount>()
        .delete("images", &parameters)
        .await
        .unwrap();
    fixture
        .api::<Secret>()
        .delete("images-http", &parameters)
        .await
        .unwrap();
    for config_map in fixture.list::<ConfigMap>().await {
        assert_eq!(config_map.owner_references().len(), 1, "{}", config_map.name_any());
        fixture
            .api::<ConfigMap>()
            .delete(&config_map.name_any(), &parameters)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn each_transition_is_told_once() {
    let fixture = Fixture::new().await;
    fixture.create("images", &json!({})).await.unwrap();
    fixture.pass_until_ready("images").await;
    for _ in 0..5 {
        fixture.pass("images").await;
    }

    let mut told: Vec<_> = fixture
        .events()
        .await
        .into_iter()
        .map(|event| event.reason.unwrap())
        .collect();
    told.sort();

    assert_eq!(told, ["Ready", "RollingOut"]);
}

#[tokio::test]
async fn a_pass_over_a_registry_that_has_changed_since_neither_writes_a_status_nor_tells_an_event() {
    let fixture = Fixture::new().await;
    let stale = fixture.create("images", &json!({})).await.unwrap();
    let written = fixture.pass("images").await;
    let told = fixture.events().await.len();

    let pass = Box::pin(registry::reconcile(Arc::new(stale), Arc::clone(&fixture.context)));
    let next = pass.await.unwrap();

    assert_eq!(next, Action::requeue(Duration::ZERO));
    assert_eq!(fixture.get::<Registry>("images").await, written);
    assert!(told > 0);
    let events = fixture.events().await;
    assert_eq!(events.len(), told);
    assert!(events.iter().all(|event| event.series.is_none()), "{events:?}");
}
