//! What can go wrong between the operator and the API server, at a place that a test chooses.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body as Answered;
use axum::http::{Method, Request, Response, StatusCode};
use bytes::Bytes;
use futures::future::{BoxFuture, pending};
use kube::client::{Body, DynBody};
use tokio::sync::Notify;
use tower::util::BoxService;
use tower::{BoxError, Layer, Service};

/// When an operator dies, as the API server sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Its write never arrives.
    Before,
    /// Its write is carried out, and it does not learn of that.
    After,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Plan {
    /// Nothing.
    #[default]
    Calm,
    /// The operator dies at that write, counted from 1.
    Kill {
        /// Which.
        write: usize,
        /// When.
        moment: Moment,
    },
    /// Conflicts, errors, lost connections and slow answers, in an order that follows from the seed.
    Storm {
        /// Any number.
        seed: u64,
    },
    /// Every answer takes as long.
    Slow(Duration),
    /// Deployments are often shown as they were a change ago.
    Outdated,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    Die(Moment),
    Answer(u16),
    Lost(Moment),
    Late(Duration),
    Outdated,
}

#[derive(Default)]
struct Seen {
    plan: Plan,
    requests: u64,
    writes: Vec<String>,
    made: Vec<String>,
    failed: usize,
    shown: HashMap<String, [Bytes; 2]>,
}

/// What goes wrong, and what was seen of the operator's requests.
#[derive(Default)]
pub(crate) struct Faults {
    seen: Mutex<Seen>,
    death: Notify,
}

impl Faults {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    /// From now on `plan` holds, and writes are counted from 1.
    pub(crate) fn begin(&self, plan: Plan) {
        *self.seen() = Seen {
            plan,
            ..Seen::default()
        };
    }

    /// The operator has come to its end.
    pub(crate) async fn death(&self) {
        self.death.notified().await;
    }

    /// The writes that it has sent.
    pub(crate) fn writes(&self) -> Vec<String> {
        self.seen().writes.clone()
    }

    /// The objects that it has made, each as often as it was made.
    pub(crate) fn made(&self) -> Vec<String> {
        self.seen().made.clone()
    }

    /// How often something went wrong.
    pub(crate) fn failed(&self) -> usize {
        self.seen().failed
    }

    fn decide(&self, request: &Asked) -> Fault {
        let mut seen = self.seen();
        seen.requests += 1;
        if request.writes {
            seen.writes.push(request.name.clone());
        }
        let fault = match seen.plan {
            Plan::Kill { write, moment } if request.writes && seen.writes.len() == write => {
                seen.plan = Plan::Calm;
                Fault::Die(moment)
            }
            Plan::Storm { seed } => weather(seed, seen.requests, request.writes),
            Plan::Slow(delay) => Fault::Late(delay),
            Plan::Outdated if is_outdated(request, seen.requests) => Fault::Outdated,
            Plan::Calm | Plan::Kill { .. } | Plan::Outdated => Fault::None,
        };
        if !matches!(fault, Fault::None | Fault::Late(_)) {
            seen.failed += 1;
        }
        fault
    }

    fn note(&self, request: &Asked, status: StatusCode) {
        if request.writes && status == StatusCode::CREATED {
            self.seen().made.push(request.name.clone());
        }
    }

    /// Keeps `body` as what is shown now, and gives what was shown before it was another.
    fn outdated(&self, request: &Asked, body: Bytes) -> Bytes {
        let mut seen = self.seen();
        let [before, now] = seen
            .shown
            .entry(request.name.clone())
            .or_insert_with(|| [body.clone(), body.clone()]);
        if *now != body {
            *before = std::mem::replace(now, body);
        }
        before.clone()
    }
}

fn is_outdated(request: &Asked, count: u64) -> bool {
    let is_one = request.name.starts_with("GET") && request.name.contains("/deployments/");
    is_one && scramble(count) % 5 < 2
}

