//! `/management/v1/gc`, on the admin listener: how collection stands, stopping and resuming it, and a collection at once.

use super::admin::Admin;
use super::lines;
use crate::distribution::Distribution;
use crate::distribution::collect::{Event, Wanted};
use crate::distribution::{CollectorStatus, Error};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// The longest name of who pauses.
const LONGEST_NAME: usize = 200;

/// The routes, behind the management API's guard.
pub(super) fn routes() -> Router<Arc<Admin>> {
    Router::new()
        .route("/management/v1/gc", get(status))
        .route("/management/v1/gc/pause", post(pause))
        .route("/management/v1/gc/resume", post(resume))
        .route("/management/v1/gc/run", post(run))
}

async fn status(State(admin): State<Arc<Admin>>) -> Response {
    told(admin.distribution.collector_status().await)
}

/// Who pauses, and why, in their own words.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pause {
    by: String,
}

async fn pause(State(admin): State<Arc<Admin>>, body: Bytes) -> Response {
    let by = if body.is_empty() {
        "the management API".to_owned()
    } else {
        match serde_json::from_slice::<Pause>(&body) {
            Ok(pause) => pause.by.chars().take(LONGEST_NAME).collect(),
            Err(odd) => return refused(&format!("wants a body such as {{\"by\": \"a name\"}}: {odd}")),
        }
    };
    let paused = admin.distribution.pause_collection(&by).await;
    if matches!(paused, Ok(true)) {
        tracing::warn!(by, "collection of garbage paused on every server");
    }
    match paused {
        Ok(_) => status(State(admin)).await,
        Err(failed) => told(Err(failed)),
    }
}

async fn resume(State(admin): State<Arc<Admin>>) -> Response {
    match admin.distribution.resume_collection().await {
        Ok(resumed) => {
            if resumed {
                tracing::warn!("collection of garbage resumed");
            }
            status(State(admin)).await
        }
        Err(failed) => told(Err(failed)),
    }
}

/// Answers with one JSON object a line as it goes on. The collection ends when its client goes away.
async fn run(State(admin): State<Arc<Admin>>, body: Bytes) -> Response {
    let wanted = if body.is_empty() {
        Ok(Wanted::default())
    } else {
        serde_json::from_slice(&body)
    };
    match wanted {
        Ok(wanted) => collecting(admin.distribution.clone(), wanted, admin.batch),
        Err(odd) => refused(&format!("wants a body such as {{\"dry_run\": true}}: {odd}")),
    }
}

fn collecting(distribution: Distribution, wanted: Wanted, batch: u32) -> Response {
    lines::lines(|sender| async move {
        let last = match distribution.collect(wanted, batch, &sender).await {
            Ok(totals) => Event::Summary(totals),
            Err(failed) => {
                tracing::warn!(error = &failed as &dyn std::error::Error, "collection ended early");
                let message = lines::told(&failed);
                Event::Failed { message }
            }
        };
        // A client that has gone away needs no end.
        drop(sender.send(last).await);
    })
}

fn refused(message: &str) -> Response {
    (StatusCode::BAD_REQUEST, format!("{message}\n")).into_response()
}

fn told(status: Result<CollectorStatus, Error>) -> Response {
    match status {
        Ok(status) => Json(shown(&status)).into_response(),
        Err(failed) => {
            tracing::error!(
                error = &failed as &dyn std::error::Error,
                "state of collection not known"
            );
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

fn shown(status: &CollectorStatus) -> Value {
    let time = |micros: Option<i64>| micros.and_then(|micros| jiff::Timestamp::from_microsecond(micros).ok());
    let queues = status.queues.iter().map(|queue| {
        json!({
            "kind": queue.kind,
            "due": queue.due,
            "oldest_seconds": queue.oldest_age / 1_000_000,
            "parked": queue.parked,
        })
    });
    json!({
        "paused": status.paused_at.is_some(),
        "paused_at": time(status.paused_at).map(|time| time.to_string()),
        "paused_by": status.paused_by,
        "budget": {
            "objects_this_hour": status.window_objects,
            "bytes_this_hour": status.window_bytes,
            "exhausted_until": time(status.exhausted_until).map(|time| time.to_string()),
        },
        "queues": queues.collect::<Vec<_>>(),
    })
}
