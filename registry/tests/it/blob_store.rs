//! What the store of blobs promises, whichever it is.

use crate::support::TestRegistry;
use crate::support::content::{bytes, sha256};
use berth_registry::blobs::{AppendError, Appended, BlobStore, ClaimError, End, Error, Options, Position, WriteClaim};
use berth_registry::config::Storage;
use berth_registry::server;
use bytes::Bytes;
use futures::{TryStreamExt, stream};
use oci::Digest;
use reqwest::StatusCode;
use uuid::Uuid;

/// The right to write, which nobody else wants.
struct Held;

impl WriteClaim for Held {
    fn confirm(&self) -> futures::future::BoxFuture<'static, Result<(), ClaimError>> {
        Box::pin(async { Ok(()) })
    }

    async fn multipart_begun(&self, _: &str, _: &str) -> Result<(), ClaimError> {
        Ok(())
    }
}

async fn store(registry: &TestRegistry) -> BlobStore {
    let target = server::store_target(&registry.config.storage);
    BlobStore::open(&target, &Options::default()).await.unwrap()
}

fn begin() -> Position {
    let object_key = berth_registry::blobs::keys::of_upload(Uuid::new_v4());
    Position {
        object_key,
        claim: 1,
        ..Position::default()
    }
}

/// Where the next request stands, when this one was recorded.
fn after(appended: &Appended, before: &Position) -> Position {
    Position {
        object_key: before.object_key.clone(),
        stored_bytes: appended.stored_bytes,
        hasher: Some(appended.hasher.clone()),
        multipart_id: appended.multipart_id.clone(),
        parts: appended.parts.clone(),
        tail_key: appended.tail_key.clone(),
        claim: before.claim + 1,
    }
}

async fn append(
    store: &BlobStore,
    at: &Position,
    content: &[u8],
    end: End,
) -> Result<Appended, AppendError<std::convert::Infallible>> {
    let pieces: Vec<_> = content
        .chunks(64 * 1024)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)))
        .collect();
    store.append(at.clone(), stream::iter(pieces), end, &Held).await
}

async fn holds(store: &BlobStore, object_key: &str, content: &[u8]) {
    let body = store.read(object_key, 0..content.len() as u64).await.unwrap();
    let pieces: Vec<Bytes> = body.try_collect().await.unwrap();
    assert!(pieces.concat() == content);
}

#[tokio::test]
async fn an_upload_that_was_finished_but_not_recorded_can_be_finished_again() {
    let registry = TestRegistry::start().await;
    let store = store(&registry).await;
    for size in [1000, 20 * 1024 * 1024] {
        let content = bytes(size as u64, size);
        let end = End::Last(sha256(&content));
        let first = begin();
        append(&store, &first, &content, end).await.unwrap();

        // The row knows nothing of it, or at most the multipart upload: the client sends everything again.
        for multipart_id in [None, Some("an upload that is gone".to_owned())] {
            let again = Position {
                claim: 2,
                multipart_id,
                ..first.clone()
            };
            let finished = append(&store, &again, &content, end).await.unwrap();
            holds(&store, &finished.object_key, &content).await;
        }
    }
}

#[tokio::test]
async fn closing_an_upload_whose_closing_was_not_recorded_succeeds() {
    let registry = TestRegistry::start().await;
    let store = store(&registry).await;
    for size in [1000, 20 * 1024 * 1024] {
        let content = bytes(size as u64, size);
        let first = begin();
        let appended = append(&store, &first, &content, End::Open).await.unwrap();
        let second = after(&appended, &first);
        let end = End::Last(sha256(&content));
        append(&store, &second, b"", end).await.unwrap();

        let third = Position {
            claim: second.claim + 1,
            ..second
        };
        let finished = append(&store, &third, b"", end).await.unwrap();

        assert_eq!(finished.stored_bytes, size as u64);
        holds(&store, &finished.object_key, &content).await;
    }
}

#[tokio::test]
async fn a_small_object_is_given_only_with_the_bytes_of_its_digest() {
    let registry = TestRegistry::start().await;
    let (content, at) = (bytes(5, 1000), begin());
    let finished = append(&store(&registry).await, &at, &content, End::Open).await.unwrap();
    let key = finished.tail_key.as_ref().unwrap_or(&finished.object_key);

    let good = store(&registry).await.read_small(key, 1000, &sha256(&content)).await;
    let other = sha256(b"what another row says that it is");
    let damaged = store(&registry).await.read_small(key, 1000, &other).await;

    assert_eq!(good.unwrap(), content);
    assert!(matches!(damaged, Err(Error::Damaged { .. })), "{damaged:?}");
}

