//! Every kind of storage, separate users of the database, and what a spec adds to its pods.

use std::collections::BTreeMap;

use berth_operator::api::conditions::ConditionType;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, PodSpec, Secret, ServiceAccount};
use kube::ResourceExt;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::support::controllers::meddle;
use crate::support::{Fixture, condition, production};

fn on(storage: &Value, more: &Value) -> Value {
    let mut spec = production(more);
    spec["storage"] = storage.clone();
    spec
}

async fn pod(fixture: &Fixture) -> PodSpec {
    fixture
        .get::<Deployment>("images")
        .await
        .spec
        .unwrap()
        .template
        .spec
        .unwrap()
}

fn sources(pod: &PodSpec) -> BTreeMap<String, String> {
    let variables = pod.containers[0].env.iter().flatten();
    let source = |variable: &k8s_openapi::api::core::v1::EnvVar| {
        let key = variable.value_from.as_ref()?.secret_key_ref.as_ref()?;
        Some((variable.name.clone(), format!("{}/{}", key.name, key.key)))
    };
    variables.filter_map(source).collect()
}

pub(crate) async fn create_config_map(fixture: &Fixture, name: &str, value: &str) {
    let map: ConfigMap = serde_json::from_value(json!({"metadata": {"name": name}, "data": {"key": value}})).unwrap();
    fixture
        .api::<ConfigMap>()
        .create(&PostParams::default(), &map)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_bucket_of_every_kind_works_with_the_identity_of_the_service_account_alone() {
    let identity = json!({"serviceAccount": {"annotations": {"cloud.example.com/role": "registry"}}});
    for storage in [
        json!({"s3": {"bucket": "images"}}),
        json!({"azure": {"account": "images", "container": "registry"}}),
        json!({"gcs": {"bucket": "images"}}),
    ] {
        let fixture = Fixture::new().await;
        fixture
            .create_secret("db", &[("username", "berth"), ("password", "p")])
            .await;
        fixture.create("images", &on(&storage, &identity)).await.unwrap();

        fixture.pass_until_ready("images").await;

        let account = fixture.get::<ServiceAccount>("images").await;
        assert_eq!(account.annotations()["cloud.example.com/role"], "registry", "{storage}");
        let variables = sources(&pod(&fixture).await);
        assert!(
            variables.keys().all(|name| !name.starts_with("BERTH_STORAGE_")),
            "{variables:?}"
        );
        assert_eq!(pod(&fixture).await.automount_service_account_token, Some(false));
    }
}

#[tokio::test]
async fn a_bucket_of_every_kind_works_with_a_key() {
    for (storage, variable) in [
        (
            json!({"azure": {"account": "images", "container": "registry", "accessKeyRef": {"name": "key"}}}),
            Some("BERTH_STORAGE_AZURE_ACCESS_KEY"),
        ),
        (
            json!({"azure": {"account": "images", "container": "registry", "sasTokenRef": {"name": "key"}}}),
            Some("BERTH_STORAGE_AZURE_SAS_TOKEN"),
        ),
        (
            json!({"gcs": {"bucket": "images", "credentialsRef": {"name": "key"}}}),
            None,
        ),
    ] {
        let fixture = Fixture::new().await;
        fixture
            .create_secret("db", &[("username", "berth"), ("password", "p")])
            .await;
        fixture.create("images", &on(&storage, &json!({}))).await.unwrap();
        let missing = fixture.pass("images").await;
        assert_eq!(
            condition(&missing, ConditionType::Stalled).1,
            "SecretMissing",
            "{storage}"
        );
        let keys = [("access-key", "a"), ("sas-token", "b"), ("key.json", "{}")];
        fixture.create_secret("key", &keys).await;

        fixture.pass_until_ready("images").await;

        let pod = pod(&fixture).await;
        let mut mounts = pod.containers[0].volume_mounts.iter().flatten();
        let arrives = match variable {
            Some(variable) => sources(&pod).contains_key(variable),
            None => mounts.any(|mount| mount.mount_path == "/etc/berth-storage"),
        };
        assert!(arrives, "{storage}");
    }
}

#[tokio::test]
async fn the_user_that_migrates_is_not_the_one_that_serves() {
    let fixture = Fixture::new().await;
    fixture.create_credentials().await;
    fixture
        .create_secret("owner", &[("username", "owner"), ("password", "p1")])
        .await;
    let mut spec = production(&json!({}));
    spec["database"]["postgres"]["migratorCredentialsRef"] = json!({"name": "owner"});
    fixture.create("images", &spec).await.unwrap();
    fixture.pass("images").await;
    let job = fixture
        .list::<Job>()
        .await
        .remove(0)
        .spec
        .unwrap()
        .template
        .spec
        .unwrap();
    fixture.pass_until_ready("images").await;

    assert_eq!(sources(&job)["BERTH_DATABASE_PASSWORD"], "owner/password");
    assert_eq!(sources(&pod(&fixture).await)["BERTH_DATABASE_PASSWORD"], "db/password");
    let before = fixture.get::<Deployment>("images").await.metadata.generation;
    meddle::<Secret>(&fixture, "owner", json!({"stringData": {"password": "p2"}})).await;
    fixture.pass("images").await;
    assert_eq!(fixture.get::<Deployment>("images").await.metadata.generation, before);
}

#[tokio::test]
async fn only_a_changed_content_of_what_is_mounted_replaces_the_pods() {
    let fixture = Fixture::new().await;
    let spec = json!({"podTemplate": {
        "labels": {"team": "a"}, "annotations": {"mesh": "off"},
        "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"},
            {"name": "FROM_MAP", "configMapKeyRef": {"name": "settings", "key": "key"}},
            {"name": "FROM_SECRET", "secretKeyRef": {"name": "extra", "key": "token"}}],
        "extraVolumes": [{"name": "ca", "mountPath": "/etc/extra/ca", "configMapRef": {"name": "settings"}},
            {"name": "s", "mountPath": "/etc/extra/s", "secretRef": {"name": "extra"}}],
    }});
    fixture.create("images", &spec).await.unwrap();
    let missing = fixture.pass("images").await;
    let (_, reason, message) = condition(&missing, ConditionType::Stalled);
    assert_eq!(reason, "SecretMissing");
    assert!(
        message.contains("Secret extra of spec.podTemplate.extraEnv does not exist"),
        "{message}"
    );
    fixture.create_secret("extra", &[("token", "t1")]).await;
    let missing = fixture.pass("images").await;
    assert_eq!(condition(&missing, ConditionType::Stalled).1, "ReferenceMissing");
    create_config_map(&fixture, "settings", "one").await;
    fixture.pass_until_ready("images").await;
    let generation = async || fixture.get::<Deployment>("images").await.metadata.generation;
    let first = generation().await;

    meddle::<Secret>(&fixture, "extra", json!({"metadata": {"labels": {"seen": "yes"}}})).await;
    meddle::<ConfigMap>(
        &fixture,
        "settings",
        json!({"metadata": {"annotations": {"seen": "yes"}}}),
    )
    .await;
    fixture.pass("images").await;
    assert_eq!(generation().await, first, "no content has changed");
    meddle::<ConfigMap>(&fixture, "settings", json!({"data": {"key": "two"}})).await;
    fixture.pass("images").await;
    let second = generation().await;
    assert!(second > first);
    meddle::<Secret>(&fixture, "extra", json!({"stringData": {"other": "value"}})).await;
    fixture.pass("images").await;
    assert!(generation().await > second);
    let template = fixture.get::<Deployment>("images").await.spec.unwrap().template;
    assert_eq!(template.metadata.unwrap().labels.unwrap()["team"], "a");
}

