//! A request's body, which outlives the handler that reads it.
//!
//! Answering before the body has been read makes hyper close an HTTP/1 connection, and a client in the middle of
//! sending then sees a broken pipe instead of the answer. So an early answer first reads what is left, up to a bound.

use crate::distribution::BodyError;
use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use http::{HeaderMap, header};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

const DRAIN_BYTES: usize = 32 * 1024 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// The bytes that a client sends.
pub(super) struct RequestBody {
    stream: BodyDataStream,
    /// The client waits for our leave and has sent nothing yet.
    waiting: bool,
    over: bool,
}

impl RequestBody {
    pub(super) fn new(body: Body, headers: &HeaderMap) -> Self {
        let expects = headers
            .get(header::EXPECT)
            .is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        Self {
            stream: body.into_data_stream(),
            waiting: expects,
            over: false,
        }
    }

    /// The whole body, unless it is longer than `limit`.
    pub(super) async fn collect(&mut self, limit: usize) -> Result<Option<Bytes>, BodyError> {
        let mut whole = BytesMut::new();
        while let Some(piece) = self.next().await.transpose()? {
            if whole.len() + piece.len() > limit {
                return Ok(None);
            }
            whole.extend_from_slice(&piece);
        }
        Ok(Some(whole.freeze()))
    }

    /// Reads and drops what is left, so that the client gets to see the answer.
    pub(super) async fn drain(&mut self) {
        if self.over || self.waiting {
            return;
        }
        let reading = async {
            let mut drained = 0;
            while let Some(Ok(piece)) = self.next().await {
                drained += piece.len();
                if drained > DRAIN_BYTES {
                    return;
                }
            }
        };
        // Whoever sends more, or slower, has to live with a closed connection.
        drop(tokio::time::timeout(DRAIN_TIME, reading).await);
    }
}

impl Stream for RequestBody {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        self.waiting = false;
        let polled = Pin::new(&mut self.stream).poll_next(cx);
        if let Poll::Ready(None | Some(Err(_))) = polled {
            self.over = true;
        }
        polled.map(|item| item.map(|piece| piece.map_err(|broken| BodyError::Broken(Box::new(broken)))))
    }
}
