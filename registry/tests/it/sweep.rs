//! Upload sessions that nobody uses any more, and the limits of those that are used.

use crate::support::content::{bytes, sha256};
use crate::support::{TestRegistry, error_code, header, migrate, stores};
use berth_registry::blobs::{BlobStore, Options};
use berth_registry::clock::Clock;
use berth_registry::config::{Config, Storage};
use berth_registry::distribution::{Chunk, Distribution, Limits, Rules, Swept};
use berth_registry::metadata::Metadata;
use berth_registry::server;
use bytes::Bytes;
use futures::{StreamExt, stream};
use oci::RepositoryName;
use reqwest::{Body, Method, StatusCode};
use std::time::Duration;

const REPOSITORY: &str = "team/app";
const HOUR: Duration = Duration::from_hours(1);

/// The workflows over fresh stores, with a clock that stands.
async fn workflows(config: &Config) -> (Distribution, Clock) {
    migrate(config).await;
    let metadata = Metadata::connect(&server::database_target(&config.database))
        .await
        .unwrap();
    let store = BlobStore::open(&server::store_target(&config.storage), &Options::default())
        .await
        .unwrap();
    let clock = Clock::standing_at(1_000_000_000_000_000);
    let distribution = Distribution::new(metadata, store, clock.clone(), Limits::default(), Rules::default());
    (distribution, clock)
}

fn chunk(
    piece: &'static [u8],
) -> Chunk<impl futures::Stream<Item = Result<Bytes, berth_registry::distribution::BodyError>> + Unpin> {
    Chunk {
        range: None,
        length: None,
        body: stream::iter([Ok(Bytes::from_static(piece))]),
    }
}

fn repository() -> RepositoryName {
    REPOSITORY.parse().unwrap()
}

#[tokio::test]
async fn an_expired_session_is_ended_buried_and_in_the_end_forgotten() {
    let (config, _folder) = stores::fresh().await;
    let (distribution, clock) = workflows(&config).await;
    let old = distribution.start_upload(&repository()).await.unwrap();
    distribution
        .append(&repository(), old.id, chunk(b"bytes"))
        .await
        .unwrap();
    clock.advance(23 * HOUR);
    let young = distribution.start_upload(&repository()).await.unwrap();
    assert_eq!(distribution.sweep_uploads().await.unwrap(), Swept::default());

    clock.advance(2 * HOUR);
    let swept = distribution.sweep_uploads().await.unwrap();

    assert_eq!((swept.expired, swept.forgotten), (1, 0));
    assert!(distribution.upload_status(&repository(), old.id).await.is_err());
    assert!(distribution.upload_status(&repository(), young.id).await.is_ok());
    let buried = "SELECT count(*) FROM tombstones WHERE reason = 'upload_expired'";
    // In a bucket the bytes were kept beside the key that the blob would have had.
    let keys = if matches!(config.storage, Storage::Filesystem { .. }) {
        1
    } else {
        2
    };
    assert_eq!(stores::count(&config, buried).await, keys);

    clock.advance(2 * HOUR);
    let swept = distribution.sweep_uploads().await.unwrap();

    assert_eq!((swept.expired, swept.forgotten), (0, 1));
    assert_eq!(stores::count(&config, "SELECT count(*) FROM upload_sessions").await, 1);
}

#[tokio::test]
async fn a_session_that_is_used_lives_on() {
    let (config, _folder) = stores::fresh().await;
    let (distribution, clock) = workflows(&config).await;
    let upload = distribution.start_upload(&repository()).await.unwrap();
    for _ in 0..3 {
        clock.advance(20 * HOUR);
        distribution.sweep_uploads().await.unwrap();
        distribution
            .append(&repository(), upload.id, chunk(b"x"))
            .await
            .unwrap();
    }

    let status = distribution.upload_status(&repository(), upload.id).await.unwrap();

    assert_eq!(status.stored, 3);
}

#[tokio::test]
async fn a_session_that_is_claimed_in_its_last_seconds_is_not_swept() {
    let (config, _folder) = stores::fresh().await;
    let (distribution, clock) = workflows(&config).await;
    let upload = distribution.start_upload(&repository()).await.unwrap();
    clock.advance(23 * HOUR + Duration::from_secs(3595));
    let later = async {
        clock.advance(Duration::from_secs(10));
        let swept = distribution.sweep_uploads().await.unwrap();
        assert_eq!(swept.expired, 0);
        Ok(Bytes::from_static(b"bytes"))
    };
    let body = Chunk {
        range: None,
        length: None,
        body: stream::once(later).boxed(),
    };

    let appended = distribution.append(&repository(), upload.id, body).await;

    assert_eq!(appended.unwrap().stored, 5);
}

