//! Restoring while garbage is collected, without any grace.

use crate::gc::world::{HOUR, Image, REPOSITORY, World, hasty, name};
use crate::support::content::{artifact, image, index};
use berth_registry::distribution::{Error, Limits, Restorable, Rules};
use futures::{StreamExt, stream};
use oci::Digest;
use oci::media_type::{OCI_INDEX, OCI_MANIFEST};

/// What is deleted can be restored for ten hours; what is garbage goes at once.
async fn keeping() -> World {
    let limits = Limits {
        deletion_retention: 10 * HOUR,
        ..hasty()
    };
    World::new(limits, Rules::default()).await
}

async fn collected(world: &World) {
    world.clock.advance(HOUR);
    world.distribution.expire_deleted().await.unwrap();
    world.collect().await;
    world.reap().await;
}

async fn is_whole(world: &World, image: Image) -> bool {
    world.has_manifest(REPOSITORY, image.manifest).await
        && world.has_blob(REPOSITORY, image.config).await
        && world.has_blob(REPOSITORY, image.layer).await
}

async fn restored(world: &World, what: Restorable<'_>) {
    world.distribution.restore(&name(REPOSITORY), what).await.unwrap();
}

#[tokio::test]
async fn what_can_be_restored_is_collected_only_when_its_time_is_over() {
    let world = keeping().await;
    let by_tag = world.push_image(REPOSITORY, Some("v1"), "one").await;
    let by_digest = world.push_image(REPOSITORY, Some("v2"), "two").await;
    world.delete(REPOSITORY, "v1").await;
    world.delete(REPOSITORY, by_digest.manifest).await;
    collected(&world).await;

    let tag = "v1".parse().unwrap();
    restored(
        &world,
        Restorable::Tag {
            tag: &tag,
            deleted_at: None,
        },
    )
    .await;
    restored(&world, Restorable::Manifest(&by_digest.manifest)).await;
    collected(&world).await;

    assert!(is_whole(&world, by_tag).await && is_whole(&world, by_digest).await);
    world.delete(REPOSITORY, "v1").await;
    world.delete(REPOSITORY, by_digest.manifest).await;
    world.clock.advance(10 * HOUR);
    collected(&world).await;
    assert_eq!(world.count("SELECT count(*) FROM blobs").await, 0);
    assert_eq!(world.count("SELECT count(*) FROM manifests").await, 0);
    assert!(world.files().is_none_or(|files| files == 0));
}

#[tokio::test]
async fn a_deleted_index_keeps_its_children_and_a_deleted_subject_its_referrers() {
    let world = keeping().await;
    let child = world.push_image(REPOSITORY, None, "child").await;
    let list = index(&[child.manifest]);
    let list = world.push_manifest(REPOSITORY, Some("list"), OCI_INDEX, &list).await;
    let empty = world.push_blob(REPOSITORY, b"{}").await;
    let signature = artifact(&empty, "application/x.signature", &list);
    let signature = world.push_manifest(REPOSITORY, None, OCI_MANIFEST, &signature).await;
    world.delete(REPOSITORY, list).await;
    collected(&world).await;

    restored(&world, Restorable::Manifest(&list)).await;
    collected(&world).await;

    assert!(is_whole(&world, child).await);
    assert!(world.has_manifest(REPOSITORY, signature).await);
    world.delete(REPOSITORY, list).await;
    world.clock.advance(10 * HOUR);
    collected(&world).await;
    assert_eq!(world.count("SELECT count(*) FROM manifests").await, 0);
    assert_eq!(world.count("SELECT count(*) FROM blobs").await, 0);
}

#[tokio::test]
async fn an_untagged_manifest_that_is_restored_is_garbage_when_it_was_before() {
    let world = keeping().await;
    let untagged = world.push_image(REPOSITORY, None, "one").await;
    world.delete(REPOSITORY, untagged.manifest).await;
    restored(&world, Restorable::Manifest(&untagged.manifest)).await;
    assert!(is_whole(&world, untagged).await);

    collected(&world).await;

    assert_eq!(world.count("SELECT count(*) FROM manifests").await, 0);
    assert_eq!(world.count("SELECT count(*) FROM blobs").await, 0);
}

/// One of the things that happen at once.
async fn step(world: &World, number: usize, digest: Digest, body: &str) {
    let repository = name(REPOSITORY);
    let tag = "v1".parse().unwrap();
    match number % 6 {
        0 => {
            // Refused when a collector was faster with its blobs.
            let reference = "v1".parse().unwrap();
            let put = berth_registry::distribution::ManifestPut {
                reference: &reference,
                tags: &[],
                content_type: Some(OCI_MANIFEST),
                payload: body.as_bytes(),
            };
            let put = world.distribution.put_manifest(&repository, put).await;
            assert!(matches!(put, Ok(_) | Err(Error::ReferencesUnknown(_))), "{put:?}");
        }
        1 | 2 => {
            let reference = if number % 2 == 1 {
                "v1".to_owned()
            } else {
                digest.to_string()
            };
            let reference = reference.parse().unwrap();
            let gone = world.distribution.delete_manifest(&repository, &reference).await;
            assert!(matches!(gone, Ok(()) | Err(Error::ManifestUnknown(_))), "{gone:?}");
        }
        3 | 4 => {
            let what = if number % 2 == 1 {
                Restorable::Tag {
                    tag: &tag,
                    deleted_at: None,
                }
            } else {
                Restorable::Manifest(&digest)
            };
            let back = world.distribution.restore(&repository, what).await;
            assert!(matches!(back, Ok(_) | Err(Error::NotRestorable(_))), "{back:?}");
        }
        _ => collected(world).await,
    }
}

#[tokio::test]
async fn an_image_that_is_restored_while_it_is_collected_and_pushed_is_whole_or_not_there() {
    let world = keeping().await;
    let pushed = world.push_image(REPOSITORY, Some("v1"), "one").await;
    let body = image(&pushed.config, &[pushed.layer]);

    let steps = (0..90).map(|number| step(&world, number, pushed.manifest, &body));
    stream::iter(steps).buffer_unordered(6).collect::<Vec<()>>().await;

    if world.has_manifest(REPOSITORY, pushed.manifest).await {
        assert!(is_whole(&world, pushed).await);
    }
    let dangling = "SELECT count(*) FROM tags t WHERE NOT EXISTS (
        SELECT 1 FROM manifests m WHERE m.digest = t.manifest_digest AND m.deleted_at IS NULL)";
    assert_eq!(world.count(dangling).await, 0);
    world.clock.advance(20 * HOUR);
    for reference in ["v1".to_owned(), pushed.manifest.to_string()] {
        let reference = reference.parse().unwrap();
        drop(world.distribution.delete_manifest(&name(REPOSITORY), &reference).await);
    }
    world.clock.advance(20 * HOUR);
    collected(&world).await;
    assert_eq!(
        world.count("SELECT count(*) FROM blobs").await,
        0,
        "nothing is left over"
    );
    assert!(world.files().is_none_or(|files| files == 0));
}