#[tokio::test]
async fn an_append_that_was_not_recorded_leaves_nothing_in_the_blob() {
    let registry = TestRegistry::start().await;
    let store = store(&registry).await;
    let content = bytes(3, 9 * 1024 * 1024);
    let first = begin();
    append(&store, &first, &bytes(4, 12 * 1024 * 1024), End::Open)
        .await
        .unwrap();

    let again = Position { claim: 2, ..first };
    let finished = append(&store, &again, &content, End::Last(sha256(&content)))
        .await
        .unwrap();

    holds(&store, &finished.object_key, &content).await;
}

#[tokio::test]
async fn other_content_than_was_said_is_refused() {
    let registry = TestRegistry::start().await;
    let store = store(&registry).await;

    let refused = append(&store, &begin(), b"content", End::Last(sha256(b"other"))).await;

    assert!(matches!(refused, Err(AppendError::DigestMismatch(_))));
}

#[tokio::test]
async fn an_upload_that_the_store_threw_away_is_told_apart_from_a_store_that_fails() {
    let registry = TestRegistry::start_on_a_bucket(&[]).await;
    let store = store(&registry).await;
    let content = bytes(6, 10 * 1024 * 1024);
    let first = begin();
    let appended = append(&store, &first, &content, End::Open).await.unwrap();
    // What an upload looks like whose parts are gone, in the words of any store.
    let gone = Position {
        multipart_id: Some("an upload that is gone".to_owned()),
        parts: appended
            .parts
            .iter()
            .map(|_| format!("{} {:032x}", 8 * 1024 * 1024, 1))
            .collect(),
        ..after(&appended, &first)
    };

    let lost = append(&store, &gone, b"", End::Last(sha256(&content))).await;

    assert!(matches!(lost, Err(AppendError::Store(Error::Lost { .. }))), "{lost:?}");
}

#[tokio::test]
async fn uploads_that_want_more_memory_than_there_is_wait_for_each_other() {
    let registry = TestRegistry::start_on_a_bucket(&[]).await;
    let target = server::store_target(&registry.config.storage);
    let options = Options {
        // Two parts at a time.
        upload_memory: 24 * 1024 * 1024,
        ..Options::default()
    };
    let store = BlobStore::open(&target, &options).await.unwrap();
    let uploads = (0..8).map(|seed| {
        let store = store.clone();
        async move {
            let content = bytes(seed, 17 * 1024 * 1024);
            let appended = append(&store, &begin(), &content, End::Last(sha256(&content)))
                .await
                .unwrap();
            holds(&store, &appended.object_key, &content).await;
        }
    });

    futures::future::join_all(uploads).await;
}

#[tokio::test]
async fn deleting_twice_is_deleting_once() {
    let registry = TestRegistry::start().await;
    let store = store(&registry).await;
    let finished = append(&store, &begin(), b"content", End::Last(sha256(b"content")))
        .await
        .unwrap();

    store.delete(&finished.object_key).await.unwrap();
    store.delete(&finished.object_key).await.unwrap();

    assert!(store.read(&finished.object_key, 0..7).await.is_err());
}

#[tokio::test]
async fn an_object_that_lost_bytes_is_never_a_whole_answer() {
    let registry = TestRegistry::start().await;
    let content = bytes(9, 2_000_000);
    let digest: Digest = registry.push_blob("team/app", &content).await;
    let Storage::Filesystem { root } = &registry.config.storage else {
        // A bucket's objects cannot be cut short; they can be gone.
        return;
    };
    let file = std::process::Command::new("find")
        .arg(root)
        .args(["-size", "+1000k", "-type", "f"])
        .output()
        .unwrap();
    let path = String::from_utf8(file.stdout).unwrap();
    std::fs::OpenOptions::new()
        .write(true)
        .open(path.trim())
        .unwrap()
        .set_len(1_000_000)
        .unwrap();

    let answer = registry.get(&format!("/v2/team/app/blobs/{digest}")).await;

    let whole = answer.status() == StatusCode::OK && answer.bytes().await.is_ok();
    assert!(!whole, "a short body was passed off as the blob");
}
