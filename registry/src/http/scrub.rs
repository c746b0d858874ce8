//! `POST /management/v1/scrub`, on the admin listener: a scrub by the process that has the database.

use super::admin::Admin;
use super::lines;
use crate::distribution::Distribution;
use crate::distribution::scrub::{Event, Scrub};
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use http::StatusCode;
use std::sync::Arc;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// One at a time.
type Running = Arc<Mutex<()>>;

/// The route, behind the management API's guard.
pub(super) fn routes() -> Router<Arc<Admin>> {
    let running = Running::default();
    let start = move |State(admin): State<Arc<Admin>>, wanted: Bytes| {
        let running = Arc::clone(&running);
        async move { start(admin.distribution.clone(), running, &wanted) }
    };
    Router::new().route("/management/v1/scrub", post(start))
}

/// Answers with one JSON object a line as findings come. The scrub ends when its client goes away.
fn start(distribution: Distribution, running: Running, wanted: &[u8]) -> Response {
    let scrub: Scrub = match serde_json::from_slice(wanted) {
        Ok(scrub) => scrub,
        Err(odd) => return (StatusCode::BAD_REQUEST, format!("{odd}\n")).into_response(),
    };
    let Ok(running) = running.try_lock_owned() else {
        return (StatusCode::CONFLICT, "another scrub is running\n").into_response();
    };
    lines::lines(|sender| async move {
        let _running: OwnedMutexGuard<()> = running;
        let last = match distribution.scrub(&scrub, &sender).await {
            Ok(report) => Event::Summary(report),
            Err(failed) => {
                tracing::warn!(error = &failed as &dyn std::error::Error, "scrub ended early");
                let message = lines::told(&failed);
                Event::Failed { message }
            }
        };
        // A client that has gone away needs no end.
        drop(sender.send(last).await);
    })
}
