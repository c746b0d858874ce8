//! The admin listener: probes, metrics, management. Never open to clients.

use super::deleted;
use super::gc;
use super::management::{self, Management};
use super::repositories;
use super::scrub;
use crate::blobs::BlobStore;
use crate::distribution::Distribution;
use crate::flaws::{self, Flaw};
use crate::metadata::migrations::{self, MigrationSet};
use crate::metadata::{Engine, Metadata};
use crate::release;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use http::{StatusCode, header};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// What the admin listener shows.
#[derive(Debug, Clone)]
pub struct Admin {
    /// False while the server starts and from the moment it is told to stop.
    pub ready: Arc<AtomicBool>,
    /// Measures of every part.
    pub registry: Arc<Registry>,
    /// The rows.
    pub metadata: Metadata,
    /// The bytes.
    pub blobs: BlobStore,
    /// The workflows.
    pub distribution: Distribution,
    /// Absent: no management API.
    pub management: Option<Management>,
    /// The most items of one transaction of a collection that somebody asks for.
    pub batch: u32,
}

/// `/livez`, `/readyz`, `/metrics`, `/management/v1/`.
pub fn admin_router(admin: Admin) -> Router {
    let admin = Arc::new(admin);
    let guard = middleware::from_fn_with_state(Arc::clone(&admin), management::guard);
    let managed = Router::new()
        .route("/management/v1/status", get(status))
        .merge(deleted::routes())
        .merge(repositories::routes())
        .merge(gc::routes())
        .merge(scrub::routes())
        .route_layer(guard);
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .merge(managed)
        .with_state(admin)
}

async fn livez() -> &'static str {
    std::future::ready("ok\n").await
}

async fn readyz(State(admin): State<Arc<Admin>>) -> (StatusCode, String) {
    if !admin.ready.load(Ordering::SeqCst) {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "not serving: starting or stopping\n".to_owned(),
        );
    }
    let database = tokio::time::timeout(PROBE_TIMEOUT, admin.metadata.ping()).await;
    let store = tokio::time::timeout(PROBE_TIMEOUT, admin.blobs.probe()).await;
    let verdict = |done: bool| if done { "ok" } else { "not answering" };
    let (database, store) = (matches!(database, Ok(Ok(()))), matches!(store, Ok(Ok(()))));
    let text = format!("database: {}\nstorage: {}\n", verdict(database), verdict(store));
    // Manifests are served from the database: a store that is away is no reason to take the pod out.
    (
        if database {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        },
        text,
    )
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    if flaws::has(Flaw::NoMetrics) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let mut text = String::new();
    match encode(&mut text, &admin.registry) {
        Ok(()) => std::future::ready(([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response()).await,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn status(State(admin): State<Arc<Admin>>) -> Response {
    let engine: Engine = admin.metadata.engine();
    match migrations::status(&admin.metadata, &MigrationSet::embedded(engine)).await {
        Ok(schema) => {
            let texts = |versions: &[i64]| versions.iter().map(i64::to_string).collect::<Vec<_>>();
            Json(json!({
                "version": release::version(),
                "database": {
                    "engine": engine.as_str(),
                    "schema": {
                        "applied": schema.version().map(|version| version.to_string()),
                        "required": schema.required.map(|version| version.to_string()),
                        "pending_pre": texts(&schema.pending_pre),
                        "pending_post": texts(&schema.pending_post),
                    },
                },
                "storage": admin.blobs.kind(),
            }))
            .into_response()
        }
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "schema status not known");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}