#[tokio::test]
async fn pods_go_where_the_spec_sends_them() {
    let fixture = Fixture::new().await;
    let term = json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "db"}}});
    let affinity = json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}});
    let spec = json!({
        "nodeSelector": {"disk": "fast"}, "tolerations": [{"key": "only", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": affinity, "priorityClassName": "high", "topologySpread": [{"topologyKey": "zone"}],
    });
    fixture.create("images", &spec).await.unwrap();
    fixture.pass_until_ready("images").await;

    let pod = pod(&fixture).await;
    assert_eq!(pod.node_selector.unwrap()["disk"], "fast");
    assert_eq!(pod.tolerations.unwrap()[0].operator.as_deref(), Some("Exists"));
    assert_eq!(serde_json::to_value(pod.affinity).unwrap(), affinity);
    assert_eq!(pod.priority_class_name.as_deref(), Some("high"));
    assert_eq!(pod.topology_spread_constraints.unwrap()[0].topology_key, "zone");
    let misspelt = json!({"affinity": {"podAffinity": {"required": []}}});
    fixture.respec("images", &misspelt).await.unwrap();
    let refused = fixture.pass("images").await;
    let (_, reason, message) = condition(&refused, ConditionType::Stalled);
    assert_eq!(reason, "InvalidSpec");
    assert!(
        message.contains("spec.affinity.podAffinity.required is no field"),
        "{message}"
    );
}

#[tokio::test]
async fn the_volume_goes_with_its_registry_only_when_the_spec_says_so_twice() {
    let fixture = Fixture::new().await;
    let deletes = json!({"deletionPolicy": "Delete", "confirmDelete": "images"});
    fixture.create("images", &deletes).await.unwrap();
    fixture.pass_until_ready("images").await;
    let owners = fixture
        .get::<PersistentVolumeClaim>("images-data")
        .await
        .owner_references()
        .len();
    assert_eq!(owners, 1);

    fixture.respec("images", &json!({})).await.unwrap();
    fixture.pass_until_ready("images").await;

    assert_eq!(
        fixture
            .get::<PersistentVolumeClaim>("images-data")
            .await
            .owner_references(),
        &[]
    );
}
