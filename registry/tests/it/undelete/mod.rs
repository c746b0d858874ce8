//! Restoring what clients deleted: `deletion.retention` and the management API.

mod collected;
mod expiry;
mod manifests;
mod tags;
mod together;

use crate::support::TestRegistry;
use oci::{Digest, media_type};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

const REPOSITORY: &str = "team/app";

/// A registry that keeps what is deleted for an hour.
async fn keeping() -> TestRegistry {
    keeping_with(&[]).await
}

async fn keeping_with(settings: &[(&str, &str)]) -> TestRegistry {
    let retention = ("BERTH_DELETION_RETENTION", "1h");
    TestRegistry::start_with(&[&[retention], settings].concat()).await
}

fn manifest_path(reference: impl std::fmt::Display) -> String {
    format!("/v2/{REPOSITORY}/manifests/{reference}")
}

async fn delete(registry: &TestRegistry, reference: impl std::fmt::Display) {
    let deleted = registry.delete(&manifest_path(reference)).await;
    assert_eq!(deleted.status(), StatusCode::ACCEPTED);
}

async fn undelete(registry: &TestRegistry, what: &Value) -> Response {
    let call = registry.managed(Method::POST, &format!("undelete/{REPOSITORY}"));
    call.json(what).send().await.unwrap()
}

/// What came back, which must be a success.
async fn undeleted(registry: &TestRegistry, what: &Value) -> Value {
    let answer = undelete(registry, what).await;
    let (status, body) = (answer.status(), answer.json::<Value>().await.unwrap());
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}

/// The status and the words of a refusal.
async fn refused(registry: &TestRegistry, what: &Value) -> (StatusCode, String) {
    let answer = undelete(registry, what).await;
    let (status, body) = (answer.status(), answer.json::<Value>().await.unwrap());
    (status, body["errors"][0]["message"].as_str().unwrap().to_owned())
}

async fn kept(registry: &TestRegistry, kind: &str) -> Vec<Value> {
    let list = registry.managed(Method::GET, &format!("deleted-{kind}/{REPOSITORY}"));
    let body: Value = list.send().await.unwrap().json().await.unwrap();
    body[kind].as_array().unwrap().clone()
}

/// The digest that a tag or digest leads to, if it leads anywhere.
async fn pulled(registry: &TestRegistry, reference: impl std::fmt::Display) -> Option<String> {
    let answer = registry.get(&manifest_path(reference)).await;
    let digest = crate::support::header(&answer, "docker-content-digest");
    (answer.status() == StatusCode::OK).then_some(digest)
}

async fn tags(registry: &TestRegistry) -> Vec<Value> {
    let answer = registry.get(&format!("/v2/{REPOSITORY}/tags/list")).await;
    let body: Value = answer.json().await.unwrap();
    body["tags"].as_array().unwrap().clone()
}

async fn put(registry: &TestRegistry, reference: impl std::fmt::Display, media_type: &str, body: &str) -> StatusCode {
    let reference = reference.to_string();
    let answer = registry.put_manifest(REPOSITORY, &reference, media_type, body);
    answer.await.status()
}

async fn push_index(registry: &TestRegistry, tag: &str, children: &[Digest]) -> (StatusCode, Digest) {
    let list = crate::support::content::index(children);
    let status = put(registry, tag, media_type::OCI_INDEX, &list).await;
    (status, crate::support::content::sha256(list.as_bytes()))
}

fn tag(name: &str) -> Value {
    json!({ "tag": name })
}

fn manifest(digest: Digest) -> Value {
    json!({ "digest": digest })
}
