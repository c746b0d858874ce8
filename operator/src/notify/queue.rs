//! One queue for each receiver, with a bound, and tries with a bound.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::{Client, StatusCode};
use tokio_util::task::TaskTracker;

use super::{Notification, Receiver, payload};
use crate::api::notifications::SinkKind;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::outbound;

/// How many notifications may wait for one receiver. What does not fit is told by a later pass.
const WAITING: usize = 64;
/// How many ids of one Registry's newest roll-out are remembered.
const REMEMBERED: usize = 512;

/// How fast tries follow each other.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How long a receiver may take to answer.
    pub answer: Duration,
    /// The first wait between two tries, at the most; each further one is twice as long.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
    /// How often it is tried.
    pub tries: u32,
}

impl Default for Pace {
    /// Ten tries in at most 18 minutes.
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(10),
            first: Duration::from_secs(2),
            longest: Duration::from_mins(4),
            tries: 10,
        }
    }
}

/// Every receiver of every Registry.
#[derive(Clone, Debug)]
pub struct Sinks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    http: Client,
    pace: Pace,
    clock: Clock,
    metrics: Metrics,
    workers: TaskTracker,
    queues: Mutex<HashMap<Arc<Receiver>, VecDeque<Notification>>>,
    /// By Registry: the roll-out, and what was told of it to which sink.
    told: Mutex<HashMap<(String, String), Told>>,
}

#[derive(Debug, Default)]
struct Told {
    rollout: String,
    ids: HashSet<(String, String)>,
}

/// What became of one try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Delivered,
    Refused,
    Later(Option<Duration>),
}

impl Sinks {
    /// No receiver yet.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn new(pace: Pace, clock: Clock, metrics: Metrics) -> Result<Self, reqwest::Error> {
        Ok(Self(Arc::new(Inner {
            http: outbound::client(pace.answer)?,
            pace,
            clock,
            metrics,
            workers: TaskTracker::new(),
            queues: Mutex::default(),
            told: Mutex::default(),
        })))
    }

    /// Whether `news` was given to that sink's queue since this operator was started.
    pub fn is_told(&self, news: &Notification, sink: &str) -> bool {
        let told = lock(&self.0.told);
        told.get(&news.registry)
            .is_some_and(|told| told.rollout == news.rollout && told.ids.contains(&(sink.to_owned(), news.id.clone())))
    }

    /// Puts `news` into the queue of `receiver`. False when the queue is full: then it counts as not told.
    pub fn send(&self, sink: &str, receiver: &Arc<Receiver>, news: &Notification) -> bool {
        let mut queues = lock(&self.0.queues);
        let has_worker = queues.contains_key(receiver);
        let queue = queues.entry(Arc::clone(receiver)).or_default();
        if queue.len() >= WAITING {
            drop(queues);
            self.count(receiver.kind, "queue_full");
            return false;
        }
        queue.push_back(news.clone());
        drop(queues);
        self.remember(sink, news);
        if !has_worker {
            let (inner, receiver) = (Arc::clone(&self.0), Arc::clone(receiver));
            self.0.workers.spawn(async move { inner.work(&receiver).await });
        }
        true
    }

    /// Counts what became of a notification; `result` is one of a few fixed words.
    pub fn count(&self, kind: SinkKind, result: &'static str) {
        self.0.metrics.notified(kind.as_str(), result);
    }

    fn remember(&self, sink: &str, news: &Notification) {
        let mut told = lock(&self.0.told);
        let told = told.entry(news.registry.clone()).or_default();
        if told.rollout != news.rollout || told.ids.len() >= REMEMBERED {
            told.rollout.clone_from(&news.rollout);
            told.ids.clear();
        }
        told.ids.insert((sink.to_owned(), news.id.clone()));
    }
}

impl Inner {
    /// Empties the queue of `receiver`, one after the other, so that they arrive in order; ends with the last.
    async fn work(&self, receiver: &Arc<Receiver>) {
        while let Some(news) = self.next(receiver) {
            let result = self.deliver(receiver, &news).await;
            self.metrics.notified(receiver.kind.as_str(), result);
            if result != "delivered" {
                let (namespace, name) = &news.registry;
                tracing::warn!(%namespace, %name, id = %news.id, "a notification was not delivered: {result}");
            }
        }
    }

    /// The next one; a queue that is empty is gone, in one step, so that none is added to a queue without a worker.
    fn next(&self, receiver: &Arc<Receiver>) -> Option<Notification> {
        let mut queues = lock(&self.queues);
        let news = queues.get_mut(receiver)?.pop_front();
        if news.is_none() {
            queues.remove(receiver);
        }
        news
    }

    async fn deliver(&self, receiver: &Receiver, news: &Notification) -> &'static str {
        let body = payload::body(receiver.kind, news);
        for attempt in 0..self.pace.tries {
            let asked = match self.attempt(receiver, news, &body).await {
                Outcome::Delivered => return "delivered",
                Outcome::Refused => return "refused",
                Outcome::Later(asked) => asked,
            };
            if attempt + 1 < self.pace.tries {
                tokio::time::sleep(self.pause(attempt, asked)).await;
            }
        }
        "given_up"
    }

    /// Between half of the wait and the whole, so that many that failed together do not come back together.
    fn pause(&self, attempt: u32, asked: Option<Duration>) -> Duration {
        let whole = self
            .pace
            .first
            .saturating_mul(1 << attempt.min(16))
            .min(self.pace.longest);
        let jittered = whole.mul_f64(0.5 + rand::random::<f64>() / 2.0);
        jittered.max(asked.unwrap_or_default().min(self.pace.longest))
    }

    async fn attempt(&self, receiver: &Receiver, news: &Notification, body: &[u8]) -> Outcome {
        let mut request = self
            .http
            .post(&receiver.url)
            .header("content-type", "application/json")
            .body(body.to_vec());
        if receiver.kind == SinkKind::Webhook {
            let now = self.clock.now().as_second();
            request = request
                .header("berth-notification-id", &news.id)
                .header("berth-timestamp", now)
                .header("berth-signature", payload::signature(&receiver.key, now, body));
        }
        match request.send().await {
            Ok(answer) => outcome(answer.status(), retry_after(&answer)),
            Err(_) => Outcome::Later(None),
        }
    }
}

/// A receiver that sends elsewhere is refused: whoever it is, only the address in the Secret was meant.
fn outcome(status: StatusCode, asked: Option<Duration>) -> Outcome {
    match status.as_u16() {
        200..=299 => Outcome::Delivered,
        408 | 425 | 429 | 500..=599 => Outcome::Later(asked),
        _ => Outcome::Refused,
    }
}

fn retry_after(answer: &reqwest::Response) -> Option<Duration> {
    let value = answer.headers().get("retry-after")?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
