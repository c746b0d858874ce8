//! What happens on a connection, counted as it happens.
//!
//! Counting costs a few instructions for each read, write and request; `watch` looks at the counts now and then and
//! finds the connections on which nothing happens. No timer is set or moved per request.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The counts of one connection.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// Bytes that came.
    pub(super) read: AtomicU64,
    /// Bytes that the client's end took.
    pub(super) written: AtomicU64,
    /// The last write found no room.
    pub(super) blocked: AtomicBool,
    /// Requests so far.
    pub(super) begun: AtomicU32,
    /// Requests whose answer is not complete.
    pub(super) under_way: AtomicU32,
    /// `read` when the last request was complete.
    pub(super) read_at_rest: AtomicU64,
    /// Answers whose body is not complete.
    pub(super) answering: AtomicU32,
    /// Bodies of answers that wait for where their bytes come from, not for the client.
    pub(super) awaited: AtomicU32,
    /// Frames that are no requests come and go.
    pub(super) http2: AtomicBool,
}

/// A request under way, from its head to the end of its answer.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<Pulse>);

impl UnderWay {
    pub(super) fn begin(pulse: &Arc<Pulse>, version: http::Version) -> Self {
        if version == http::Version::HTTP_2 {
            pulse.http2.store(true, Relaxed);
        }
        pulse.begun.fetch_add(1, Relaxed);
        pulse.under_way.fetch_add(1, Relaxed);
        Self(Arc::clone(pulse))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.read_at_rest.store(self.0.read.load(Relaxed), Relaxed);
        self.0.under_way.fetch_sub(1, Relaxed);
    }
}

/// The body of an answer. What `G` guards is given back with the end of the body.
pub(super) struct Paced<B, G> {
    body: B,
    under_way: UnderWay,
    awaited: bool,
    _place: G,
}

impl<B, G> Paced<B, G> {
    pub(super) fn new(body: B, under_way: UnderWay, place: G) -> Self {
        under_way.0.answering.fetch_add(1, Relaxed);
        Self {
            body,
            under_way,
            awaited: false,
            _place: place,
        }
    }

    fn set_awaited(&mut self, awaited: bool) {
        if self.awaited == awaited {
            return;
        }
        self.awaited = awaited;
        let count = &self.under_way.0.awaited;
        if awaited {
            count.fetch_add(1, Relaxed);
        } else {
            count.fetch_sub(1, Relaxed);
        }
    }
}

impl<B, G> Drop for Paced<B, G> {
    fn drop(&mut self) {
        self.set_awaited(false);
        self.under_way.0.answering.fetch_sub(1, Relaxed);
    }
}

impl<B: Body<Data = Bytes> + Unpin, G: Unpin> Body for Paced<B, G> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        let pending = frame.is_pending();
        self.set_awaited(pending);
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream whose bytes are counted.
#[derive(Debug)]
pub(super) struct Counted<S> {
    stream: S,
    pulse: Arc<Pulse>,
}

impl<S> Counted<S> {
    pub(super) fn new(stream: S, pulse: Arc<Pulse>) -> Self {
        Self { stream, pulse }
    }

    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        // One task at a time writes to a connection: no count is lost by reading and storing.
        let pulse = &self.pulse;
        pulse.blocked.store(written.is_pending(), Relaxed);
        if let Poll::Ready(Ok(bytes)) = written {
            pulse.written.store(pulse.written.load(Relaxed) + bytes as u64, Relaxed);
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        let bytes = (buf.filled().len() - before) as u64;
        let count = &self.pulse.read;
        count.store(count.load(Relaxed) + bytes, Relaxed);
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
