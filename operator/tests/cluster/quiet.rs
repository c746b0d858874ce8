//! A Registry that is as it should be costs the API server no write.

use std::collections::BTreeMap;
use std::sync::Arc;

use berth_operator::api::Registry;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret, Service, ServiceAccount};
use kube::ResourceExt;
use serde_json::json;

use crate::companions;
use crate::support::images::Images;
use crate::support::{Fixture, production};

/// The resource version of every object in the namespace that the operator could write.
async fn versions(fixture: &Fixture) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::new();
    note(&fixture.list::<Registry>().await, &mut versions);
    note(&fixture.list::<Deployment>().await, &mut versions);
    note(&fixture.list::<Job>().await, &mut versions);
    note(&fixture.list::<ConfigMap>().await, &mut versions);
    note(&fixture.list::<PersistentVolumeClaim>().await, &mut versions);
    note(&fixture.list::<Secret>().await, &mut versions);
    note(&fixture.list::<Service>().await, &mut versions);
    note(&fixture.list::<ServiceAccount>().await, &mut versions);
    note(&fixture.events().await, &mut versions);
    versions
}

fn note<K: berth_operator::cluster::Object>(objects: &[K], versions: &mut BTreeMap<String, String>) {
    for object in objects {
        versions.insert(
            format!("{} {}", K::kind(&()), object.name_any()),
            object.resource_version().unwrap(),
        );
    }
}

/// How many requests that write the operator has sent, refused ones among them.
fn writes(fixture: &Fixture) -> u64 {
    let text = fixture.metrics_text();
    let requests = text
        .lines()
        .filter(|line| line.starts_with("berth_operator_api_requests_total{"));
    let writes = requests.filter(|line| {
        ["create", "patch", "delete"]
            .iter()
            .any(|verb| line.contains(&format!("verb=\"{verb}\"")))
    });
    writes
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum()
}

pub(crate) async fn assert_quiet(fixture: &Fixture) {
    let (before, writes_before) = (versions(fixture).await, writes(fixture));
    assert!(writes_before > 0);

    for _ in 0..100 {
        fixture.pass("images").await;
    }

    assert_eq!(versions(fixture).await, before);
    assert_eq!(writes(fixture), writes_before, "{}", fixture.metrics_text());
}

#[tokio::test]
async fn a_hundred_passes_over_an_unchanged_registry_on_a_volume_write_nothing() {
    let fixture = Fixture::new().await;
    // Quantities that the API server writes in another form: it keeps 0.5 as 500m.
    let spec =
        json!({"resources": {"requests": {"cpu": "0.5", "memory": "1024Mi"}}, "service": {"annotations": {"a": "b"}}});
    fixture.create("images", &spec).await.unwrap();
    fixture.pass_until_ready("images").await;

    assert_quiet(&fixture).await;
}

#[tokio::test]
async fn a_hundred_passes_over_an_unchanged_registry_on_postgres_and_s3_write_nothing() {
    let fixture = Fixture::new().await;
    fixture.create_credentials().await;
    fixture
        .create("images", &production(&json!({"service": {"type": "NodePort"}})))
        .await
        .unwrap();
    fixture.pass_until_ready("images").await;

    assert_quiet(&fixture).await;
}

#[tokio::test]
async fn a_hundred_passes_over_an_unchanged_registry_with_everything_around_its_pods_write_nothing() {
    let fixture = Fixture::new().await;
    fixture.create_credentials().await;
    companions::issue(&fixture).await;
    fixture
        .create("images", &production(&companions::everything()))
        .await
        .unwrap();
    fixture.pass_until_ready("images").await;

    assert_quiet(&fixture).await;
}

#[tokio::test]
async fn a_hundred_passes_over_a_registry_that_waits_for_a_secret_write_nothing() {
    let fixture = Fixture::new().await;
    fixture.create("images", &production(&json!({}))).await.unwrap();
    fixture.pass("images").await;

    assert_quiet(&fixture).await;
}

#[tokio::test]
async fn a_hundred_passes_over_a_registry_that_follows_a_channel_write_nothing() {
    let images = Images::start().await;
    images.push("1.0.0").await;
    let fixture = Fixture::new().await;
    fixture.create_credentials().await;
    let channel = json!({"repository": images.repository(), "semver": "*", "interval": "5s"});
    let spec = production(&json!({"release": {"channel": channel}}));
    fixture.create("images", &spec).await.unwrap();
    fixture.pass_until_ready("images").await;

    assert_quiet(&fixture).await;
}

#[tokio::test]
async fn an_operator_that_is_started_again_writes_nothing() {
    let fixture = Fixture::new().await;
    fixture.create("images", &json!({})).await.unwrap();
    fixture.pass_until_ready("images").await;
    let before = versions(&fixture).await;

    fixture.pass_of(&Arc::new(fixture.restarted()), "images").await;

    assert_eq!(versions(&fixture).await, before);
}
