//! A proxy between the registry and its store that goes wrong as it is told.
//!
//! It knows which call of the store a request is, for S3, Azure and GCS alike, and hands on everything else unchanged, the
//! `Host` included: that is what signatures cover.
#![expect(clippy::unwrap_used, reason = "a test's tool stops where it fails")]

use super::TestRegistry;
use super::serve::LIMIT;
use axum::body::{Body, Bytes, to_bytes};
use berth_registry::config::Storage;
use futures::{StreamExt, stream};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use reqwest::Client;
use std::future::pending;
use std::io::{Error, ErrorKind};
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;
use url::Url;

/// What is asked of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Put,
    Part,
    Complete,
    Read,
    Other,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The store is busy.
    Unavailable,
    /// The store does it, and nobody hears of it.
    ReplyLost,
    /// The store does it, and its reply is on its way for ever.
    ReplyHeld,
    /// The store does not do it and says it did.
    OnlySaidDone,
    /// The store does not do it, says so, and with 200.
    ErrorInSuccess,
    /// Half of the body gets there, with a length that fits.
    BodyCut,
    /// The answer ends after 100,000 bytes.
    AnswerCut,
}

#[derive(Debug)]
struct Planned {
    call: Call,
    fault: Fault,
    times: usize,
}

#[derive(Debug)]
struct Shared {
    store: Url,
    client: Client,
    planned: Mutex<Vec<Planned>>,
    /// Told of every reply that is held.
    held: Notify,
}

/// A running proxy; it ends with the value.
#[derive(Debug)]
pub(crate) struct Proxy {
    shared: Arc<Shared>,
    _serving: JoinSet<()>,
}

/// A registry whose store is behind a proxy.
pub(crate) async fn registry_behind_a_proxy() -> (TestRegistry, Proxy) {
    let direct = TestRegistry::start_on_a_bucket(&[]).await;
    let (kind, endpoint) = match &direct.config.storage {
        Storage::S3(s3) => ("S3", s3.endpoint.clone()),
        Storage::Azure(azure) => ("AZURE", azure.endpoint.clone()),
        Storage::Gcs(gcs) => ("GCS", gcs.endpoint.clone()),
        Storage::Filesystem { .. } => unreachable!("a bucket was asked for"),
    };
    direct.stop().await;
    let store: Url = endpoint.unwrap().parse().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut ours = store.clone();
    ours.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
    let shared = Arc::new(Shared {
        store,
        client: Client::new(),
        planned: Mutex::default(),
        held: Notify::new(),
    });
    let mut serving = JoinSet::new();
    serving.spawn(accept(listener, Arc::clone(&shared)));
    let setting = format!("BERTH_STORAGE_{kind}_ENDPOINT");
    let registry = TestRegistry::start_on_a_bucket(&[(&setting, ours.as_str().trim_end_matches('/'))]).await;
    let proxy = Proxy {
        shared,
        _serving: serving,
    };
    (registry, proxy)
}

impl Proxy {
    /// The next `times` calls of this kind go wrong.
    pub(crate) fn plan(&self, call: Call, fault: Fault, times: usize) {
        self.shared.planned.lock().unwrap().push(Planned { call, fault, times });
    }

    /// Fails unless everything planned has happened.
    pub(crate) fn all_went_wrong(&self) {
        let planned = self.shared.planned.lock().unwrap();
        assert!(planned.iter().all(|planned| planned.times == 0), "{planned:?}");
    }

    /// Waits until the store has done what is not replied to.
    pub(crate) async fn holds_a_reply(&self) {
        timeout(LIMIT, self.shared.held.notified()).await.unwrap();
    }

