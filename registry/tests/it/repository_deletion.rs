//! Deleting whole repositories: hidden at once, removed row by row.

use crate::gc::world::{HOUR, Image, REPOSITORY, World, name};
use crate::support::content::{image, index, numbered, sha256};
use crate::support::serve::LIMIT;
use crate::support::{TestRegistry, error_code, header, operator_token, stores};
use berth_registry::config::Database;
use berth_registry::distribution::{Distribution, Erased, Limits, MountSource, RepositoryDeletion};
use berth_registry::metadata::manifests::{self, NewManifest};
use berth_registry::metadata::repositories;
use futures::future::join_all;
use oci::media_type;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tokio::time::timeout;

async fn delete(registry: &TestRegistry, repository: &str) -> Response {
    let call = registry.managed(Method::DELETE, &format!("repositories/{repository}"));
    call.send().await.unwrap()
}

async fn shown(registry: &TestRegistry, path: &str) -> Value {
    let answer = registry.managed(Method::GET, path).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    answer.json().await.unwrap()
}

/// What the deletion says when it is done.
async fn done(registry: &TestRegistry, id: &Value) -> Value {
    let path = format!("repository-deletions/{}", id.as_str().unwrap());
    let finished = async {
        loop {
            let told = shown(registry, &path).await;
            if told["state"] == "done" {
                return told;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, finished).await.unwrap()
}

/// Erases until nothing is left, and says what each call came to.
async fn erased(distribution: &Distribution) -> Vec<Erased> {
    let mut turns = Vec::new();
    loop {
        match distribution.erase_some().await.unwrap() {
            Erased::Nothing => return turns,
            turn @ (Erased::Held | Erased::Some | Erased::Last(_)) => turns.push(turn),
        }
    }
}

async fn has_all(world: &World, repository: &str, image: Image) -> bool {
    let blobs = [image.config, image.layer].map(|blob| world.has_blob(repository, blob));
    let there = join_all(blobs).await;
    there == [true, true] && world.has_manifest(repository, image.manifest).await
}

async fn deleted(world: &World, repository: &str) -> RepositoryDeletion {
    let repository = name(repository);
    world.distribution.delete_repository(&repository).await.unwrap()
}

const ROWS: &str = "SELECT (SELECT count(*) FROM tags) + (SELECT count(*) FROM deleted_tags)
    + (SELECT count(*) FROM manifests) + (SELECT count(*) FROM manifest_blobs)
    + (SELECT count(*) FROM manifest_children) + (SELECT count(*) FROM missing_references)
    + (SELECT count(*) FROM blob_links) + (SELECT count(*) FROM repositories)";

#[tokio::test]
async fn a_deleted_repository_is_hidden_at_once_and_then_removed_with_all_it_has() {
    let registry =
        TestRegistry::start_with(&[("BERTH_DELETION_RETENTION", "1h"), ("BERTH_MANIFESTS_SPARSE", "index")]).await;
    let child = registry.push_image(REPOSITORY, "v1", b"layer").await;
    let dropped = registry.push_image(REPOSITORY, "dropped", b"other").await;
    let list = index(&[child, sha256(b"absent")]);
    registry
        .put_manifest(REPOSITORY, "list", media_type::OCI_INDEX, &list)
        .await;
    registry.delete(&format!("/v2/{REPOSITORY}/manifests/{dropped}")).await;

    let answer = delete(&registry, REPOSITORY).await;

    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let place = header(&answer, "location");
    let told: Value = answer.json().await.unwrap();
    assert_eq!(told["repository"], REPOSITORY);
    assert_eq!(
        place,
        format!("/management/v1/repository-deletions/{}", told["id"].as_str().unwrap())
    );
    for path in ["manifests/v1", "tags/list", &format!("blobs/{}", sha256(b"layer"))] {
        let gone = registry.get(&format!("/v2/{REPOSITORY}/{path}")).await;
        assert_eq!(error_code(gone).await, "NAME_UNKNOWN", "{path}");
    }
    let catalog: Value = registry.get("/v2/_catalog").await.json().await.unwrap();
    assert_eq!(catalog["repositories"], json!([]));

    let told = done(&registry, &told["id"]).await;

    assert_eq!(told["removed"], json!({"tags": 2, "manifests": 3, "blobs": 3}));
    assert_eq!(stores::count(&registry.config, ROWS).await, 0);
    let asked = "SELECT count(*) FROM reviews WHERE kind = 3 AND reason = 'blob_unlink'";
    assert_eq!(stores::count(&registry.config, asked).await, 3);
}

#[tokio::test]
async fn who_pushes_to_the_name_afterwards_has_a_repository_of_their_own() {
    let world = World::patient().await;
    world.push_image(REPOSITORY, Some("old"), "one").await;
    world.push_image("team/other", Some("v1"), "one").await;
    let old = deleted(&world, REPOSITORY).await;

    let image = world.push_image(REPOSITORY, Some("new"), "one").await;
    erased(&world.distribution).await;

    let tags = "SELECT count(*) FROM tags WHERE name = 'new'";
    assert_eq!(world.count(tags).await, 1);
    for repository in [REPOSITORY, "team/other"] {
        assert!(has_all(&world, repository, image).await, "{repository}");
    }
    let again = deleted(&world, REPOSITORY).await;
    assert_ne!(again.key, old.key);
}

#[tokio::test]
async fn what_was_being_pushed_when_the_repository_was_deleted_goes_with_it_and_not_with_the_next_one() {
    let world = World::patient().await;
    world.push_image(REPOSITORY, Some("v1"), "one").await;
    let mut tx = world.metadata.begin().await.unwrap();
    let key = repositories::ensure(&mut tx, &name(REPOSITORY), 1).await.unwrap();
    let late = NewManifest {
        digest: &sha256(b"late"),
        media_type: media_type::OCI_MANIFEST,
        artifact_type: None,
        config_media_type: None,
        subject: None,
        annotations: &BTreeMap::new(),
        payload: b"late",
        content_size: 4,
    };
    manifests::add(&mut tx, key, late, 1).await.unwrap();

    if matches!(world.config.database, Database::Sqlite { .. }) {
        // One writer: the deletion comes before or after.
        tx.commit().await.unwrap();
        deleted(&world, REPOSITORY).await;
    } else {
        timeout(LIMIT, deleted(&world, REPOSITORY)).await.unwrap();
        assert_eq!(world.distribution.erase_some().await.unwrap(), Erased::Held);
        world.push_image(REPOSITORY, Some("v2"), "one").await;
        assert_eq!(world.distribution.erase_some().await.unwrap(), Erased::Held);
        tx.commit().await.unwrap();
    }
    world.push_image(REPOSITORY, Some("v2"), "one").await;
    erased(&world.distribution).await;

    assert_eq!(world.count("SELECT count(*) FROM repositories").await, 1);
    assert_eq!(world.count("SELECT count(*) FROM manifests").await, 1);
    assert_eq!(world.count("SELECT count(*) FROM tags WHERE name = 'v2'").await, 1);
}

#[tokio::test]
async fn a_large_repository_goes_in_short_steps_which_another_process_can_take_over() {
    let world = World::patient().await;
    let config = world.push_blob(REPOSITORY, b"{}").await;
    let layer = world.push_blob(REPOSITORY, b"layer").await;
    for number in 0..300 {
        let body = numbered(&image(&config, &[layer]), number);
        let tag = format!("v{number}");
        world
            .push_manifest(REPOSITORY, Some(&tag), media_type::OCI_MANIFEST, &body)
            .await;
    }
    deleted(&world, REPOSITORY).await;
    // A tag, a manifest and two uses of blobs for each image; the two blobs and the repository.
    assert_eq!(world.count(ROWS).await, 1203);

    let first = world.distribution.erase_some().await.unwrap();

    assert_eq!(first, Erased::Some);
    assert_eq!(world.count(ROWS).await, 703);
    let after_a_crash = world.replica(Limits::default());
    let turns = erased(&after_a_crash).await;
    assert_eq!(turns.len(), 2, "{turns:?}");
    let last = turns.last().and_then(|turn| match turn {
        Erased::Last(deletion) => Some(deletion),
        Erased::Nothing | Erased::Held | Erased::Some => None,
    });
    let deletion = last.unwrap();
    let removed = deletion.removed;
    assert_eq!((removed.tags, removed.manifests, removed.blobs), (300, 300, 2));
    assert_eq!(world.count(ROWS).await, 0);
    let kept = after_a_crash.repository_deletion(deletion.key.repository).await;
    assert_eq!(kept.unwrap().as_ref(), Some(deletion));
}

#[tokio::test]
async fn repositories_that_share_blobs_are_removed_by_several_at_once_while_others_push_to_them() {
    let world = World::patient().await;
    let names: Vec<String> = (0..8).map(|number| format!("team/app{number}")).collect();
    for repository in &names {
        world.push_image(repository, Some("v1"), "one").await;
    }
    for repository in &names[1..] {
        deleted(&world, repository).await;
    }
    let erasing = join_all((0..4).map(|_| erased(&world.distribution)));
    let pushing = join_all(
        names
            .iter()
            .map(|repository| world.push_image(repository, Some("v2"), "one")),
    );

    let (_, pushed) = timeout(LIMIT, async { tokio::join!(erasing, pushing) }).await.unwrap();

    erased(&world.distribution).await;
    let open = "SELECT count(*) FROM repository_deletions WHERE finished_at IS NULL";
    assert_eq!(world.count(open).await, 0);
    for (repository, image) in names.iter().zip(pushed) {
        assert!(has_all(&world, repository, image).await, "{repository}");
    }
    assert_eq!(world.count("SELECT count(*) FROM tags").await, 9);
    let (metadata, config) = (world.metadata.clone(), world.config.clone());
    metadata.close().await;
    assert_eq!(stores::circles(config).await, 0);
}

#[tokio::test]
async fn a_call_that_is_repeated_gives_the_same_deletion_and_an_unknown_name_none() {
    let registry = TestRegistry::start().await;
    registry.push_image(REPOSITORY, "v1", b"layer").await;

    let first: Value = delete(&registry, REPOSITORY).await.json().await.unwrap();
    let second = delete(&registry, REPOSITORY).await;

    assert_eq!(second.status(), StatusCode::ACCEPTED);
    let second: Value = second.json().await.unwrap();
    assert_eq!(second["id"], first["id"]);
    let unknown = delete(&registry, "team/never").await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    assert_eq!(error_code(unknown).await, "NAME_UNKNOWN");
    let malformed = delete(&registry, "Team").await;
    assert_eq!(malformed.status(), StatusCode::BAD_REQUEST);
    for number in ["999", "x"] {
        let path = format!("repository-deletions/{number}");
        let unknown = registry.managed(Method::GET, &path).send().await.unwrap();
        assert_eq!(unknown.status(), StatusCode::NOT_FOUND, "{number}");
    }
}

#[tokio::test]
async fn a_blob_that_only_a_deleted_repository_has_cannot_be_mounted() {
    let world = World::patient().await;
    world.push_image(REPOSITORY, Some("v1"), "one").await;
    deleted(&world, REPOSITORY).await;
    let (into, blob) = (name("team/other"), sha256(b"layer of one"));
    let repository = name(REPOSITORY);

    for source in [MountSource::Anywhere, MountSource::Repository(&repository)] {
        assert!(
            !world.distribution.mount(&into, blob, source).await.unwrap(),
            "{source:?}"
        );
    }
}

#[tokio::test]
async fn the_list_of_deletions_goes_page_by_page() {
    let registry = TestRegistry::start().await;
    for number in 0..3 {
        let name = format!("team/app{number}");
        registry.push_blob(&name, b"{}").await;
        delete(&registry, &name).await;
    }

    let first = registry
        .managed(Method::GET, "repository-deletions?n=2")
        .send()
        .await
        .unwrap();
    let link = header(&first, "link");
    let next = link
        .strip_prefix("</management/v1/")
        .unwrap()
        .split('>')
        .next()
        .unwrap();
    let first: Value = first.json().await.unwrap();
    let second = shown(&registry, next).await;

    let names = |page: &Value| {
        let listed = page["deletions"].as_array().unwrap().iter();
        listed.map(|entry| entry["repository"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&first), ["team/app0", "team/app1"]);
    assert_eq!(names(&second), ["team/app2"]);
}

#[tokio::test]
async fn nobody_deletes_a_repository_without_the_operators_secret() {
    let registry = TestRegistry::start().await;
    registry.push_image(REPOSITORY, "v1", b"layer").await;
    let url = registry.admin_url(&format!("/management/v1/repositories/{REPOSITORY}"));

    let stranger = registry.client.delete(url).bearer_auth(operator_token("guessed"));

    assert_eq!(stranger.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let there = registry.head(&format!("/v2/{REPOSITORY}/manifests/v1")).await;
    assert_eq!(there.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_collector_frees_what_only_the_deleted_repository_had_and_nothing_of_another_one() {
    let world = World::hasty().await;
    let shared = world.push_image(REPOSITORY, Some("v1"), "shared").await;
    let own = world.push_image(REPOSITORY, Some("v2"), "own").await;
    let (into, from) = (name("team/other"), name(REPOSITORY));
    for blob in [shared.config, shared.layer] {
        let mounted = world.distribution.mount(&into, blob, MountSource::Repository(&from));
        assert!(mounted.await.unwrap());
    }
    let body = image(&shared.config, &[shared.layer]);
    world
        .push_manifest("team/other", Some("v1"), media_type::OCI_MANIFEST, &body)
        .await;

    deleted(&world, REPOSITORY).await;
    erased(&world.distribution).await;
    world.clock.advance(HOUR);
    world.collect().await;
    world.reap().await;

    assert!(has_all(&world, "team/other", shared).await);
    assert_eq!(world.count("SELECT count(*) FROM blobs").await, 2);
    assert!(world.files().is_none_or(|files| files == 2));
    assert!(!world.has_blob("team/other", own.layer).await);
}
