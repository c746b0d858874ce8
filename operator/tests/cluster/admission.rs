//! What the API server itself refuses, and with which words.

use serde_json::{Value, json};

use crate::support::{Fixture, production};

fn message(error: kube::Error) -> String {
    let kube::Error::Api(status) = error else {
        panic!("{error}")
    };
    status.message
}

pub(crate) async fn assert_refused(fixture: &Fixture, name: &str, spec: &Value, words: &str) {
    let error = fixture.create(name, spec).await.expect_err(&format!("{spec} is taken"));

    let message = message(error);
    assert!(message.contains(words), "{spec} is refused with {message}");
}

async fn assert_change_refused(fixture: &Fixture, name: &str, spec: &Value, words: &str) {
    let error = fixture.respec(name, spec).await.expect_err(&format!("{spec} is taken"));

    let message = message(error);
    assert!(message.contains(words), "{spec} is refused with {message}");
}

fn on_volume(claim: &Value) -> Value {
    json!({"storage": {"filesystem": {"volumeClaim": claim}}})
}

#[tokio::test]
async fn an_empty_spec_is_taken_and_nothing_is_added_to_it() {
    let fixture = Fixture::new().await;

    let registry = fixture.create("images", &json!({})).await.unwrap();

    assert_eq!(serde_json::to_value(&registry.spec).unwrap(), json!({}));
}

#[tokio::test]
async fn defaults_that_do_not_depend_on_anything_are_shown_in_the_spec() {
    let fixture = Fixture::new().await;

    let spec = production(&json!({"service": {}}));
    let registry = serde_json::to_value(fixture.create("images", &spec).await.unwrap().spec).unwrap();

    assert_eq!(registry["database"]["postgres"]["port"], 5432);
    assert_eq!(registry["database"]["postgres"]["sslMode"], "prefer");
    assert_eq!(registry["storage"]["s3"]["region"], "us-east-1");
    assert_eq!(registry["service"], json!({"type": "ClusterIP", "port": 5000}));
}

#[tokio::test]
async fn contradictions_are_refused_with_the_remedy() {
    let fixture = Fixture::new().await;
    let s3 = production(&json!({}))["storage"]["s3"].clone();
    let digest = format!("sha256:{}", "0".repeat(64));

    let cases = [
        (
            json!({"version": "1.0.0", "image": {"tag": "x"}}),
            "remove version, or remove the tag and digest",
        ),
        (
            json!({"version": "1.0.0", "image": {"digest": digest}}),
            "remove version, or remove the tag and digest",
        ),
        (
            json!({"replicas": 2}),
            "set database.postgres and a bucket (storage.s3, storage.azure or storage.gcs), or set replicas to 1",
        ),
        (
            json!({"replicas": 2, "storage": {"s3": s3}}),
            "set database.postgres and a bucket (storage.s3, storage.azure or storage.gcs), or set replicas to 1",
        ),
        (
            json!({"storage": {"filesystem": {}, "s3": s3}}),
            "set one of storage.filesystem, storage.s3, storage.azure and storage.gcs, not two",
        ),
        (
            json!({"storage": {"filesystem": {"claimName": "a", "volumeClaim": {}}}}),
            "set volumeClaim or claimName, not both",
        ),
        (
            json!({"service": {"nodePort": 30000}}),
            "remove service.nodePort, or set service.type",
        ),
    ];
    for (spec, words) in cases {
        assert_refused(&fixture, "images", &spec, words).await;
    }
}

#[tokio::test]
async fn a_version_and_another_database_at_once_are_refused() {
    let fixture = Fixture::new().await;
    fixture
        .create("images", &production(&json!({"version": "1.0.0"})))
        .await
        .unwrap();
    let mut both = production(&json!({"version": "1.1.0"}));
    both["database"]["postgres"]["host"] = json!("db2");

    assert_change_refused(&fixture, "images", &both, "change database.postgres first").await;
}

#[tokio::test]
async fn values_outside_their_bounds_are_refused() {
    let fixture = Fixture::new().await;

    let cases = [
        (json!({"replicas": 0}), "spec.replicas"),
        (json!({"version": "latest"}), "spec.version"),
        (json!({"image": {"digest": "sha256:1"}}), "spec.image.digest"),
        (
            on_volume(&json!({"size": "0"})),
            "spec.storage.filesystem.volumeClaim.size",
        ),
        (json!({"service": {"port": 70000}}), "spec.service.port"),
        (
            json!({"resources": {"limits": {"cpu": "much"}}}),
            "spec.resources.limits",
        ),
        (json!({"version": "1.0.0".repeat(20)}), "spec.version"),
    ];
    for (spec, field) in cases {
        assert_refused(&fixture, "images", &spec, field).await;
    }
}

