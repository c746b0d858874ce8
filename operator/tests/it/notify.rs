//! Notifications against a receiver that is really there, and does not behave.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use berth_operator::api::notifications::{NotificationEvent, SinkKind};
use berth_operator::clock::Clock;
use berth_operator::metrics::Metrics;
use berth_operator::notify::{Notification, Pace, Receiver, Sinks, Version, payload};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

const KEY: &[u8] = b"0123456789abcdef";
const PACE: Pace = Pace {
    answer: Duration::from_millis(400),
    first: Duration::from_millis(20),
    longest: Duration::from_millis(100),
    tries: 4,
};

/// What a receiver does with the try of that number, counted from 0.
type Behaviour = fn(usize, SocketAddr) -> Answer;

enum Answer {
    Status(u16),
    Redirect(String),
    Never,
}

type Heard = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

struct Place {
    address: SocketAddr,
    heard: Heard,
}

async fn place(behaviour: Behaviour) -> Place {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heard = Heard::default();
    let receive = move |State(heard): State<Heard>, headers: HeaderMap, body: Bytes| async move {
        let number = {
            let mut heard = heard.lock().unwrap();
            heard.push((headers, body));
            heard.len() - 1
        };
        match behaviour(number, address) {
            Answer::Status(code) => StatusCode::from_u16(code).unwrap().into_response(),
            Answer::Redirect(to) => redirect(&to),
            Answer::Never => std::future::pending().await,
        }
    };
    let router = Router::new()
        .route("/{*path}", post(receive))
        .with_state(Arc::clone(&heard));
    let tracker = tokio_util::task::TaskTracker::new();
    tracker.spawn(async move { axum::serve(listener, router).await });
    Place { address, heard }
}

fn redirect(to: &str) -> Response {
    (StatusCode::TEMPORARY_REDIRECT, [("location", to.to_owned())]).into_response()
}

struct Teller {
    sinks: Sinks,
    shown: Registry,
}

impl Teller {
    fn new() -> Self {
        let mut shown = Registry::default();
        let metrics = Metrics::register(&mut shown);
        let sinks = Sinks::new(PACE, Clock::System, metrics).unwrap();
        Self { sinks, shown }
    }

