//! One connection: its protocols and its time-outs.

use crate::http::ClientAddress;
use axum::Router;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
const KEEP_ALIVE: Duration = Duration::from_mins(1);
/// Room for pushes on HTTP/2: the protocol's 64 KiB would throttle them.
const HTTP2_WINDOW: u32 = 4 * 1024 * 1024;
const HTTP2_STREAMS: u32 = 256;

pub(super) fn connection(
    stream: TcpStream,
    router: Router,
    first_request: Duration,
    graceful: &GracefulShutdown,
) -> impl Future<Output = ()> + 'static {
    // Answers are small and complete: waiting for more to send only adds delay.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = &error as &dyn std::error::Error, "no TCP_NODELAY");
    }
    let asked = Arc::new(AtomicBool::new(false));
    let (router, asking) = (TowerToHyperService::new(router), Arc::clone(&asked));
    let client = stream.peer_addr().map(|peer| ClientAddress(peer.ip())).ok();
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        asking.store(true, Ordering::Relaxed);
        if let Some(client) = client {
            request.extensions_mut().insert(client);
        }
        router.call(request)
    });
    let serving = protocols().serve_connection(TokioIo::new(stream), service).into_owned();
    let watched = graceful.watch(serving);
    async move {
        let mut watched = pin!(watched);
        // The limits of the protocols begin when the protocol is known, and that takes up to 24 bytes.
        let ended = match timeout(first_request, &mut watched).await {
            Err(_) if !asked.load(Ordering::Relaxed) => return tracing::debug!("closed: no request came in time"),
            Err(_) => watched.await,
            Ok(ended) => ended,
        };
        if let Err(error) = ended {
            tracing::debug!(error, "connection ended early");
        }
    }
}

fn protocols() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .keep_alive(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(HTTP2_WINDOW)
        .initial_connection_window_size(HTTP2_WINDOW * 4)
        .max_concurrent_streams(HTTP2_STREAMS)
        .keep_alive_interval(KEEP_ALIVE);
    builder
}