#[tokio::test]
async fn a_name_that_makes_no_service_name_is_refused() {
    let fixture = Fixture::new().await;
    let words = "at most 40 lower-case letters";

    assert_refused(&fixture, "a.b", &json!({}), words).await;
    assert_refused(&fixture, "1a", &json!({}), words).await;
    assert_refused(&fixture, &"a".repeat(41), &json!({}), words).await;
    assert!(fixture.create(&"a".repeat(40), &json!({})).await.is_ok());
}

#[tokio::test]
async fn the_storage_of_a_registry_cannot_become_another() {
    let fixture = Fixture::new().await;
    fixture.create("s3", &production(&json!({}))).await.unwrap();
    fixture.create("volume", &json!({})).await.unwrap();
    let with_s3 = |s3: Value| production(&json!({"storage": {"s3": s3}}));
    let credentials = json!({"name": "bucket"});

    let moved = "storage cannot move between a volume and a bucket";
    assert_change_refused(&fixture, "s3", &json!({}), moved).await;
    assert_change_refused(&fixture, "volume", &production(&json!({})), moved).await;
    let other = "bucket, region and rootDirectory cannot change";
    for s3 in [
        json!({"bucket": "others", "credentialsRef": credentials}),
        json!({"bucket": "images", "region": "eu-west-1", "credentialsRef": credentials}),
        json!({"bucket": "images", "rootDirectory": "below", "credentialsRef": credentials}),
    ] {
        assert_change_refused(&fixture, "s3", &with_s3(s3), other).await;
    }
    let claim = json!({"storage": {"filesystem": {"claimName": "mine"}}});
    assert_change_refused(&fixture, "volume", &claim, "claimName cannot change").await;
}

#[tokio::test]
async fn a_registry_neither_leaves_postgres_nor_moves_to_it() {
    let fixture = Fixture::new().await;
    fixture.create("postgres", &production(&json!({}))).await.unwrap();
    let on_s3 = |database: Option<Value>| {
        let mut spec = production(&json!({}));
        match database {
            Some(database) => spec["database"] = database,
            None => drop(spec.as_object_mut().unwrap().remove("database")),
        }
        spec
    };
    fixture.create("sqlite", &on_s3(None)).await.unwrap();

    let moved = "database cannot move between SQLite and PostgreSQL";
    assert_change_refused(&fixture, "postgres", &on_s3(None), moved).await;
    assert_change_refused(&fixture, "postgres", &on_s3(Some(json!({}))), moved).await;
    assert_change_refused(&fixture, "sqlite", &production(&json!({})), moved).await;
    assert!(fixture.respec("sqlite", &on_s3(Some(json!({})))).await.is_ok());
}

#[tokio::test]
async fn a_volume_may_grow_and_not_shrink_and_keeps_its_class() {
    let fixture = Fixture::new().await;
    fixture
        .create(
            "images",
            &on_volume(&json!({"size": "20Gi", "storageClassName": "fast"})),
        )
        .await
        .unwrap();

    let shrunk = on_volume(&json!({"size": "10Gi", "storageClassName": "fast"}));
    assert_change_refused(&fixture, "images", &shrunk, "a volume cannot shrink").await;
    let slow = on_volume(&json!({"size": "20Gi", "storageClassName": "slow"}));
    assert_change_refused(&fixture, "images", &slow, "class of a claimed volume cannot change").await;
    let grown = on_volume(&json!({"size": "30Gi", "storageClassName": "fast"}));
    assert!(fixture.respec("images", &grown).await.is_ok());
}

#[tokio::test]
async fn where_the_bucket_and_the_database_are_reached_may_change() {
    let fixture = Fixture::new().await;
    fixture.create("images", &production(&json!({}))).await.unwrap();
    let mut spec = production(&json!({"replicas": 5}));
    spec["storage"]["s3"]["endpoint"] = json!("https://s3.example.com");
    spec["storage"]["s3"]["credentialsRef"]["name"] = json!("new");
    spec["database"]["postgres"]["host"] = json!("new-db");

    assert!(fixture.respec("images", &spec).await.is_ok());
}
