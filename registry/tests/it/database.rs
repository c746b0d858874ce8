//! The rows themselves: locks are waited for within a bound, and references that were missing are found again.

use crate::support::{self, content, stores};
use berth_registry::metadata::blobs::{self, Blob, Place};
use berth_registry::metadata::manifests::{self, NewManifest};
use berth_registry::metadata::repositories::{self, RepositoryKey};
use berth_registry::metadata::{Metadata, Tx};
use berth_registry::server;
use oci::{Digest, ReferenceKind, ReferenceTo, media_type};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

async fn fresh() -> (Metadata, tempfile::TempDir) {
    let (config, folder) = stores::fresh().await;
    support::migrate(&config).await;
    let metadata = Metadata::connect(&server::database_target(&config.database))
        .await
        .unwrap();
    (metadata, folder)
}

async fn repository(tx: &mut Tx) -> RepositoryKey {
    repositories::ensure(tx, &"team/app".parse().unwrap(), 1).await.unwrap()
}

async fn add_manifest(
    tx: &mut Tx,
    key: RepositoryKey,
    payload: &[u8],
) -> Result<Digest, berth_registry::metadata::Error> {
    let digest = content::sha256(payload);
    let new = NewManifest {
        digest: &digest,
        media_type: media_type::OCI_MANIFEST,
        artifact_type: None,
        config_media_type: None,
        subject: None,
        annotations: &BTreeMap::new(),
        payload,
        content_size: 1,
    };
    manifests::add(tx, key, new, 1).await.map(|()| digest)
}

fn reference(kind: ReferenceKind, digest: Digest) -> ReferenceTo {
    ReferenceTo {
        digest,
        kind,
        size: 2,
        media_type: media_type::OCI_LAYER_GZIP.to_owned(),
        must_exist: false,
    }
}

#[tokio::test]
async fn work_that_waits_for_anothers_lock_is_given_up_as_unavailable_within_its_bound() {
    let (metadata, _folder) = fresh().await;
    let mut tx = metadata.begin().await.unwrap();
    let key = repository(&mut tx).await;
    add_manifest(&mut tx, key, b"{}").await.unwrap();
    tx.commit().await.unwrap();
    let mut holder = metadata.begin().await.unwrap();
    add_manifest(&mut holder, key, b"{}").await.unwrap();

    let begun = Instant::now();
    let refused = async {
        let mut waiter = metadata.begin().await?;
        add_manifest(&mut waiter, key, b"{}").await
    }
    .await
    .unwrap_err();

    assert!(refused.is_unavailable(), "{refused:?}");
    assert!(begun.elapsed() < Duration::from_secs(7));
    holder.commit().await.unwrap();
}

#[tokio::test]
async fn a_probe_is_answered_while_requests_hold_every_connection() {
    let (metadata, _folder) = fresh().await;
    let mut held = Vec::new();
    while let Ok(Ok(reader)) = tokio::time::timeout(Duration::from_millis(500), metadata.read()).await {
        held.push(reader);
    }

    let answered = metadata.ping().await;

    assert!(!held.is_empty());
    assert!(answered.is_ok(), "{answered:?}");
}

#[tokio::test]
async fn a_blob_that_was_missing_is_referenced_once_it_is_linked() {
    let (metadata, _folder) = fresh().await;
    let mut tx = metadata.begin().await.unwrap();
    let key = repository(&mut tx).await;
    let manifest = add_manifest(&mut tx, key, b"{}").await.unwrap();
    let blob = Blob {
        digest: content::sha256(b"layer"),
        size: 5,
        place: Place::Object("key".to_owned()),
        corrupt: false,
    };
    let missing = [reference(ReferenceKind::Layer, blob.digest)];
    manifests::add_missing(&mut tx, key, &manifest, &missing).await.unwrap();
    blobs::add(&mut tx, &blob, 1).await.unwrap();
    blobs::link(&mut tx, key, &blob.digest, 1).await.unwrap();

    let resolved = manifests::resolve_missing_blob(&mut tx, key, &blob.digest)
        .await
        .unwrap();
    let again = manifests::resolve_missing_blob(&mut tx, key, &blob.digest)
        .await
        .unwrap();

    assert_eq!((resolved, again), (1, 0));
    // The manifest needs it now.
    assert!(!blobs::unlink(&mut tx, key, &blob.digest).await.unwrap());
}

#[tokio::test]
async fn a_child_that_was_missing_is_referenced_once_it_is_there() {
    let (metadata, _folder) = fresh().await;
    let mut tx = metadata.begin().await.unwrap();
    let key = repository(&mut tx).await;
    let index = add_manifest(&mut tx, key, b"{\"manifests\":[]}").await.unwrap();
    let missing = [reference(ReferenceKind::Child, content::sha256(b"{}"))];
    manifests::add_missing(&mut tx, key, &index, &missing).await.unwrap();
    let child = add_manifest(&mut tx, key, b"{}").await.unwrap();

    let as_blob = manifests::resolve_missing_blob(&mut tx, key, &child).await.unwrap();
    let resolved = manifests::resolve_missing_child(&mut tx, key, &child).await.unwrap();
    let again = manifests::resolve_missing_child(&mut tx, key, &child).await.unwrap();

    assert_eq!((as_blob, resolved, again), (0, 1, 0));
    tx.commit().await.unwrap();
}
