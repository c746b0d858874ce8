//! A listener: it accepts as many connections as there are places for.

use super::connection::Reception;
use anyhow::Context;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const WARNING_PAUSE: Duration = Duration::from_mins(1);

pub(super) async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("listen on {address}"))
}

/// How a listener deals with its connections.
pub(super) struct Front {
    places: Arc<Semaphore>,
    reception: Arc<Reception>,
    told_full: Option<Instant>,
    told_error: Option<Instant>,
}

impl Front {
    pub(super) fn new(max_connections: u32, reception: Reception) -> Self {
        let places = usize::try_from(max_connections).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(places)),
            reception: Arc::new(reception),
            told_full: None,
            told_error: None,
        }
    }

    /// Accepts connections until `stop`, then waits for requests under way.
    pub(super) async fn serve(
        mut self,
        listener: TcpListener,
        stop: CancellationToken,
        drain: Duration,
    ) -> anyhow::Result<()> {
        let connections = TaskTracker::new();
        while let Some(accepted) = stop.run_until_cancelled(self.accept(&listener)).await {
            match accepted {
                Ok((stream, peer, place)) => {
                    let serving = Arc::clone(&self.reception).receive(stream, peer, stop.child_token());
                    drop(connections.spawn(async move {
                        serving.await;
                        drop(place);
                    }));
                }
                Err(error) => self.pause(&error).await,
            }
        }
        drop(listener);
        connections.close();
        if timeout(drain, connections.wait()).await.is_err() && !drain.is_zero() {
            tracing::warn!(
                seconds = drain.as_secs_f64(),
                "requests were cut off: the drain time is over"
            );
        }
        Ok(())
    }

    /// The next connection, as soon as there is a place for it; until then it waits in the listener's queue.
    async fn accept(&mut self, listener: &TcpListener) -> io::Result<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
        if self.places.available_permits() == 0 {
            self.tell_full();
        }
        let place = Arc::clone(&self.places).acquire_owned().await;
        let (stream, peer) = listener.accept().await?;
        Ok((stream, peer.ip(), place.map_err(io::Error::other)?))
    }

    /// Out of descriptors, most likely: connections that end will give some back.
    async fn pause(&mut self, error: &io::Error) {
        if self.told_error.is_none_or(|told| told.elapsed() >= WARNING_PAUSE) {
            self.told_error = Some(Instant::now());
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "a connection was not accepted; it waits, and is tried again"
            );
        }
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }

    fn tell_full(&mut self) {
        if self.told_full.is_none_or(|told| told.elapsed() >= WARNING_PAUSE) {
            self.told_full = Some(Instant::now());
            tracing::warn!("as many connections are open as are allowed: new ones wait (http.max_connections)");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::gate::Gate;
    use crate::server::watch::Patience;
    use axum::Router;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;
    use tokio::task::JoinSet;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n";
    const LIMIT: Duration = Duration::from_secs(10);

    const PATIENCE: Patience = Patience {
        header: LIMIT,
        idle: LIMIT,
        stall: LIMIT,
    };

    fn reception(router: Router, patience: Patience) -> Reception {
        Reception::new(router, Gate::new(100, 100), patience, None)
    }

    async fn listening(front: Front) -> (SocketAddr, JoinSet<anyhow::Result<()>>) {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(front.serve(listener, CancellationToken::new(), Duration::ZERO));
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
        let patience = Patience {
            header: Duration::from_millis(50),
            ..PATIENCE
        };
        let reception = reception(Router::new().route("/", get(slow)), patience);
        let (address, _serving) = listening(Front::new(10, reception)).await;
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
        let router = Router::new().route("/", get(|| async {}));
        let (address, _serving) = listening(Front::new(1, reception(router, PATIENCE))).await;
        let mut first = connect(address, REQUEST).await;
        assert_eq!(status(&mut first).await, "HTTP/1.1 200");

        let mut second = connect(address, REQUEST).await;
        let early = timeout(Duration::from_millis(100), second.peek(&mut [0; 1])).await;
        assert!(early.is_err(), "answered beside the first");
        drop(first);

        assert_eq!(status(&mut second).await, "HTTP/1.1 200");
    }
}
