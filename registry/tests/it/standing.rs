//! What one replica still knows is what the database has, whoever changed it there.

use crate::support::content::sha256;
use crate::support::{TestRegistry, header, stores};
use berth_registry::config::Database;
use berth_registry::server::Server;
use oci::Digest;
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
