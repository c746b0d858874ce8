//! The API as clients see it: the only module, with `server`, that knows axum.
//!
//! One catch-all route: repository names contain slashes, so `endpoint` reads the path. Order of checks: path and
//! name, method, reference, then what the workflow finds. It must not decide anything about the domain.

mod addressing;
mod admin;
mod answer;
mod body;
mod classes;
mod client;
mod deleted;
mod discovery;
mod endpoint;
mod error;
#[cfg(feature = "flawed")]
mod flawed;
mod forwarded;
mod front;
mod gc;
mod lines;
mod management;
mod memory;
mod metrics;
mod path;
mod pull;
mod push;
mod ranges;
mod redirect;
mod referrers;
mod repositories;
mod screen;
mod scrub;
mod shown;
mod warnings;

pub use addressing::Addressing;
pub use admin::{Admin, admin_router};
pub use client::ClientAddress;
pub use management::Management;
pub use metrics::HttpMetrics;
pub use redirect::{Redirect, Redirected};
pub use screen::Overload;

use crate::distribution::Distribution;
use answer::{API_VERSION, Answer, REQUEST_ID, json, with, with_static};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use body::RequestBody;
use bytes::Bytes;
use endpoint::Endpoint;
use error::ApiError;
use futures::stream;
use http::{Method, StatusCode, header};
use memory::BodyMemory;
use oci::query;
use shown::shown;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// What every request needs.
#[derive(Debug, Clone)]
pub struct Api {
    distribution: Distribution,
    metrics: HttpMetrics,
    redirect: Redirect,
    addressing: Addressing,
    memory: BodyMemory,
    stall: Duration,
}

/// Bounds of what clients send.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    /// How long a client may leave what it sends where it is.
    pub stall: Duration,
    /// Bytes that all manifests that are being pushed may have in memory.
    pub memory: u64,
}

impl Api {
    /// The client API over the workflows.
    pub fn new(
        distribution: Distribution,
        metrics: HttpMetrics,
        redirect: Redirect,
        addressing: Addressing,
        bodies: BodyLimits,
    ) -> Self {
        Self {
            distribution,
            metrics,
            redirect,
            addressing,
            memory: BodyMemory::new(bodies.memory),
            stall: bodies.stall,
        }
    }

    /// Its one route.
    pub fn router(self) -> Router {
        Router::new().fallback(front::serve).with_state(Arc::new(self))
    }
}

/// Answers one request, counts it and writes its line in the log.
async fn serve(api: &Api, request: Request, client: ClientAddress) -> Answer {
    let _under_way = api.metrics.begin();
    let started = Instant::now();
    let request_id = Uuid::new_v4().simple().to_string();
    let (head, body) = request.into_parts();
    let mut body = RequestBody::new(body, &head.headers, api.stall);
    let endpoint = screen::screen(&head)
        .and_then(|()| query::percent_decode(head.uri.path()).ok_or(ApiError::PathEncoding))
        .and_then(|path| endpoint::parse(&head.method, &path));
    let kind = classes::kind(endpoint.as_ref().ok(), &head.method);
    let answer = match &endpoint {
        Ok(endpoint) => match answer_to(api, endpoint, &head, &mut body).await {
            Ok(answer) => answer,
            Err(failed) => failed_answer(&failed, endpoint, &request_id),
        },
        Err(refused) => refused.answer(&request_id),
    };
    let waited = body.waited();
    let answered = started.elapsed();
    // A success may leave a body unread too: a push that is repeated after its answer was lost.
    body.drain().await;
    let answer = finished(answer, &head.method, &request_id);
    let took = started.elapsed();
    api.metrics.answered(kind, answer.status().as_u16(), (answered, waited));
    tracing::info!(
        request_id,
        %client,
        method = %shown(head.method.as_str()),
        path = %shown(head.uri.path()),
        status = answer.status().as_u16(),
        seconds = took.as_secs_f64(),
        "{}",
        kind.0
    );
    answer
}

#[cfg(not(feature = "flawed"))]
use dispatch as answer_to;

/// In a build for tests of roll-outs, with what is wrong with it.
#[cfg(feature = "flawed")]
async fn answer_to(
    api: &Api,
    endpoint: &Endpoint,
    head: &http::request::Parts,
    body: &mut RequestBody,
) -> Result<Answer, ApiError> {
    let answering = Box::pin(dispatch(api, endpoint, head, body));
    flawed::answered(endpoint, answering).await
}

fn failed_answer(failed: &ApiError, endpoint: &Endpoint, request_id: &str) -> Answer {
    if failed.status().is_server_error() {
        tracing::error!(request_id, error = failed as &dyn std::error::Error, "request failed");
    }
    let answer = failed.answer(request_id);
    match (endpoint, failed.stored()) {
        (Endpoint::AppendUpload(repository, id) | Endpoint::FinishUpload(repository, id), Some(stored)) => {
            push::at(answer, repository, *id, stored)
        }
        _ => answer,
    }
}

/// What every answer carries, and what an answer to HEAD leaves out.
fn finished(answer: Answer, method: &Method, request_id: &str) -> Answer {
    let answer = with(answer, REQUEST_ID, request_id);
    let answer = with_static(answer, API_VERSION, "registry/2.0");
    let answer = with_static(answer, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    if method != Method::HEAD {
        return answer;
    }
    match answer.status() {
        // Of a body that is known to be empty the router says so, and these two must not name a length.
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => {
            answer.map(|_| Body::from_stream(stream::empty::<Result<Bytes, Infallible>>()))
        }
        _ => answer.map(|_| Body::empty()),
    }
}

/// Calls the handler of an endpoint; the table is in the order of the specification.
async fn dispatch(
    api: &Api,
    endpoint: &Endpoint,
    head: &http::request::Parts,
    body: &mut RequestBody,
) -> Result<Answer, ApiError> {
    let query = query::pairs(head.uri.query().unwrap_or_default());
    let headers = &head.headers;
    let distribution = &api.distribution;
    match endpoint {
        Endpoint::Ping => Ok(json(StatusCode::OK, b"{}".to_vec())),
        Endpoint::GetBlob(name, digest) => {
            let redirect = api.redirect.wanted(head);
            pull::get_blob(distribution, name, digest, headers, redirect).await
        }
        Endpoint::HeadBlob(name, digest) => pull::head_blob(distribution, name, digest, headers).await,
        Endpoint::GetManifest(name, reference) | Endpoint::HeadManifest(name, reference) => {
            pull::manifest(distribution, name, reference, headers).await
        }
        Endpoint::StartUpload(name) => push::start(distribution, name, &query, headers, body).await,
        Endpoint::AppendUpload(name, id) => push::append(distribution, name, *id, headers, body).await,
        Endpoint::FinishUpload(name, id) => push::finish(distribution, name, *id, &query, headers, body).await,
        Endpoint::PutManifest(name, reference) => {
            let body = (body, &api.memory);
            push::put_manifest(distribution, (name, reference), head, &query, body).await
        }
        Endpoint::Tags(name) => discovery::tags(distribution, name, &query).await,
        Endpoint::Delete(name, what) => push::delete(distribution, name, what).await,
        Endpoint::Referrers(name, digest) => referrers::referrers(distribution, name, digest, &query).await,
        Endpoint::UploadStatus(name, id) => push::status(distribution, name, *id).await,
        Endpoint::CancelUpload(name, id) => push::cancel(distribution, name, *id).await,
        Endpoint::Catalog => discovery::catalog(distribution, &query).await,
    }
}
