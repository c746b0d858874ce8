//! Around every request of a client: who asks, where the answer's Locations lead, and that a panic stays alone.

use super::answer::Answer;
use super::client::ClientAddress;
use super::error::ApiError;
use super::metrics::HttpMetrics;
use super::{Api, classes, endpoint, finished};
use axum::extract::{Request, State};
use futures::FutureExt;
use http::{Method, Uri};
use oci::query;
use std::any::Any;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

pub(super) async fn serve(State(api): State<Arc<Api>>, mut request: Request) -> Answer {
    // Only a router without a listener has no peer.
    let peer = request.extensions().get().copied();
    let peer = peer.unwrap_or(ClientAddress(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
    let told = api.addressing.forwarded(request.headers(), peer.0);
    let client = told.as_ref().map_or(peer, |told| ClientAddress(told.client));
    if client != peer {
        request.extensions_mut().insert(client);
    }
    let front = api.addressing.front(request.uri(), request.headers(), told);
    let asked = (request.method().clone(), request.uri().clone());
    // On the heap at once: it is large, and would be moved otherwise.
    let answering = Box::pin(super::serve(&api, request, client));
    let answer = contained(&api.metrics, &asked, answering).await;
    front.applied(answer)
}

/// The answer, or an apology of a handler that panicked. Nothing is shared with it but what outlives any request:
/// stores and counters, whose own locks are given back on the way.
async fn contained(
    metrics: &HttpMetrics,
    (method, uri): &(Method, Uri),
    answering: impl Future<Output = Answer>,
) -> Answer {
    let begun = Instant::now();
    match AssertUnwindSafe(answering).catch_unwind().await {
        Ok(answer) => answer,
        Err(panic) => {
            let request_id = Uuid::new_v4().simple().to_string();
            tracing::error!(request_id, %method, panic = words(&*panic), "a handler panicked");
            metrics.panicked();
            let endpoint = query::percent_decode(uri.path()).and_then(|path| endpoint::parse(method, &path).ok());
            let (_, class) = classes::kind(endpoint.as_ref(), method);
            metrics.answered(("none", class), 500, (begun.elapsed(), Duration::ZERO));
            finished(ApiError::Panicked.answer(&request_id), method, &request_id)
        }
    }
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("it did not say why")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;
    use http_body_util::BodyExt;
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    #[tokio::test]
    async fn a_panic_is_an_answer_with_an_id_and_a_count() {
        let mut registry = Registry::default();
        let metrics = HttpMetrics::register(&mut registry, &[("stage", "canary")]);
        let panics = async { panic!("index out of bounds") };

        let asked = (Method::GET, Uri::from_static("/v2/a/manifests/latest"));
        let answer = contained(&metrics, &asked, panics).await;

        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let told: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(told["errors"][0]["code"], "UNKNOWN");
        assert!(told["errors"][0]["message"].as_str().unwrap().contains(&id), "{told}");
        let mut shown = String::new();
        encode(&mut shown, &registry).unwrap();
        assert!(shown.contains("panics_total 1"), "{shown}");
        assert!(shown.contains("code=\"500\"} 1"), "{shown}");
        let counted = "class_requests_total{stage=\"canary\",class=\"manifest_read\",method=\"read\",code=\"5xx\"} 1\n";
        assert!(shown.contains(counted), "{shown}");
    }
}
