//! Probes, metrics, management and the way a server stops.

use crate::support::content::{bytes, sha256};
use crate::support::{TestRegistry, operator_token};
use futures::{StreamExt, stream};
use reqwest::{Body, Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::oneshot;

#[tokio::test]
async fn probes_answer_and_metrics_count_by_endpoint() {
    let registry = TestRegistry::start().await;
    registry.get("/v2/").await;

    let text = async |path: &str| {
        reqwest::get(registry.admin_url(path))
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
    };

    assert_eq!(text("/livez").await, "ok\n");
    assert_eq!(text("/readyz").await, "database: ok\nstorage: ok\n");
    let metrics = text("/metrics").await;
    assert!(
        metrics.contains("berth_registry_http_requests_total{endpoint=\"ping\",code=\"200\"} 1"),
        "{metrics}"
    );
    assert!(metrics.ends_with("# EOF\n"));
}

#[tokio::test]
async fn requests_are_counted_by_class_version_and_stage() {
    let registry = TestRegistry::start_with(&[
        ("BERTH_METRICS_REGISTRY", "team/registry"),
        ("BERTH_METRICS_REPLICA", "registry-0"),
        ("BERTH_METRICS_STAGE", "canary"),
    ])
    .await;
    registry.get("/v2/team/app/manifests/none").await;
    registry.open_upload("team/app").await;

    let metrics = reqwest::get(registry.admin_url("/metrics"))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();

    let version = env!("CARGO_PKG_VERSION");
    let subject = format!("registry=\"team/registry\",stage=\"canary\",version=\"{version}\"");
    for line in [
        format!("berth_registry_info{{{subject},replica=\"registry-0\"}} 1"),
        format!(
            "berth_registry_http_class_requests_total{{{subject},class=\"manifest_read\",method=\"read\",code=\"404\"}} 1"
        ),
        format!(
            "berth_registry_http_class_requests_total{{{subject},class=\"blob_upload\",method=\"write\",code=\"2xx\"}} 1"
        ),
        format!(
            "berth_registry_http_class_requests_total{{{subject},class=\"blob_upload\",method=\"write\",code=\"5xx\"}} 0"
        ),
        format!(
            "berth_registry_http_class_duration_seconds_bucket{{{subject},le=\"60.0\",class=\"blob_upload\",method=\"write\",code=\"2xx\"}} 1"
        ),
    ] {
        assert!(metrics.contains(&format!("{line}\n")), "{line}\n{metrics}");
    }
}

#[tokio::test]
async fn the_management_api_tells_the_operator_and_nobody_else() {
    let registry = TestRegistry::start().await;
    let url = registry.admin_url("/management/v1/status");
    let secret = registry.config.http.secret.clone().unwrap();

    let stranger = registry
        .client
        .get(&url)
        .bearer_auth(operator_token("guessed"))
        .send()
        .await
        .unwrap();
    let operator = registry
        .client
        .get(&url)
        .bearer_auth(operator_token(&secret))
        .send()
        .await
        .unwrap();

    assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED);
    let told: Value = operator.json().await.unwrap();
    assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(
        told["database"]["schema"]["applied"],
        told["database"]["schema"]["required"]
    );
    assert_eq!(told["database"]["schema"]["pending_pre"], json!([]));
}

#[tokio::test]
async fn a_stopping_server_is_not_ready_and_lets_a_push_finish() {
    let registry = TestRegistry::start().await;
    let upload = registry.open_upload("team/app").await;
    let blob = bytes(1, 2_000_000);
    let (begun, half_way) = oneshot::channel();
    let (go_on, told) = oneshot::channel::<()>();
    let halves: Vec<Vec<u8>> = blob.chunks(1_000_000).map(<[u8]>::to_vec).collect();
    let (first, second) = (halves[0].clone(), halves[1].clone());
    let body = stream::once(async move { Ok::<_, std::io::Error>(first) }).chain(stream::once(async move {
        begun.send(()).unwrap();
        told.await.unwrap();
        Ok(second)
    }));
    let path = format!("{upload}?digest={}", sha256(&blob));
    let request = registry
        .request(Method::PUT, &path)
        .body(Body::wrap_stream(body.boxed()))
        .send();
    let readiness = registry.admin_url("/readyz");
    let stopping = async {
        half_way.await.unwrap();
        registry.server().stop();
        while reqwest::get(&readiness).await.unwrap().status() != StatusCode::SERVICE_UNAVAILABLE {
            tokio::task::yield_now().await;
        }
        go_on.send(()).unwrap();
    };

    let (answer, ()) = tokio::join!(request, stopping);

    assert_eq!(answer.unwrap().status(), StatusCode::CREATED);
    registry.stop().await;
}
