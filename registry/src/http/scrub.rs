//! `POST /management/v1/scrub`, on the admin listener: a scrub by the process that has the database.

use super::admin::Admin;
use crate::distribution::Distribution;
use crate::distribution::scrub::{Event, Scrub};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use futures::future::ready;
use futures::{StreamExt, stream};
use http::{StatusCode, header};
use std::convert::Infallible;
use std::error::Error as _;
use std::sync::Arc;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Events that wait for a slow reader before the scrub does.
const AHEAD: usize = 100;
const LINES: &str = "application/x-ndjson";

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
    let (sender, receiver) = channel(AHEAD);
    // Part of the answer: it goes on for as long as somebody reads.
    let scrubbing = stream::once(async move {
        let _running: OwnedMutexGuard<()> = running;
        let ended = distribution.scrub(&scrub, &sender).await;
        let last = match ended {
            Ok(report) => Event::Summary(report),
            Err(failed) => {
                let cause = failed.source().map(|cause| format!(": {cause}")).unwrap_or_default();
                let message = format!("{failed}{cause}");
                tracing::warn!(error = &failed as &dyn std::error::Error, "scrub ended early");
                Event::Failed { message }
            }
        };
        // A client that has gone away needs no end.
        drop(sender.send(last).await);
    });
    let lines = stream::unfold(receiver, line);
    let body = Body::from_stream(stream::select(lines, scrubbing.filter_map(|()| ready(None))));
    ([(header::CONTENT_TYPE, LINES)], body).into_response()
}

async fn line(mut receiver: Receiver<Event>) -> Option<(Result<Bytes, Infallible>, Receiver<Event>)> {
    let event = receiver.recv().await?;
    // Events are plain records: they always serialise.
    let mut line = serde_json::to_vec(&event).unwrap_or_default();
    line.push(b'\n');
    Some((Ok(line.into()), receiver))
}
