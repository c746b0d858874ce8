//! What the pods say about themselves reaches the status.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};

use crate::support::Fixture;

/// A management API that knows `secret`; gives its URL.
#[expect(clippy::disallowed_methods, reason = "it ends with the runtime of its test")]
async fn management_api(secret: Vec<u8>) -> String {
    let router = Router::new()
        .route("/management/v1/status", get(status))
        .with_state(Arc::new(secret));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::task::spawn(async move { axum::serve(listener, router).await });
    base
}

async fn status(State(secret): State<Arc<Vec<u8>>>, headers: HeaderMap) -> (StatusCode, Json<Value>) {
    let header = headers
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_audience(&["berth-management"]);
    validation.set_issuer(&["berth-operator"]);
    let token = header.strip_prefix("Bearer ").unwrap_or_default();
    match jsonwebtoken::decode::<Value>(token, &DecodingKey::from_secret(&secret), &validation) {
        Ok(_) => (StatusCode::OK, Json(report())),
        Err(error) => (StatusCode::UNAUTHORIZED, Json(json!({"error": error.to_string()}))),
    }
}

fn report() -> Value {
    let schema =
        json!({"applied": "20261122000003", "required": "20261122000001", "pending_pre": [], "pending_post": ["4"]});
    json!({"version": "0.1.7", "database": {"engine": "sqlite", "schema": schema}, "storage": "filesystem"})
}

async fn http_secret(fixture: &Fixture) -> Vec<u8> {
    fixture.get::<Secret>("images-http").await.data.unwrap()["http-secret"]
        .0
        .clone()
}

#[tokio::test]
async fn version_and_schema_come_from_the_pods_by_a_signed_request() {
    let fixture = Fixture::new().await;
    fixture.create("images", &json!({})).await.unwrap();
    fixture.pass_until_ready("images").await;
    let base = management_api(http_secret(&fixture).await).await;

    let registry = fixture
        .pass_of(&Arc::new(fixture.with_management(base)), "images")
        .await;

    let status = registry.status.unwrap();
    assert_eq!(status.version.unwrap().main, "0.1.7");
    let schema = status.schema.unwrap();
    assert_eq!(
        (schema.applied.as_str(), schema.required.as_str()),
        ("20261122000003", "20261122000001")
    );
    assert_eq!(schema.pending_post, ["4"]);
}

#[tokio::test]
async fn pods_that_stop_answering_change_nothing() {
    let fixture = Fixture::new().await;
    fixture.create("images", &json!({})).await.unwrap();
    fixture.pass_until_ready("images").await;
    let base = management_api(http_secret(&fixture).await).await;
    let told = fixture
        .pass_of(&Arc::new(fixture.with_management(base)), "images")
        .await;

    let silent = fixture.pass("images").await;

    assert_eq!(silent.metadata.resource_version, told.metadata.resource_version);
    assert_eq!(silent.status.unwrap().version.unwrap().main, "0.1.7");
}

#[tokio::test]
async fn a_pod_with_another_secret_is_not_believed_and_not_fatal() {
    let fixture = Fixture::new().await;
    fixture.create("images", &json!({})).await.unwrap();
    fixture.pass_until_ready("images").await;
    let base = management_api(b"another secret".to_vec()).await;

    let registry = fixture
        .pass_of(&Arc::new(fixture.with_management(base)), "images")
        .await;

    assert_eq!(registry.status.unwrap().version, None);
}
