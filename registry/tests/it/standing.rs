//! What one replica still knows is what the database has, whoever changed it there.

use crate::support::content::{self, sha256};
use crate::support::{TestRegistry, header, stores};
use berth_registry::config::Database;
use berth_registry::server::Server;
use oci::{Digest, media_type};
use reqwest::{Method, StatusCode};

const REPOSITORY: &str = "team/app";

/// Nothing to be shown where only one process may have the database.
async fn two_replicas() -> Option<(TestRegistry, Server)> {
    let registry = TestRegistry::start().await;
    let Database::Postgres { .. } = registry.config.database else {
        return None;
    };
    let other = registry.another().await;
    Some((registry, other))
}

async fn tagged(registry: &TestRegistry, server: &Server, tag: &str) -> (StatusCode, String) {
    let url = format!("http://{}/v2/{REPOSITORY}/manifests/{tag}", server.http);
    let answer = registry.client.get(url).send().await.unwrap();
    let status = answer.status();
    let digest = match status {
        StatusCode::OK => header(&answer, "docker-content-digest"),
        _ => String::new(),
    };
    (status, digest)
}

/// Pulls until the answers stand: pulls ask for no row any more.
async fn pulled_often(registry: &TestRegistry, server: &Server, digest: Digest) {
    for _ in 0..5 {
        assert_eq!(
            tagged(registry, server, "v1").await,
            (StatusCode::OK, digest.to_string())
        );
    }
}

#[tokio::test]
async fn a_pull_from_one_replica_sees_what_another_has_acknowledged() {
    let Some((registry, other)) = two_replicas().await else {
        return;
    };
    for round in 0..20 {
        let layer = format!("layer {round}");
        let image = registry.push_image(REPOSITORY, "v1", layer.as_bytes()).await;
        pulled_often(&registry, &other, image).await;
    }

    let deleted = registry.delete(&format!("/v2/{REPOSITORY}/manifests/v1")).await;

    assert_eq!(deleted.status(), StatusCode::ACCEPTED);
    assert_eq!(tagged(&registry, &other, "v1").await.0, StatusCode::NOT_FOUND);
    other.stop();
    other.join().await.unwrap();
}

#[tokio::test]
async fn a_blob_that_another_replica_has_deleted_is_gone() {
    let Some((registry, other)) = two_replicas().await else {
        return;
    };
    let url = |digest| format!("http://{}/v2/{REPOSITORY}/blobs/{digest}", other.http);
    for round in 0..10 {
        let content = format!("content {round}");
        let digest = registry.push_blob(REPOSITORY, content.as_bytes()).await;
        for method in [Method::GET, Method::HEAD, Method::GET, Method::HEAD] {
            let answer = registry.client.request(method, url(digest)).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
        }

        let deleted = registry.delete(&format!("/v2/{REPOSITORY}/blobs/{digest}")).await;

        assert_eq!(deleted.status(), StatusCode::ACCEPTED);
        for method in [Method::GET, Method::HEAD] {
            let answer = registry.client.request(method, url(digest)).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{}", sha256(content.as_bytes()));
        }
    }
    other.stop();
    other.join().await.unwrap();
}

async fn body(registry: &TestRegistry, url: String) -> String {
    let answer = registry.client.get(url).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    answer.text().await.unwrap()
}

/// Asks the other replica for each of these lists until the answers stand.
async fn lists(registry: &TestRegistry, server: &Server, subject: Digest) -> [String; 3] {
    let paths = [
        format!("{REPOSITORY}/tags/list"),
        "_catalog".to_owned(),
        format!("{REPOSITORY}/referrers/{subject}"),
    ];
    let mut all = Vec::new();
    for path in paths {
        let url = format!("http://{}/v2/{path}", server.http);
        let first = body(registry, url.clone()).await;
        for _ in 0..4 {
            assert_eq!(body(registry, url.clone()).await, first);
        }
        all.push(first);
    }
    all.try_into().unwrap()
}

/// Pushes what each of the lists must have from now on: a tag, a repository, a referrer.
async fn push_for_lists(registry: &TestRegistry, config: Digest, subject: Digest, round: u32) -> [String; 3] {
    let (tag, elsewhere) = (format!("round{round}"), format!("team/round{round}"));
    registry.push_image(REPOSITORY, &tag, tag.as_bytes()).await;
    registry.push_image(&elsewhere, "v1", b"the subject").await;
    let body = content::artifact(&config, &format!("application/{tag}"), &subject);
    let referrer = sha256(body.as_bytes()).to_string();
    let pushed = registry
        .put_manifest(REPOSITORY, &referrer, media_type::OCI_MANIFEST, &body)
        .await;
    assert_eq!(pushed.status(), StatusCode::CREATED);
    [tag, elsewhere, referrer]
}

/// Pushes to the first server, and looks what the lists of `server` say before and after.
async fn lists_follow(registry: &TestRegistry, server: &Server) {
    let config = registry.push_blob(REPOSITORY, b"{}").await;
    let subject = registry.push_image(REPOSITORY, "v1", b"the subject").await;
    for round in 0..10 {
        let before = lists(registry, server, subject).await;
        let new = push_for_lists(registry, config, subject, round).await;

        let after = lists(registry, server, subject).await;

        for ((old, list), new) in before.iter().zip(&after).zip(&new) {
            assert!(!old.contains(new) && list.contains(new), "{new}: {old}, then {list}");
        }
    }
    let url = format!("/v2/{REPOSITORY}/manifests/round1");
    assert_eq!(registry.delete(&url).await.status(), StatusCode::ACCEPTED);
    let [tags, ..] = lists(registry, server, subject).await;
    assert!(!tags.contains("round1\"") && tags.contains("round2"), "{tags}");
}

#[tokio::test]
async fn lists_have_what_was_acknowledged_since_they_were_asked_for() {
    let registry = TestRegistry::start().await;

    lists_follow(&registry, registry.server()).await;

    registry.stop().await;
}

#[tokio::test]
async fn lists_of_one_replica_have_what_another_has_acknowledged() {
    let Some((registry, other)) = two_replicas().await else {
        return;
    };

    lists_follow(&registry, &other).await;

    other.stop();
    other.join().await.unwrap();
}

async fn ended_connections(registry: &TestRegistry) -> i64 {
    let end = "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%pg_current_snapshot()%'";
    stores::count(&registry.config, end).await
}

#[tokio::test]
async fn a_pull_outlives_the_connection_that_asks_whether_answers_stand() {
    let Some((registry, other)) = two_replicas().await else {
        return;
    };
    for round in 0..5 {
        let layer = format!("layer {round}");
        let image = registry.push_image(REPOSITORY, "v1", layer.as_bytes()).await;
        pulled_often(&registry, &other, image).await;
        // Where much is committed beside this test, not every pull asks.
        while ended_connections(&registry).await == 0 {
            pulled_often(&registry, &other, image).await;
        }

        pulled_often(&registry, &other, image).await;
    }
    other.stop();
    other.join().await.unwrap();
}
