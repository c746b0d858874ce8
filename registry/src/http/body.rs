//! A request's body, which outlives the handler that reads it.
//!
//! Answering before the body has been read makes hyper close an HTTP/1 connection, and a client in the middle of
//! sending then sees a broken pipe instead of the answer. So an early answer first reads what is left, up to a bound.

use super::error::ApiError;
use super::memory::{BodyMemory, Room};
use crate::distribution::BodyError;
use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::{HeaderMap, header};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

const DRAIN_BYTES: usize = 32 * 1024 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(5);
/// A client that sends less than this in the time of a stall sends nothing.
const LEAST_PROGRESS: usize = 1024;

/// The bytes that a client sends.
pub(super) struct RequestBody {
    stream: BodyDataStream,
    /// Longest silence of the client in the middle of its body.
    stall: Duration,
    patience: Patience,
    /// The first piece, when it was looked at before anybody wanted it.
    peeked: Option<Bytes>,
    /// The client waits for our leave and has sent nothing yet.
    waiting: bool,
    over: bool,
}

/// A body that was read whole, and the memory that it has.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) bytes: Vec<u8>,
    _room: Room,
}

/// How much longer the client is waited for. Time in which nobody reads the body is not the client's.
struct Patience {
    /// Allocated when the client is waited for at all.
    alarm: Option<Pin<Box<Sleep>>>,
    waiting_since: Option<Instant>,
    left: Duration,
    /// Bytes since `left` was last whole.
    progress: usize,
    /// How long the client was waited for in all.
    waited: Duration,
}

impl RequestBody {
    pub(super) fn new(body: Body, headers: &HeaderMap, stall: Duration) -> Self {
        let expects = headers
            .get(header::EXPECT)
            .is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        Self {
            over: http_body::Body::is_end_stream(&body),
            stream: body.into_data_stream(),
            stall,
            patience: Patience {
                alarm: None,
                waiting_since: None,
                left: stall,
                progress: 0,
                waited: Duration::ZERO,
            },
            peeked: None,
            waiting: expects,
        }
    }

