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
use tokio::time::{Instant, Sleep, sleep};

const DRAIN_BYTES: usize = 32 * 1024 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// Longest silence of a client in the middle of its body.
const IDLE: Duration = Duration::from_mins(1);

/// The bytes that a client sends.
pub(super) struct RequestBody {
    stream: BodyDataStream,
    idle: Pin<Box<Sleep>>,
    /// The first piece, when it was looked at before anybody wanted it.
    peeked: Option<Bytes>,
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
            over: http_body::Body::is_end_stream(&body),
            stream: body.into_data_stream(),
            idle: Box::pin(sleep(IDLE)),
            peeked: None,
            waiting: expects,
        }
    }

    /// True when there is no byte in it. What is read to know that is not lost.
    pub(super) async fn is_empty(&mut self) -> Result<bool, BodyError> {
        while self.peeked.as_ref().is_none_or(Bytes::is_empty) {
            match self.next().await.transpose()? {
                Some(piece) => self.peeked = Some(piece),
                None => return Ok(true),
            }
        }
        Ok(false)
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
        if let Some(peeked) = self.peeked.take() {
            return Poll::Ready(Some(Ok(peeked)));
        }
        if self.over {
            return Poll::Ready(None);
        }
        self.waiting = false;
        match Pin::new(&mut self.stream).poll_next(cx) {
            Poll::Ready(Some(Ok(piece))) => {
                let next = Instant::now() + IDLE;
                self.idle.as_mut().reset(next);
                Poll::Ready(Some(Ok(piece)))
            }
            Poll::Ready(Some(Err(broken))) => {
                self.over = true;
                Poll::Ready(Some(Err(BodyError::Broken(Box::new(broken)))))
            }
            Poll::Ready(None) => {
                self.over = true;
                Poll::Ready(None)
            }
            Poll::Pending => {
                std::task::ready!(self.idle.as_mut().poll(cx));
                self.over = true;
                Poll::Ready(Some(Err(BodyError::Stalled(IDLE))))
            }
        }
    }
}
