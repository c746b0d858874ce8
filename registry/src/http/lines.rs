//! Answers of one JSON object a line, for as long as the work behind them goes on.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::future::ready;
use futures::{StreamExt, stream};
use http::header;
use serde::Serialize;
use std::convert::Infallible;
use std::error::Error;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Events that wait for a slow reader before the work does.
const AHEAD: usize = 100;
const LINES: &str = "application/x-ndjson";

/// Does `work`, which tells of itself, and shows each event as it comes. It ends when its client goes away.
pub(super) fn lines<E, F>(work: impl FnOnce(Sender<E>) -> F) -> Response
where
    E: Serialize + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, receiver) = channel(AHEAD);
    // Part of the answer: it goes on for as long as somebody reads.
    let working = stream::once(work(sender));
    let lines = stream::unfold(receiver, line);
    let body = Body::from_stream(stream::select(lines, working.filter_map(|()| ready(None))));
    ([(header::CONTENT_TYPE, LINES)], body).into_response()
}

async fn line<E: Serialize>(mut receiver: Receiver<E>) -> Option<(Result<Bytes, Infallible>, Receiver<E>)> {
    let event = receiver.recv().await?;
    // Events are plain records: they always serialise.
    let mut line = serde_json::to_vec(&event).unwrap_or_default();
    line.push(b'\n');
    Some((Ok(line.into()), receiver))
}

/// An error and its first cause, for an event that says why the work ended early.
pub(super) fn told(failed: &dyn Error) -> String {
    let cause = failed.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{failed}{cause}")
}
