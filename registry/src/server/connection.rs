//! One connection: its protocols, its requests, its end.

use super::gate::{Gate, Place};
use super::pulse::{Counted, Paced, Pulse, UnderWay};
use super::tls::Tls;
use super::watch::{Patience, Verdict, Watch};
use crate::http::ClientAddress;
use axum::Router;
use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an HTTP/2 client may be silent before it is asked whether it still is there, and then to answer.
const PING_AFTER: Duration = Duration::from_mins(1);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Room for pushes on HTTP/2: the protocol's 64 KiB would throttle them.
const HTTP2_WINDOW: u32 = 4 * 1024 * 1024;
const HTTP2_STREAMS: u32 = 256;
/// What HTTP/1 allows for a head, too; http/screen.rs refuses less than that with an explanation.
const HTTP2_HEADERS: u32 = 128 * 1024;
/// Streams that the client reset and we have not seen yet: a flood of resets ends the connection (CVE-2023-44487).
const HTTP2_RESETS: usize = 64;
/// Go's words: some clients look for them.
const PLAIN_ON_TLS: &[u8] = b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n\
    Client sent an HTTP request to an HTTPS server.\n";

/// What the connections of a listener have in common.
#[derive(Debug)]
pub(super) struct Reception {
    pub(super) router: Router,
    pub(super) gate: Arc<Gate>,
    pub(super) patience: Patience,
    pub(super) tls: Option<Arc<Tls>>,
    protocols: auto::Builder<TokioExecutor>,
}

impl Reception {
    pub(super) fn new(router: Router, gate: Arc<Gate>, patience: Patience, tls: Option<Arc<Tls>>) -> Self {
        Self {
            router,
            gate,
            patience,
            tls,
            protocols: protocols(),
        }
    }

    /// Serves a connection until its end; after `stop` it takes no new request.
    pub(super) async fn receive(self: Arc<Self>, stream: TcpStream, peer: IpAddr, stop: CancellationToken) {
        // Answers are small and complete: waiting for more to send only adds delay.
        // Where that fails the client has gone already.
        drop(stream.set_nodelay(true));
        let pulse = Arc::new(Pulse::default());
        let Some(tls) = &self.tls else {
            return self
                .serve(Counted::new(stream, Arc::clone(&pulse)), pulse, peer, stop)
                .await;
        };
        let handshake = timeout(HANDSHAKE_TIMEOUT, agree(tls, stream, &pulse));
        let Some(agreed) = stop.run_until_cancelled(handshake).await else {
            return;
        };
        match agreed.unwrap_or_else(|_late| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => Box::pin(self.serve(stream, pulse, peer, stop)).await,
            Err(error) => {
                tls.metrics().handshake_failed();
                closed(peer, Some(error.into()));
            }
        }
    }

    async fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
        pulse: Arc<Pulse>,
        peer: IpAddr,
        stop: CancellationToken,
    ) {
        let service = requests(
            TowerToHyperService::new(self.router.clone()),
            Arc::clone(&self.gate),
            Arc::clone(&pulse),
            peer,
        );
        let mut connection = pin!(self.protocols.serve_connection(TokioIo::new(stream), service));
        let (mut stopping, every) = (pin!(stop.cancelled()), self.patience.look_every());
        let (mut next_look, mut watch) = (pin!(sleep(every)), Watch::new(self.patience));
        let (mut to_end, mut told) = (false, false);
        loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => return closed(peer, ended.err()),
                () = &mut stopping, if !told => to_end = true,
                () = &mut next_look => {
                    next_look.as_mut().reset(Instant::now() + every);
                    match watch.look(&pulse, every) {
                        Verdict::Keep => {}
                        Verdict::WindDown => to_end = true,
                        Verdict::Close(why) => return closed(peer, Some(why.into())),
                    }
                }
            }
            if to_end && !told {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

fn closed(peer: IpAddr, early: Option<Box<dyn std::error::Error + Send + Sync>>) {
    if let Some(error) = early {
        tracing::debug!(error, %peer, "connection ended early");
    }
}

/// The TLS handshake. A client that speaks plain HTTP is told so.
async fn agree(
    tls: &Tls,
    mut stream: TcpStream,
    pulse: &Arc<Pulse>,
) -> io::Result<tokio_rustls::server::TlsStream<Counted<TcpStream>>> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && first[0].is_ascii_uppercase() {
        stream.write_all(PLAIN_ON_TLS).await?;
        stream.shutdown().await?;
        return Err(io::Error::other("the client spoke plain HTTP"));
    }
    let stream = Counted::new(stream, Arc::clone(pulse));
    TlsAcceptor::from(tls.current()).accept(stream).await
}

type Answered = Paced<Body, Option<Place>>;

/// The router with what belongs to a request here: its place, and who asks.
fn requests(
    router: TowerToHyperService<Router>,
    gate: Arc<Gate>,
    pulse: Arc<Pulse>,
    peer: IpAddr,
) -> impl Service<Request<Incoming>, Response = Response<Answered>, Error = Infallible, Future: Send + 'static> {
    // A client that comes over IPv4 to an IPv6 listener is one of IPv4.
    let client = ClientAddress(peer.to_canonical());
    service_fn(move |mut request: Request<Incoming>| {
        let under_way = UnderWay::begin(&pulse, request.version());
        let place = gate.admit(request.method());
        request.extensions_mut().insert(client);
        if let Err(overload) = &place {
            request.extensions_mut().insert(*overload);
        }
        let answer = router.call(request);
        async move {
            let answer = answer.await?;
            Ok(answer.map(|body| Paced::new(body, under_way, place.ok())))
        }
    })
}

fn protocols() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // `watch` does what hyper's own time-out for heads would do, without a timer for each request.
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .keep_alive(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(HTTP2_WINDOW)
        .initial_connection_window_size(HTTP2_WINDOW * 4)
        .max_concurrent_streams(HTTP2_STREAMS)
        .max_header_list_size(HTTP2_HEADERS)
        .max_pending_accept_reset_streams(HTTP2_RESETS)
        .keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}
