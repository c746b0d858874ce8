//! PostgreSQL away, slow, silent, read-only, or gone in the middle of a word: what clients are told, and that nothing is lost.
//!
//! A database in a file cannot be away: on SQLite these tests have nothing to do.

use crate::support::line::{Line, Trouble, registry_behind_a_line};
use crate::support::{TestRegistry, content, header, stores};
use oci::{Digest, media_type};
use reqwest::{Method, StatusCode};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Longer than a connection is waited for, and much shorter than a client's patience.
const BOUND: Duration = Duration::from_secs(8);
/// How long a database takes for an answer that has become slow, and how long its collector is watched then.
const ANSWER: Duration = Duration::from_millis(200);
const WATCHED: Duration = Duration::from_secs(20);

/// A request of every kind that asks the database.
fn requests(digest: &Digest) -> Vec<(Method, String)> {
    let of = |method: Method, path: &str| (method, format!("/v2/{path}"));
    vec![
        of(Method::GET, "team/app/manifests/v1"),
        of(Method::HEAD, "team/app/manifests/v1"),
        of(Method::GET, &format!("team/app/manifests/{digest}")),
        of(Method::HEAD, &format!("team/app/blobs/{}", content::sha256(b"{}"))),
        of(Method::GET, &format!("team/app/blobs/{}", content::sha256(b"{}"))),
        of(Method::GET, "team/app/tags/list"),
        of(Method::GET, "_catalog"),
        of(Method::GET, &format!("team/app/referrers/{digest}")),
        of(Method::POST, "team/app/blobs/uploads/"),
        of(
            Method::POST,
            &format!("team/b/blobs/uploads/?mount={}&from=team/app", content::sha256(b"{}")),
        ),
        of(Method::DELETE, "team/app/manifests/v1"),
    ]
}

async fn assert_unavailable(registry: &TestRegistry, method: Method, path: &str) {
    let asked = Instant::now();
    let answer = registry.request(method.clone(), path).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{method} {path}");
    assert!(!header(&answer, "retry-after").is_empty(), "{method} {path}");
    assert!(asked.elapsed() < BOUND, "{method} {path}: {:?}", asked.elapsed());
}

/// Pushes an image as a client does that repeats nothing. `None`: some answer was not the one that was hoped for.
async fn try_to_push(registry: &TestRegistry, tag: &str, layer: &[u8]) -> Option<Digest> {
    let mut digests = Vec::new();
    for bytes in [b"{}", layer] {
        let digest = content::sha256(bytes);
        let opened = registry
            .request(Method::POST, "/v2/team/app/blobs/uploads/")
            .send()
            .await
            .unwrap();
        if opened.status() != StatusCode::ACCEPTED {
            return told_to_come_back(opened.status());
        }
        let location = format!("{}?digest={digest}", header(&opened, "location"));
        let ended = registry
            .request(Method::PUT, &location)
            .body(bytes.to_vec())
            .send()
            .await
            .unwrap();
        if ended.status() != StatusCode::CREATED {
            return told_to_come_back(ended.status());
        }
        digests.push(digest);
    }
    let manifest = content::image(&digests[0], &digests[1..]);
    let answer = registry
        .put_manifest("team/app", tag, media_type::OCI_MANIFEST, &manifest)
        .await;
    if answer.status() != StatusCode::CREATED {
        return told_to_come_back(answer.status());
    }
    Some(content::sha256(manifest.as_bytes()))
}

/// Whatever breaks on the way to the database is 503.
fn told_to_come_back(status: StatusCode) -> Option<Digest> {
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    None
}

async fn assert_pulled(registry: &TestRegistry, tag: &str, digest: &Digest, layer: &[u8]) {
    let manifest = registry.get(&format!("/v2/team/app/manifests/{tag}")).await;
    assert_eq!(header(&manifest, "docker-content-digest"), digest.to_string(), "{tag}");
    let blob = registry
        .get(&format!("/v2/team/app/blobs/{}", content::sha256(layer)))
        .await;
    assert_eq!(blob.bytes().await.unwrap(), layer, "{tag}");
}

