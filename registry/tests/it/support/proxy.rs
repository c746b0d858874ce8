//! A proxy between the registry and its store that goes wrong as it is told.
//!
//! It knows which call of the store a request is, for S3, Azure and GCS alike, and hands on everything else unchanged, the
//! `Host` included: that is what signatures cover.
#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test's tool stops where it fails, and a fault concerns one step alone"
)]

use super::TestRegistry;
use super::serve::LIMIT;
use axum::body::{Body, Bytes, to_bytes};
use berth_registry::config::Storage;
use futures::{StreamExt, stream};
use http::request::Parts;
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
    Head,
    List,
    Delete,
    /// Of a multipart upload (S3, GCS; Azure forgets by itself).
    Abort,
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
    /// The store refuses with this status.
    Says(u16),
    /// The store does not show what it has.
    NotFound,
    /// The store does it, and says that it failed.
    ErrorWithBytes,
    /// One bit of the body is another when it gets there.
    BitFlipped,
    /// The store does not say what it calls what it took.
    NoEtag,
    /// The store calls what it took by a name that is not its.
    WrongEtag,
    /// The store never hears of it, and there is never a reply.
    Held,
    /// The connection breaks, and the request gets there later: see [`Proxy::deliver_late`].
    Late,
    /// The listing has nothing in it.
    EmptyList,
    /// The listing has every object twice, in reverse order (S3).
    ListTwice,
    /// The listing lacks every second object (S3).
    ListHalved,
    /// The store's clock is not ours (S3).
    Skewed,
    /// The store says that all is well, and of each object to be deleted that it is not (S3).
    EachRefused,
    /// A megabit a second.
    Slow,
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
    late: Mutex<Vec<(Method, Url, HeaderMap, Bytes)>>,
    obeyed: Mutex<Vec<Call>>,
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
        late: Mutex::default(),
        obeyed: Mutex::default(),
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

    /// Sends on what was late, and gives the answers' status codes.
    pub(crate) async fn deliver_late(&self) -> Vec<StatusCode> {
        let late = std::mem::take(&mut *self.shared.late.lock().unwrap());
        let mut statuses = Vec::new();
        for (method, target, headers, body) in late {
            let answer = self.shared.forward(&method, target, &headers, body).await;
            statuses.push(answer.unwrap().status());
        }
        statuses
    }

    /// How many calls of this kind the store has obeyed.
    pub(crate) fn obeyed(&self, call: Call) -> usize {
        let obeyed = self.shared.obeyed.lock().unwrap();
        obeyed.iter().filter(|known| **known == call).count()
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
        let Some(fault) = self.fault(call(&head.method, &head.uri)) else {
            return self
                .forward(&head.method, self.target(&head.uri), &head.headers, body)
                .await;
        };
        if let Some(answer) = in_place_of_the_store(fault, &head.uri, &body) {
            return Ok(answer);
        }
        let body = self.kept_or(fault, &head, body).await?;
        let target = self.target(&head.uri);
        let answer = self.forward(&head.method, target, &head.headers, body).await?;
        self.changed(fault, answer).await
    }

    /// The body as it gets to the store, unless it does not.
    async fn kept_or(&self, fault: Fault, head: &Parts, body: Bytes) -> Result<Bytes, Error> {
        match fault {
            Fault::BodyCut => Ok(body.slice(..body.len() / 2)),
            Fault::BitFlipped => Ok(flipped(&body)),
            Fault::Held => {
                self.held.notify_one();
                pending().await
            }
            Fault::Late => {
                let late = (head.method.clone(), self.target(&head.uri), head.headers.clone(), body);
                self.late.lock().unwrap().push(late);
                Err(Error::from(ErrorKind::ConnectionAborted))
            }
            _ => Ok(body),
        }
    }

    /// What becomes of the store's answer.
    async fn changed(&self, fault: Fault, mut answer: Response<Body>) -> Result<Response<Body>, Error> {
        match fault {
            Fault::ReplyLost => return Err(Error::from(ErrorKind::ConnectionAborted)),
            Fault::ReplyHeld => {
                self.held.notify_one();
                return pending().await;
            }
            Fault::AnswerCut => return cut(answer).await,
            Fault::Slow => return slow(answer).await,
            Fault::ListTwice | Fault::ListHalved => return listed(fault, answer).await,
            Fault::ErrorWithBytes => *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
            Fault::NoEtag => drop(answer.headers_mut().remove("etag")),
            Fault::WrongEtag => {
                let wrong = "\"00000000000000000000000000000000\"";
                answer.headers_mut().insert("etag", wrong.parse().unwrap());
            }
            _ => {}
        }
        Ok(answer)
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
        let asked = call(method, &target.as_str().parse().unwrap());
        let mut headers = headers.clone();
        headers.remove(http::header::CONTENT_LENGTH);
        let mut request = self.client.request(method.clone(), target).headers(headers);
        if *method == Method::PUT || *method == Method::POST {
            request = request.body(body);
        }
        let answer = request.send().await.map_err(Error::other)?;
        if answer.status().is_success() {
            self.obeyed.lock().unwrap().push(asked);
        }
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

fn flipped(body: &Bytes) -> Bytes {
    let mut bytes = body.to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    bytes.into()
}

/// The answers that the store knows nothing of.
fn in_place_of_the_store(fault: Fault, uri: &Uri, body: &Bytes) -> Option<Response<Body>> {
    match fault {
        Fault::Unavailable => Some(said(StatusCode::SERVICE_UNAVAILABLE, "SlowDown")),
        Fault::OnlySaidDone => Some(said(StatusCode::OK, "")),
        Fault::ErrorInSuccess => Some(said(StatusCode::OK, "AccessDenied")),
        Fault::Says(status) => Some(said(StatusCode::from_u16(status).unwrap(), "Refused")),
        Fault::Skewed => Some(said(StatusCode::FORBIDDEN, "RequestTimeTooSkewed")),
        Fault::NotFound => Some(said(StatusCode::NOT_FOUND, "NoSuchKey")),
        Fault::EmptyList => Some(empty_list(uri)),
        Fault::EachRefused => Some(each_refused(body)),
        _ => None,
    }
}

fn each_refused(body: &Bytes) -> Response<Body> {
    let asked = String::from_utf8_lossy(body);
    let mut answer = "<DeleteResult>".to_owned();
    for key in asked
        .split("<Key>")
        .skip(1)
        .map(|rest| rest.split("</Key>").next().unwrap())
    {
        answer = format!("{answer}<Error><Key>{key}</Key><Code>AccessDenied</Code><Message>no</Message></Error>");
    }
    Response::new(Body::from(answer + "</DeleteResult>"))
}

fn empty_list(uri: &Uri) -> Response<Body> {
    let azure = uri.query().unwrap_or_default().contains("comp=list");
    let body = if azure {
        "<EnumerationResults><Blobs></Blobs><NextMarker/></EnumerationResults>"
    } else {
        "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
    };
    Response::new(Body::from(body))
}

/// A listing with other entries than the store's.
async fn listed(fault: Fault, answer: Response<Body>) -> Result<Response<Body>, Error> {
    const END: &str = "</Contents>";
    let (mut head, body) = answer.into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(Error::other)?;
    let text = String::from_utf8(body.to_vec()).map_err(Error::other)?;
    let (Some(first), Some(last)) = (text.find("<Contents>"), text.rfind(END)) else {
        return Ok(Response::from_parts(head, Body::from(text)));
    };
    let entries: Vec<&str> = text[first..last + END.len()].split_inclusive(END).collect();
    let changed: String = match fault {
        Fault::ListHalved => entries.iter().step_by(2).copied().collect(),
        _ => entries.iter().rev().flat_map(|entry| [*entry, *entry]).collect(),
    };
    let text = format!("{}{changed}{}", &text[..first], &text[last + END.len()..]);
    head.headers.remove(http::header::CONTENT_LENGTH);
    Ok(Response::from_parts(head, Body::from(text)))
}

async fn slow(answer: Response<Body>) -> Result<Response<Body>, Error> {
    let (head, body) = answer.into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(Error::other)?;
    let pieces: Vec<Bytes> = body.chunks(12_500).map(Bytes::copy_from_slice).collect();
    let paced = stream::iter(pieces).then(|piece| async move {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        Ok::<_, Error>(piece)
    });
    Ok(Response::from_parts(head, Body::from_stream(paced)))
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
        (&Method::POST, None) if has("delete") => Call::Delete,
        (&Method::HEAD, _) => Call::Head,
        (&Method::DELETE, None) if has("uploadId") => Call::Abort,
        // Azure deletes by batches, and one object as well.
        (&Method::POST, Some("batch")) | (&Method::DELETE, _) => Call::Delete,
        (&Method::GET, Some("list")) => Call::List,
        (&Method::GET, None) if has("list-type") => Call::List,
        (&Method::GET, None) => Call::Read,
        _ => Call::Other,
    }
}
