//! The operator's own pushes and pulls through a real registry.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use berth_operator::probe::{self, Base, Probe, ProbeReport};

use crate::servers::Registry;

const DEADLINE: Duration = Duration::from_secs(20);

async fn probed(url: &str) -> ProbeReport {
    let probe = Probe {
        base: Base::plain(url),
        rollout: "Hub-1-2-0-x7".to_owned(),
        deadline: DEADLINE,
    };
    probe::run(&probe).await
}

/// What stands between a probe and a registry: it spoils the answers whose path has `part`.
#[derive(Clone)]
struct Spoiler {
    to: String,
    part: &'static str,
    with: fn(&mut Vec<u8>),
}

async fn pass(State(spoiler): State<Spoiler>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let path = head.uri.path_and_query().unwrap().to_string();
    let mut headers = head.headers;
    headers.remove("host");
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let is_get = head.method == "GET";
    let asked = reqwest::Client::new().request(head.method, format!("{}{path}", spoiler.to));
    let answer = asked.headers(headers).body(body).send().await.unwrap();
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    let mut body = answer.bytes().await.unwrap().to_vec();
    if is_get && path.contains(spoiler.part) {
        (spoiler.with)(&mut body);
        headers.remove("content-length");
    }
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

async fn spoiled(to: &Registry, part: &'static str, with: fn(&mut Vec<u8>)) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let spoiler = Spoiler {
        to: to.url.clone(),
        part,
        with,
    };
    let router = Router::new().fallback(pass).with_state(spoiler);
    let serving = async move { axum::serve(listener, router).await.unwrap() };
    tokio::select! {
        () = serving => panic!("it serves until the probe is through"),
        report = probed(&url) => report.failure().expect("a spoilt answer is found"),
    }
}

#[tokio::test]
async fn a_registry_that_works_is_green_and_nothing_stays() {
    let registry = Registry::start().await;

    let report = probed(&registry.url).await;

    assert!(report.is_green(), "{report:#?}");
    let names: Vec<_> = report.steps.iter().map(|step| step.name).collect();
    let all = "ping push_small push_chunked push_manifest pull_by_tag pull_by_digest pull_blobs pull_range head list_tags \
               referrers delete gone";
    assert_eq!(names.join(" "), all);
    let tags = reqwest::get(format!("{}/v2/berth-probe/hub-1-2-0-x7/tags/list", registry.url))
        .await
        .unwrap();
    let text = tags.text().await.unwrap();
    assert!(!text.contains("\"probe\""), "{text}");
}

#[tokio::test]
async fn a_corrupt_body_is_found_though_its_code_is_200() {
    let registry = Registry::start().await;

    let blob = spoiled(&registry, "/blobs/sha256", |body| body[7] ^= 1).await;
    let manifest = spoiled(&registry, "/manifests/probe", |body| body.push(b' ')).await;

    assert!(
        blob.starts_with("pull_blobs: GET ") && blob.contains("the content is corrupt"),
        "{blob}"
    );
    assert!(manifest.starts_with("pull_by_tag: GET "), "{manifest}");
}

#[tokio::test]
async fn a_tag_that_is_not_listed_and_a_referrer_that_is_missing_are_found() {
    let registry = Registry::start().await;

    let tags = spoiled(&registry, "/tags/list", |body| *body = b"{\"tags\":[]}".to_vec()).await;
    let referrers = spoiled(&registry, "/referrers/", |body| *body = b"{\"manifests\":[]}".to_vec()).await;

    assert!(
        tags.starts_with("list_tags: ") && tags.contains("is not in the list"),
        "{tags}"
    );
    assert!(
        referrers.starts_with("referrers: ") && referrers.contains("is not in the list"),
        "{referrers}"
    );
}

#[tokio::test]
async fn an_upload_that_one_begins_and_another_ends_is_whole() {
    let registry = Registry::start().await;
    let base = Base::plain(&registry.url);

    let report = probe::crossed(&base, &base, "x7", DEADLINE).await;

    assert!(report.is_green(), "{report:#?}");
}

#[tokio::test]
async fn an_upload_that_the_canary_does_not_know_is_found() {
    let (main, canary) = (Registry::start().await, Registry::start().await);

    let report = probe::crossed(&Base::plain(&main.url), &Base::plain(&canary.url), "x7", DEADLINE).await;

    let failure = report.failure().unwrap();
    assert!(
        failure.starts_with("crossed_finish_on_canary: GET ") && failure.contains("came 404"),
        "{failure}"
    );
}

#[tokio::test]
async fn a_registry_that_is_away_is_told_by_its_address() {
    let report = probed("http://127.0.0.1:1").await;

    let failure = report.failure().unwrap();
    assert!(
        failure.starts_with("ping: GET http://127.0.0.1:1/v2/: no whole answer"),
        "{failure}"
    );
}
