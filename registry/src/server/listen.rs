//! A listener: it accepts as many connections as there are places for.

use super::connection::connection;
use anyhow::Context;
use axum::Router;
use hyper_util::server::graceful::GracefulShutdown;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a new connection may take to its first request, in whatever it sends until then.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const FULL_WARNING_PAUSE: Duration = Duration::from_mins(1);

pub(super) async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("listen on {address}"))
}

/// How a listener deals with its connections.
pub(super) struct Front {
    places: Arc<Semaphore>,
    first_request: Duration,
    told_full: Option<Instant>,
}

impl Front {
    pub(super) fn new(max_connections: u32) -> Self {
        let places = usize::try_from(max_connections).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(places)),
            first_request: FIRST_REQUEST_TIMEOUT,
            told_full: None,
        }
    }

    /// Accepts connections until `stop`, then waits for requests under way.
    pub(super) async fn serve(
        mut self,
        listener: TcpListener,
        router: Router,
        stop: CancellationToken,
        drain: Duration,
    ) -> anyhow::Result<()> {
        let connections = TaskTracker::new();
        let graceful = GracefulShutdown::new();
        while let Some(accepted) = stop.run_until_cancelled(self.accept(&listener)).await {
            match accepted {
                Ok((stream, place)) => {
                    let serving = connection(stream, router.clone(), self.first_request, &graceful);
                    drop(connections.spawn(async move {
                        serving.await;
                        drop(place);
                    }));
                }
                Err(error) => pause(&error).await,
            }
        }
        drop(listener);
        if timeout(drain, graceful.shutdown()).await.is_err() && !drain.is_zero() {
            tracing::warn!(
                seconds = drain.as_secs_f64(),
                "requests were cut off: the drain time is over"
            );
        }
        Ok(())
    }

    /// The next connection, as soon as there is a place for it; until then it waits in the listener's queue.
    async fn accept(&mut self, listener: &TcpListener) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
        if self.places.available_permits() == 0 {
            self.tell_full();
        }
        let place = Arc::clone(&self.places).acquire_owned().await;
        let (stream, _) = listener.accept().await?;
        Ok((stream, place.map_err(std::io::Error::other)?))
    }

    fn tell_full(&mut self) {
        if self.told_full.is_none_or(|told| told.elapsed() >= FULL_WARNING_PAUSE) {
            self.told_full = Some(Instant::now());
            tracing::warn!("as many connections are open as are allowed: new ones wait (http.max_connections)");
        }
    }
}

/// Out of descriptors, most likely: connections that end will give some back.
async fn pause(error: &std::io::Error) {
    tracing::warn!(error = error as &dyn std::error::Error, "connection not accepted");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;
    use tokio::task::JoinSet;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n";
    const LIMIT: Duration = Duration::from_secs(10);

    async fn listening(front: Front, router: Router) -> (SocketAddr, JoinSet<anyhow::Result<()>>) {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(front.serve(listener, router, CancellationToken::new(), Duration::ZERO));
        (address, serving)
    }

    async fn connect(address: SocketAddr, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    async fn status(stream: &mut TcpStream) -> String {
        let mut start = [0; 12];
        timeout(LIMIT, stream.read_exact(&mut start)).await.unwrap().unwrap();
        String::from_utf8(start.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_connection_without_a_request_is_closed_and_one_with_a_request_is_not() {
        let (begun, may_answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (tells, waits) = (Arc::clone(&begun), Arc::clone(&may_answer));
        let slow = || async move {
            tells.notify_one();
            waits.notified().await;
        };
        let mut front = Front::new(10);
        front.first_request = Duration::from_millis(50);
        let (address, _serving) = listening(front, Router::new().route("/", get(slow))).await;
        let mut asks = connect(address, REQUEST).await;
        timeout(LIMIT, begun.notified()).await.unwrap();

        for begins_with in [&b""[..], b"P", b"PRI * HTTP/2.0", b"GET / HT"] {
            let mut silent = connect(address, begins_with).await;
            let read = timeout(LIMIT, silent.read(&mut [0; 1])).await.unwrap();
            assert!(matches!(read, Ok(0) | Err(_)), "closed without an answer");
        }

        may_answer.notify_one();
        assert_eq!(status(&mut asks).await, "HTTP/1.1 200");
    }

    #[tokio::test]
    async fn a_connection_too_many_waits_until_another_ends() {
        let (address, _serving) = listening(Front::new(1), Router::new().route("/", get(|| async {}))).await;
        let mut first = connect(address, REQUEST).await;
        assert_eq!(status(&mut first).await, "HTTP/1.1 200");

        let mut second = connect(address, REQUEST).await;
        let early = timeout(Duration::from_millis(100), second.peek(&mut [0; 1])).await;
        assert!(early.is_err(), "answered beside the first");
        drop(first);

        assert_eq!(status(&mut second).await, "HTTP/1.1 200");
    }
}