/// A read goes wrong seldom, since a pass has many; a write often.
fn weather(seed: u64, count: u64, writes: bool) -> Fault {
    let dice = scramble(seed.wrapping_mul(0x9e37_79b9).wrapping_add(count)) % 1000;
    if !writes {
        return match dice {
            0..4 => Fault::Lost(Moment::Before),
            4..8 => Fault::Answer(429),
            8..12 => Fault::Answer(500),
            12..16 => Fault::Answer(503),
            16..100 => Fault::Late(Duration::from_millis(dice)),
            _ => Fault::None,
        };
    }
    match dice {
        0..50 => Fault::Answer(409),
        50..80 => Fault::Answer(429),
        80..110 => Fault::Answer(500),
        110..140 => Fault::Answer(503),
        140..180 => Fault::Lost(Moment::Before),
        180..260 => Fault::Lost(Moment::After),
        260..400 => Fault::Late(Duration::from_millis(dice / 4)),
        _ => Fault::None,
    }
}

/// Numbers that look like chance and are the same each time.
fn scramble(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// A request, as far as faults depend on it.
struct Asked {
    name: String,
    writes: bool,
}

impl Asked {
    fn of(request: &Request<Body>) -> Self {
        let (method, path) = (request.method(), request.uri().path());
        // Namespaces have names of chance.
        let (before, after) = path.split_once("/namespaces/").unwrap_or((path, ""));
        let within = after.split_once('/').map_or("", |(_, within)| within);
        Self {
            name: format!("{method} {before}/{within}"),
            writes: method != Method::GET && !path.ends_with("reviews"),
        }
    }
}

/// Puts `Faults` before a client.
#[derive(Clone)]
pub(crate) struct FaultLayer(pub(crate) Arc<Faults>);

type Inner = BoxService<Request<Body>, Response<Box<DynBody>>, BoxError>;

impl Layer<Inner> for FaultLayer {
    type Service = Faulty;

    fn layer(&self, inner: Inner) -> Faulty {
        Faulty {
            inner,
            faults: Arc::clone(&self.0),
        }
    }
}

pub(crate) struct Faulty {
    inner: Inner,
    faults: Arc<Faults>,
}

impl Service<Request<Body>> for Faulty {
    type Response = Response<Answered>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let asked = Asked::of(&request);
        let (fault, faults) = (self.faults.decide(&asked), Arc::clone(&self.faults));
        let arrives = !matches!(
            fault,
            Fault::Die(Moment::Before) | Fault::Lost(Moment::Before) | Fault::Answer(_)
        );
        let sent = arrives.then(|| self.inner.call(request));
        Box::pin(async move {
            if let Fault::Late(delay) = fault {
                tokio::time::sleep(delay).await;
            }
            let answer = match sent {
                Some(sent) => {
                    let answer = sent.await?.map(Answered::new);
                    faults.note(&asked, answer.status());
                    Some(answer)
                }
                None => None,
            };
            spoil(&faults, &asked, fault, answer).await
        })
    }
}

async fn spoil(
    faults: &Faults,
    asked: &Asked,
    fault: Fault,
    answer: Option<Response<Answered>>,
) -> Result<Response<Answered>, BoxError> {
    match (fault, answer) {
        (Fault::Die(_), _) => {
            faults.death.notify_one();
            pending().await
        }
        (Fault::Answer(code), _) => Ok(refusal(code)),
        (Fault::Outdated, Some(answer)) if answer.status() == StatusCode::OK => {
            let (parts, body) = answer.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await?;
            Ok(Response::from_parts(parts, faults.outdated(asked, body).into()))
        }
        (Fault::None | Fault::Late(_) | Fault::Outdated, Some(answer)) => Ok(answer),
        _ => Err(io::Error::from(io::ErrorKind::ConnectionReset).into()),
    }
}

/// What an API server says that has no time, or is at odds with the request.
fn refusal(code: u16) -> Response<Answered> {
    let reason = match code {
        409 => "Conflict",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        _ => "InternalError",
    };
    let body = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": reason,
        "message": "a fault that the test makes",
    });
    let mut answer = Response::new(Answered::from(body.to_string()));
    *answer.status_mut() = StatusCode::from_u16(code).unwrap();
    answer
}