#[tokio::test]
async fn a_finished_session_is_remembered_for_a_while() {
    let (config, _folder) = stores::fresh().await;
    let (distribution, clock) = workflows(&config).await;
    let upload = distribution.start_upload(&repository()).await.unwrap();
    let digest = sha256(b"bytes");
    let name = repository();
    distribution
        .finish_upload(&name, upload.id, digest, chunk(b"bytes"))
        .await
        .unwrap();

    clock.advance(HOUR / 2);
    distribution.sweep_uploads().await.unwrap();
    assert!(
        distribution
            .finish_upload(&name, upload.id, digest, chunk(b"bytes"))
            .await
            .is_ok()
    );

    clock.advance(HOUR);
    distribution.sweep_uploads().await.unwrap();
    assert!(
        distribution
            .finish_upload(&name, upload.id, digest, chunk(b"bytes"))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn many_sweepers_at_once_end_every_session_once() {
    let (config, _folder) = stores::fresh().await;
    let (distribution, clock) = workflows(&config).await;
    for _ in 0..130 {
        distribution.start_upload(&repository()).await.unwrap();
    }
    clock.advance(25 * HOUR);

    let sweeps = (0..4).map(|_| distribution.sweep_uploads());
    let swept = futures::future::join_all(sweeps).await;

    let expired: u64 = swept.into_iter().map(|swept| swept.unwrap().expired).sum();
    assert_eq!(expired, 130);
    assert_eq!(stores::count(&config, "SELECT count(*) FROM tombstones").await, 130);
}

#[tokio::test]
async fn a_server_ends_expired_sessions_by_itself() {
    let registry = TestRegistry::start_with(&[("BERTH_UPLOADS_SWEEP_INTERVAL", "1s")]).await;
    registry.open_upload(REPOSITORY).await;

    stores::execute(&registry.config, "UPDATE upload_sessions SET expires_at = 1").await;

    let ended = "SELECT count(*) FROM upload_sessions WHERE state = 2";
    let waiting = async {
        while stores::count(&registry.config, ended).await == 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap();
}

#[tokio::test]
async fn a_blob_that_is_too_large_is_refused_announced_or_not_and_the_session_stays() {
    let registry = TestRegistry::start_with(&[("BERTH_UPLOADS_MAX_SIZE", "1MiB")]).await;
    let upload = registry.open_upload(REPOSITORY).await;
    let first = registry
        .request(Method::PATCH, &upload)
        .body(bytes(1, 600_000))
        .send()
        .await
        .unwrap();
    assert_eq!(first.status(), StatusCode::ACCEPTED);
    let streamed = Body::wrap_stream(stream::iter((0..6).map(|n| Ok::<_, std::io::Error>(bytes(n, 100_000)))));
    let table = [
        registry.request(Method::PATCH, &upload).body(bytes(2, 600_000)),
        registry.request(Method::PATCH, &upload).body(streamed),
        registry
            .request(Method::PATCH, &upload)
            .header("content-range", "600000-1199999")
            .body(bytes(2, 600_000)),
        registry
            .request(Method::PUT, &format!("{upload}?digest={}", sha256(b"")))
            .body(bytes(2, 600_000)),
        registry
            .request(
                Method::POST,
                &format!("/v2/{REPOSITORY}/blobs/uploads/?digest={}", sha256(b"x")),
            )
            .body(bytes(2, 1_100_000)),
    ];
    for request in table {
        let refused = request.send().await.unwrap();

        assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(error_code(refused).await, "SIZE_INVALID");
        assert_eq!(header(&registry.get(&upload).await, "range"), "0-599999");
    }
    let full = registry
        .request(Method::PATCH, &upload)
        .body(bytes(2, (1 << 20) - 600_000))
        .send()
        .await
        .unwrap();
    assert_eq!(full.status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_manifest_may_be_as_large_as_the_setting_says() {
    let registry = TestRegistry::start_with(&[("BERTH_MANIFESTS_MAX_SIZE", "5MiB")]).await;
    let config = registry.push_blob(REPOSITORY, b"{}").await;
    let body = crate::support::content::image(&config, &[]);
    let padded = |size: usize| format!("{body}{}", " ".repeat(size - body.len()));

    for (size, status) in [
        (5 << 20, StatusCode::CREATED),
        ((5 << 20) + 1, StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let answer = registry
            .put_manifest(REPOSITORY, "v1", oci::media_type::OCI_MANIFEST, &padded(size))
            .await;
        assert_eq!(answer.status(), status, "{size}");
    }
}