    /// How long the client let us wait for what it sends.
    pub(super) fn waited(&self) -> Duration {
        self.patience.waited
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

    /// The whole body, unless it is longer than `limit`. It waits for memory, but not for long.
    pub(super) async fn collect(
        &mut self,
        limit: usize,
        announced: usize,
        memory: &BodyMemory,
    ) -> Result<Option<Whole>, ApiError> {
        let (mut bytes, mut room) = (Vec::new(), Room::default());
        while let Some(piece) = self.next().await.transpose()? {
            let needed = bytes.len() + piece.len();
            if needed > limit {
                return Ok(None);
            }
            memory.make(&mut room, needed, announced).await?;
            if needed > bytes.capacity() {
                // Twice as much each time, as a vector does, but never more than there is room for.
                let capacity = needed.max(bytes.capacity() * 2).min(room.bytes());
                bytes.reserve_exact(capacity - bytes.len());
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(Some(Whole { bytes, _room: room }))
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

impl Patience {
    fn came(&mut self, bytes: usize, stall: Duration) {
        self.progress += bytes;
        let waited = self.ended();
        if self.progress >= LEAST_PROGRESS {
            (self.progress, self.left) = (0, stall);
        } else {
            self.left = self.left.saturating_sub(waited);
        }
    }

    /// The client was waited for until now.
    fn ended(&mut self) -> Duration {
        let since = self.waiting_since.take();
        let waited = since.map_or(Duration::ZERO, |since| since.elapsed());
        self.waited += waited;
        waited
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.waiting_since.is_none() {
            let now = Instant::now();
            self.waiting_since = Some(now);
            match &mut self.alarm {
                Some(alarm) => alarm.as_mut().reset(now + self.left),
                None => self.alarm = Some(Box::pin(sleep_until(now + self.left))),
            }
        }
        match &mut self.alarm {
            Some(alarm) => alarm.as_mut().poll(cx),
            None => Poll::Pending,
        }
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
                let stall = self.stall;
                self.patience.came(piece.len(), stall);
                Poll::Ready(Some(Ok(piece)))
            }
            Poll::Ready(Some(Err(broken))) => {
                self.patience.ended();
                self.over = true;
                Poll::Ready(Some(Err(BodyError::Broken(Box::new(broken)))))
            }
            Poll::Ready(None) => {
                self.patience.ended();
                self.over = true;
                Poll::Ready(None)
            }
            Poll::Pending => {
                std::task::ready!(self.patience.poll_end(cx));
                self.patience.ended();
                self.over = true;
                Poll::Ready(Some(Err(BodyError::Stalled(self.stall))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distribution::Error;
    use crate::http::Overload;
    use futures::stream;
    use tokio::time::sleep;

    const STALL: Duration = Duration::from_millis(300);

    /// A body whose pieces come after so many milliseconds each.
    fn sent(pieces: impl Iterator<Item = (u64, usize)> + Send + 'static) -> RequestBody {
        let pieces = stream::iter(pieces).then(|(after, bytes)| async move {
            sleep(Duration::from_millis(after)).await;
            Ok::<_, std::io::Error>(Bytes::from(vec![0; bytes]))
        });
        RequestBody::new(Body::from_stream(pieces), &HeaderMap::new(), STALL)
    }

    async fn collected(body: &mut RequestBody, memory: &BodyMemory) -> Result<Option<Whole>, ApiError> {
        body.collect(100_000, 100_000, memory).await
    }

    fn is_stalled(collected: &Result<Option<Whole>, ApiError>) -> bool {
        matches!(
            collected,
            Err(ApiError::Distribution(Error::Body(BodyError::Stalled(STALL))))
        )
    }

    #[tokio::test]
    async fn bodies_that_stop_in_the_middle_hold_no_more_than_all_may_have() {
        let memory = BodyMemory::impatient(400_000);
        let stopped = || sent([(0, 15_000), (0, 75_000), (3_600_000, 10)].into_iter());
        let mut bodies: Vec<RequestBody> = (0..10).map(|_| stopped()).collect();

        let ended = futures::future::join_all(bodies.iter_mut().map(|body| collected(body, &memory))).await;

        let refused = |ended: &&Result<_, _>| matches!(ended, Err(ApiError::Overloaded(Overload::Manifests)));
        assert_eq!(ended.iter().filter(refused).count(), 7, "300,000 bytes are for three");
        let mut next = sent([(0, 50_000)].into_iter());
        assert!(collected(&mut next, &memory).await.is_ok(), "all was given back");
    }

    #[tokio::test]
    async fn a_body_has_no_more_memory_than_it_has_room() {
        let memory = BodyMemory::impatient(1_000_000);
        let mut body = sent(std::iter::repeat_n((0, 9_999), 10));

        let whole = collected(&mut body, &memory).await.unwrap().unwrap();

        assert_eq!(whole.bytes.len(), 99_990);
        assert!(whole.bytes.capacity() <= 100_000, "{}", whole.bytes.capacity());
    }

    #[tokio::test]
    async fn a_client_that_sends_slowly_is_waited_for_longer_than_a_stall() {
        let mut body = sent(std::iter::repeat_n((30, 1024), 20));

        let whole = collected(&mut body, &BodyMemory::new(1_000_000)).await;

        assert_eq!(whole.unwrap().unwrap().bytes.len(), 20 * 1024);
    }

    #[tokio::test]
    async fn a_client_that_falls_silent_is_not_waited_for() {
        let mut body = sent([(1, 5000), (3_600_000, 5000)].into_iter());

        let whole = collected(&mut body, &BodyMemory::new(1_000_000)).await;

        assert!(is_stalled(&whole));
    }

    #[tokio::test]
    async fn a_byte_now_and_then_is_silence() {
        let mut body = sent(std::iter::repeat((10, 1)));

        let whole = collected(&mut body, &BodyMemory::new(1_000_000)).await;

        assert!(is_stalled(&whole));
    }

    #[tokio::test]
    async fn time_in_which_we_do_not_read_is_not_held_against_the_client() {
        let mut body = sent([(0, 10), (30, 10), (0, 10)].into_iter());
        body.next().await.unwrap().unwrap();

        sleep(STALL * 2).await;

        assert!(body.next().await.unwrap().is_ok());
        assert!(body.next().await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn only_the_time_in_which_we_waited_for_the_client_is_the_clients() {
        let mut body = sent([(0, 10), (60, 10)].into_iter());
        body.next().await.unwrap().unwrap();
        sleep(STALL * 2).await;

        while body.next().await.is_some() {}

        assert!(body.waited() >= Duration::from_millis(55), "{:?}", body.waited());
        assert!(body.waited() < STALL * 2, "{:?}", body.waited());
    }
}