    async fn counts(&self, result: &str, wanted: u64) {
        let line = format!("result=\"{result}\"}} {wanted}");
        let began = Instant::now();
        loop {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &self.shown).unwrap();
            if text
                .lines()
                .any(|shown| shown.contains("notifications_total") && shown.ends_with(&line))
            {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(10), "never {line}:\n{text}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn webhook(place: &Place) -> Arc<Receiver> {
    Arc::new(Receiver {
        kind: SinkKind::Webhook,
        url: format!("http://{}/hook", place.address),
        key: KEY.to_vec(),
    })
}

fn news(number: usize) -> Notification {
    Notification {
        id: format!("u/roll-1/CanaryUp/{number}"),
        event: NotificationEvent::CanaryUp,
        severity: NotificationEvent::CanaryUp.severity(),
        at: "2026-01-01T00:00:00Z".parse().unwrap(),
        registry: ("team".to_owned(), "main".to_owned()),
        rollout: "roll-1".to_owned(),
        phase: "CanaryAnalyzing",
        reason: "Baking".to_owned(),
        from: Version::default(),
        to: Version::default(),
        verdict: None,
        requested_by: None,
        text: "text".to_owned(),
    }
}

#[tokio::test]
async fn a_receiver_can_check_who_sent_it_and_when() {
    let place = place(|_, _| Answer::Status(204)).await;
    let teller = Teller::new();

    teller.sinks.send("ops", &webhook(&place), &news(0));
    teller.counts("delivered", 1).await;

    let heard = place.heard.lock().unwrap();
    let (headers, body) = &heard[0];
    let header = |name: &str| headers[name].to_str().unwrap();
    let at: i64 = header("berth-timestamp").parse().unwrap();
    assert_eq!(header("berth-signature"), payload::signature(KEY, at, body));
    assert_eq!(header("berth-notification-id"), "u/roll-1/CanaryUp/0");
    assert!((Clock::System.now().as_second() - at).abs() < 60);
}

#[tokio::test]
async fn what_failed_is_sent_again_under_the_same_id() {
    let place = place(|number, _| Answer::Status(if number < 2 { 500 } else { 200 })).await;
    let teller = Teller::new();

    teller.sinks.send("ops", &webhook(&place), &news(0));
    teller.counts("delivered", 1).await;

    let heard = place.heard.lock().unwrap();
    assert_eq!(heard.len(), 3);
    assert!(
        heard
            .iter()
            .all(|(headers, _)| headers["berth-notification-id"] == "u/roll-1/CanaryUp/0")
    );
}

#[tokio::test]
async fn a_receiver_that_never_answers_is_given_up_and_holds_nobody_else_up() {
    let (silent, other) = (
        place(|_, _| Answer::Never).await,
        place(|_, _| Answer::Status(200)).await,
    );
    let teller = Teller::new();

    let began = Instant::now();
    teller.sinks.send("silent", &webhook(&silent), &news(0));
    teller.sinks.send("other", &webhook(&other), &news(0));
    assert!(began.elapsed() < Duration::from_millis(200), "sending waits");
    teller.counts("delivered", 1).await;
    assert!(began.elapsed() < PACE.answer * 3, "the other one had to wait");
    teller.counts("given_up", 1).await;

    assert_eq!(silent.heard.lock().unwrap().len(), 4);
}

#[tokio::test]
async fn a_redirect_is_not_followed_not_even_to_the_same_host() {
    let elsewhere = place(|_, _| Answer::Status(200)).await;
    let place = place(|_, own| Answer::Redirect(format!("http://{own}/other"))).await;
    let teller = Teller::new();

    teller.sinks.send("ops", &webhook(&place), &news(0));
    teller.counts("refused", 1).await;

    assert_eq!(place.heard.lock().unwrap().len(), 1);
    assert!(elsewhere.heard.lock().unwrap().is_empty());
}

#[tokio::test]
async fn notifications_arrive_in_order_and_what_does_not_fit_counts_as_not_told() {
    let place = place(|number, _| Answer::Status(if number == 0 { 503 } else { 200 })).await;
    let (teller, receiver) = (Teller::new(), webhook(&place));

    let fits: Vec<bool> = (0..70)
        .map(|number| teller.sinks.send("ops", &receiver, &news(number)))
        .collect();
    let queued = fits.iter().filter(|fits| **fits).count();
    assert!((64..=65).contains(&queued), "{queued} were queued");
    assert!(teller.sinks.is_told(&news(0), "ops"));
    assert!(!teller.sinks.is_told(&news(69), "ops"));
    teller.counts("delivered", queued as u64).await;

    let heard = place.heard.lock().unwrap();
    let ids: Vec<String> = heard
        .iter()
        .skip(1)
        .map(|(headers, _)| headers["berth-notification-id"].to_str().unwrap().to_owned())
        .collect();
    let wanted: Vec<String> = (0..queued).map(|number| news(number).id).collect();
    assert_eq!(ids, wanted);
}

#[tokio::test]
async fn slack_gets_no_signature_and_a_text() {
    let place = place(|_, _| Answer::Status(200)).await;
    let teller = Teller::new();
    let receiver = Receiver {
        kind: SinkKind::Slack,
        ..Receiver::clone(&webhook(&place))
    };

    teller.sinks.send("chat", &Arc::new(receiver), &news(0));
    teller.counts("delivered", 1).await;

    let heard = place.heard.lock().unwrap();
    let body: serde_json::Value = serde_json::from_slice(&heard[0].1).unwrap();
    assert_eq!(body["attachments"][0]["text"], "text");
    assert!(!heard[0].0.contains_key("berth-signature"));
}
