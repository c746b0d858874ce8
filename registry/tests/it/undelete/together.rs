//! Deleting, restoring and pushing at once.

use super::{REPOSITORY, keeping, manifest, manifest_path, push_index, put, tag, undelete};
use crate::support::content::{image, numbered, sha256};
use crate::support::{TestRegistry, stores};
use futures::{StreamExt, stream};
use oci::media_type;
use reqwest::StatusCode;

#[tokio::test]
async fn an_image_that_is_pushed_deleted_and_restored_at_once_is_whole_or_gone() {
    let registry = keeping().await;
    let config = registry.push_blob(REPOSITORY, b"{}").await;
    let layer = registry.push_blob(REPOSITORY, b"layer").await;
    let body = image(&config, &[layer]);
    let digest = sha256(body.as_bytes());
    let requests = (0..96).map(|n| {
        let (registry, body) = (&registry, &body);
        async move {
            let status = match n % 8 {
                0 | 1 => put(registry, format!("v{}", n % 3), media_type::OCI_MANIFEST, body).await,
                2 => push_index(registry, "list", &[digest]).await.0,
                3 | 4 => registry.delete(&manifest_path(digest)).await.status(),
                5 => registry.delete(&manifest_path("v1")).await.status(),
                6 => undelete(registry, &manifest(digest)).await.status(),
                _ => undelete(registry, &tag("v1")).await.status(),
            };
            (n % 8, status.as_u16())
        }
    });

    let answers: Vec<(u32, u16)> = stream::iter(requests).buffer_unordered(8).collect().await;

    for (request, status) in &answers {
        let expected: &[u16] = match request {
            0 | 1 => &[201],
            2 => &[201, 400],
            3..=5 => &[202, 404],
            _ => &[200, 404, 409],
        };
        assert!(expected.contains(status), "{request}: {status} in {answers:?}");
    }
    let hidden = "SELECT count(*) FROM tags t JOIN manifests m ON m.digest = t.manifest_digest
        WHERE m.deleted_at IS NOT NULL";
    assert_eq!(stores::count(&registry.config, hidden).await, 0);
    let lost = "SELECT count(*) FROM manifest_blobs";
    assert_eq!(stores::count(&registry.config, lost).await, 2);
    assert_eq!(stores::circles(registry.stopped().await).await, 0);
}

/// Images whose tags all point now to one and now to another, while those are deleted.
async fn pushed_over_each_other(registry: &TestRegistry) -> Vec<StatusCode> {
    let config = registry.push_blob(REPOSITORY, b"{}").await;
    let names = ["a", "b", "c", "d", "e", "f"];
    let requests = (0..120).map(|n: usize| async move {
        let body = numbered(&image(&config, &[]), n % 3);
        let digest = sha256(body.as_bytes());
        if n.is_multiple_of(4) {
            return registry.delete(&manifest_path(digest)).await.status();
        }
        let turned = names.iter().cycle().skip(n % 6).take(6);
        let query = turned.map(|name| format!("tag={name}")).collect::<Vec<_>>().join("&");
        put(registry, format!("{digest}?{query}"), media_type::OCI_MANIFEST, &body).await
    });
    stream::iter(requests).buffer_unordered(12).collect().await
}

#[tokio::test]
async fn a_manifest_is_deleted_while_its_tags_move_and_nobody_waits_in_a_circle() {
    for registry in [TestRegistry::start().await, keeping().await] {
        let answers = pushed_over_each_other(&registry).await;

        let expected = |status: &StatusCode| [201, 202, 404].contains(&status.as_u16());
        assert!(answers.iter().all(expected), "{answers:?}");
        assert_eq!(stores::circles(registry.stopped().await).await, 0);
    }
}