    /// Goes wrong no more.
    pub(crate) fn mend(&self) {
        self.shared.planned.lock().unwrap().clear();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        connections.spawn(connection(stream, Arc::clone(&shared)));
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(move |request| Arc::clone(&shared).pass(request));
    // An error is a reply that was to be lost.
    drop(
        http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await,
    );
}

impl Shared {
    async fn pass(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, Error> {
        let (head, body) = request.into_parts();
        let body = to_bytes(Body::new(body), usize::MAX).await.map_err(Error::other)?;
        let target = self.target(&head.uri);
        let forward = |body| self.forward(&head.method, target.clone(), &head.headers, body);
        match self.fault(call(&head.method, &head.uri)) {
            None => forward(body).await,
            Some(Fault::ReplyLost) => {
                forward(body).await?;
                Err(Error::from(ErrorKind::ConnectionAborted))
            }
            Some(Fault::ReplyHeld) => {
                forward(body).await?;
                self.held.notify_one();
                pending().await
            }
            Some(Fault::BodyCut) => forward(body.slice(..body.len() / 2)).await,
            Some(Fault::AnswerCut) => cut(forward(body).await?).await,
            Some(Fault::Unavailable) => Ok(said(StatusCode::SERVICE_UNAVAILABLE, "SlowDown")),
            Some(Fault::OnlySaidDone) => Ok(said(StatusCode::OK, "")),
            Some(Fault::ErrorInSuccess) => Ok(said(StatusCode::OK, "AccessDenied")),
        }
    }

    fn fault(&self, call: Call) -> Option<Fault> {
        let mut planned = self.planned.lock().unwrap();
        let next = planned
            .iter_mut()
            .find(|planned| planned.call == call && planned.times > 0)?;
        next.times -= 1;
        Some(next.fault)
    }

    fn target(&self, uri: &Uri) -> Url {
        let origin = self.store.origin().ascii_serialization();
        format!("{origin}{}", uri.path_and_query().unwrap()).parse().unwrap()
    }

    async fn forward(
        &self,
        method: &Method,
        target: Url,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Response<Body>, Error> {
        let mut headers = headers.clone();
        headers.remove(http::header::CONTENT_LENGTH);
        let mut request = self.client.request(method.clone(), target).headers(headers);
        if *method == Method::PUT || *method == Method::POST {
            request = request.body(body);
        }
        let answer = request.send().await.map_err(Error::other)?;
        let mut passed = Response::new(Body::empty());
        *passed.status_mut() = answer.status();
        *passed.headers_mut() = answer.headers().clone();
        *passed.body_mut() = Body::from_stream(answer.bytes_stream());
        Ok(passed)
    }
}

fn said(status: StatusCode, code: &str) -> Response<Body> {
    let body = if code.is_empty() {
        "<R><ETag>\"0\"</ETag></R>".to_owned()
    } else {
        format!("<Error><Code>{code}</Code></Error>")
    };
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert("etag", "\"0\"".parse().unwrap());
    answer
}

async fn cut(answer: Response<Body>) -> Result<Response<Body>, Error> {
    let (head, body) = answer.into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(Error::other)?;
    let start = body.slice(..body.len().min(100_000));
    let broken = stream::iter([Ok(start), Err(Error::from(ErrorKind::ConnectionAborted))]).boxed();
    Ok(Response::from_parts(head, Body::from_stream(broken)))
}

fn call(method: &Method, uri: &Uri) -> Call {
    let query = oci::query::pairs(uri.query().unwrap_or_default());
    let has = |name: &str| query.iter().any(|(known, _)| known == name);
    let comp = query
        .iter()
        .find(|(name, _)| name == "comp")
        .map(|(_, value)| value.as_str());
    match (method, comp) {
        (&Method::PUT, Some("block")) => Call::Part,
        (&Method::PUT, Some("blocklist")) => Call::Complete,
        (&Method::PUT, None) if has("partNumber") => Call::Part,
        (&Method::PUT, None) if !has("restype") => Call::Put,
        (&Method::POST, None) if has("uploadId") => Call::Complete,
        (&Method::GET, None) if !has("list-type") => Call::Read,
        _ => Call::Other,
    }
}