/// The registry serves again by itself: the connections that it has left from before may each cost one answer.
async fn until_it_serves(registry: &TestRegistry) {
    let begun = Instant::now();
    while registry.get("/v2/team/app/tags/list").await.status() != StatusCode::OK {
        assert!(begun.elapsed() < BOUND, "it does not serve again");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn while_the_database_is_away_every_request_is_503_within_its_bound_and_afterwards_served() {
    let Some((registry, line)) = registry_behind_a_line(&[]).await else {
        return;
    };
    let digest = registry.push_image("team/app", "v1", b"layer").await;
    registry.get("/v2/team/app/manifests/v1").await;

    line.set(Trouble::Refused);
    for (method, path) in requests(&digest) {
        assert_unavailable(&registry, method, &path).await;
    }
    line.set(Trouble::None);

    until_it_serves(&registry).await;
    assert_pulled(&registry, "v1", &digest, b"layer").await;
    registry.push_image("team/app", "v2", b"another").await;
}

#[tokio::test]
async fn a_connection_that_breaks_at_any_question_of_a_push_loses_nothing_that_was_acknowledged() {
    let Some((registry, line)) = registry_behind_a_line(&[("BERTH_GC_ENABLED", "false")]).await else {
        return;
    };
    let mut undisturbed = 0;
    for last in 0..120 {
        let (tag, layer) = (format!("v{last}"), format!("layer {last}").into_bytes());
        line.set(Trouble::CutAfter(last));
        let acknowledged = try_to_push(&registry, &tag, &layer).await;
        let broke = !line.is_in_trouble();
        line.set(Trouble::None);
        if let Some(digest) = &acknowledged {
            assert_pulled(&registry, &tag, digest, &layer).await;
        }
        until_it_serves(&registry).await;
        let again = try_to_push(&registry, &tag, &layer).await;
        let digest = again.unwrap_or_else(|| panic!("question {last}: the repeated push is refused"));
        assert_pulled(&registry, &tag, &digest, &layer).await;
        undisturbed = if broke { 0 } else { undisturbed + 1 };
        if undisturbed == 3 {
            assert!(last > 30, "a push asks more than {last} questions");
            return;
        }
    }
    panic!("a push has more questions than were tried");
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_may_be_repeated() {
    let Some((registry, line)) = registry_behind_a_line(&[("BERTH_GC_ENABLED", "false")]).await else {
        return;
    };
    let config = registry.push_blob("team/app", b"{}").await;
    let manifest = content::image(&config, &[registry.push_blob("team/app", b"layer").await]);
    let put = || registry.put_manifest("team/app", "v1", media_type::OCI_MANIFEST, &manifest);

    lose_the_answer(&line).await;
    let unknown = put().await.status();
    assert!(!line.is_in_trouble(), "no commit came by");
    assert!(
        [StatusCode::SERVICE_UNAVAILABLE, StatusCode::CREATED].contains(&unknown),
        "{unknown}"
    );
    until_it_serves(&registry).await;
    assert_eq!(put().await.status(), StatusCode::CREATED);
    let digest = content::sha256(manifest.as_bytes());
    assert_pulled(&registry, "v1", &digest, b"layer").await;
    let tags: serde_json::Value = registry.get("/v2/team/app/tags/list").await.json().await.unwrap();
    assert_eq!(tags["tags"], serde_json::json!(["v1"]));

    let session = registry.open_upload("team/app").await;
    let bytes = b"a blob whose end is told to nobody";
    let path = format!("{session}?digest={}", content::sha256(bytes));
    let end = || registry.request(Method::PUT, &path).body(bytes.to_vec()).send();
    lose_the_answer(&line).await;
    let unknown = end().await.unwrap().status();
    assert!(!line.is_in_trouble(), "no commit came by");
    assert!(
        [StatusCode::SERVICE_UNAVAILABLE, StatusCode::CREATED].contains(&unknown),
        "{unknown}"
    );
    until_it_serves(&registry).await;
    assert_eq!(end().await.unwrap().status(), StatusCode::CREATED);
}

async fn lose_the_answer(line: &Line) {
    // What the server does beside is over by then.
    sleep(Duration::from_millis(200)).await;
    line.set(Trouble::CommitUnanswered);
}

#[tokio::test]
async fn a_database_that_only_reads_is_503_to_pushes_and_serves_pulls() {
    let Some((registry, line)) = registry_behind_a_line(&[]).await else {
        return;
    };
    let digest = registry.push_image("team/app", "v1", b"layer").await;

    stores::execute(&line.direct, READ_ONLY).await;
    stores::execute(&line.direct, END_ALL).await;
    until_it_serves(&registry).await;
    assert_pulled(&registry, "v1", &digest, b"layer").await;
    for _ in 0..3 {
        assert_unavailable(&registry, Method::POST, "/v2/team/app/blobs/uploads/").await;
    }
    stores::execute(&line.direct, WRITABLE).await;

    // As after a change of the primary: who was told that it only reads asks anew.
    let begun = Instant::now();
    while try_to_push(&registry, "v2", b"another").await.is_none() {
        assert!(
            begun.elapsed() < BOUND,
            "pushes are refused though the database writes again"
        );
        sleep(Duration::from_millis(100)).await;
    }
}

const READ_ONLY: &str = "DO $$ BEGIN
    EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$";
const WRITABLE: &str = "BEGIN READ WRITE; DO $$ BEGIN
    EXECUTE format('ALTER DATABASE %I RESET default_transaction_read_only', current_database()); END $$; COMMIT";
const END_ALL: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()";

#[tokio::test]
async fn a_database_that_says_nothing_is_given_up_within_the_bound_of_a_statement() {
    let Some((registry, line)) = registry_behind_a_line(&[]).await else {
        return;
    };
    let digest = registry.push_image("team/app", "v1", b"layer").await;

    line.set(Trouble::Silent);
    let asked = Instant::now();
    let answer = registry.get("/v2/team/app/tags/list").await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(asked.elapsed() < Duration::from_secs(40), "{:?}", asked.elapsed());
    line.set(Trouble::None);

    until_it_serves(&registry).await;
    assert_pulled(&registry, "v1", &digest, b"layer").await;
}

#[tokio::test]
async fn a_database_that_becomes_slow_is_asked_less_by_its_collector() {
    let settings = [("BERTH_GC_INTERVAL", "30s"), ("BERTH_GC_DELAYS_DEFAULT", "0s")];
    let Some((_registry, line)) = registry_behind_a_line(&settings).await else {
        return;
    };
    stores::execute(&line.direct, MUCH_TO_REVIEW).await;
    let left = async || stores::count(&line.direct, "SELECT count(*) FROM reviews").await;
    let begun = Instant::now();
    while left().await > 96_000 {
        assert!(begun.elapsed() < Duration::from_mins(1), "it does not collect");
        sleep(Duration::from_millis(50)).await;
    }
    let (from, begun) = (left().await, Instant::now());
    sleep(Duration::from_secs(3)).await;
    let sound = items_a_second(from - left().await, begun.elapsed());

    line.set(Trouble::Slow(ANSWER));
    let (from, begun) = (left().await, Instant::now());
    sleep(WATCHED).await;
    let to = left().await;
    let slow = items_a_second(from - to, begun.elapsed());

    // A batch of 200 takes about twelve questions.
    let tireless = 200.0 / (12.0 * ANSWER.as_secs_f64());
    assert!(to > 1000, "it has nothing left to do");
    assert!(slow * 10.0 <= sound, "{slow} items a second in place of {sound}");
    assert!(
        slow * 2.0 < tireless,
        "{slow} items a second, {tireless} without any rest"
    );
}

fn items_a_second(items: i64, time: Duration) -> f64 {
    f64::from(i32::try_from(items).unwrap()) / time.as_secs_f64()
}

/// Items that nothing is left of: each is looked at, and forgotten.
const MUCH_TO_REVIEW: &str =
    "INSERT INTO reviews (kind, namespace_id, repository_id, digest, due_at, attempts, reason, created_at)
    SELECT 3, 0, 0, '\\x01'::bytea || sha256(i::text::bytea), 1, 0, 'blob_unlink', 1 FROM generate_series(1, 100000) i";
