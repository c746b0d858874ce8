//! Pushing blobs: end-4 to end-6, end-11, end-13, end-14.

use crate::support::content::{bytes, sha256};
use crate::support::{TestRegistry, error_code, header};
use futures::{StreamExt, stream};
use oci::{Algorithm, Digest};
use reqwest::{Body, Method, Response, StatusCode};

const REPOSITORY: &str = "team/app";

async fn patch(registry: &TestRegistry, upload: &str, range: Option<String>, body: &[u8]) -> Response {
    let mut request = registry.request(Method::PATCH, upload).body(body.to_vec());
    if let Some(range) = range {
        request = request.header("content-range", range);
    }
    request.send().await.unwrap()
}

async fn put(registry: &TestRegistry, upload: &str, digest: &Digest, body: &[u8]) -> Response {
    let path = format!("{upload}?digest={digest}");
    registry
        .request(Method::PUT, &path)
        .body(body.to_vec())
        .send()
        .await
        .unwrap()
}

async fn pulled(registry: &TestRegistry, digest: &Digest) -> Vec<u8> {
    let answer = registry.get(&format!("/v2/{REPOSITORY}/blobs/{digest}")).await;
    assert_eq!(answer.status(), StatusCode::OK);
    answer.bytes().await.unwrap().to_vec()
}

#[tokio::test]
async fn a_blob_pushed_with_one_request_is_pulled_bit_for_bit() {
    let registry = TestRegistry::start().await;
    for length in [0, 1, 100_000, 9 * 1024 * 1024] {
        let blob = bytes(length as u64, length);

        let digest = registry.push_blob(REPOSITORY, &blob).await;

        assert!(pulled(&registry, &digest).await == blob, "{length} bytes");
    }
}

#[tokio::test]
async fn a_streamed_push_of_several_parts_is_pulled_bit_for_bit() {
    let registry = TestRegistry::start().await;
    let blob = bytes(7, 21 * 1024 * 1024 + 5);
    let upload = registry.open_upload(REPOSITORY).await;
    let pieces: Vec<Result<Vec<u8>, std::io::Error>> = blob.chunks(100_000).map(|piece| Ok(piece.to_vec())).collect();
    let streamed = registry
        .request(Method::PATCH, &upload)
        .body(Body::wrap_stream(stream::iter(pieces)));

    let answer = streamed.send().await.unwrap();

    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    assert_eq!(header(&answer, "range"), format!("0-{}", blob.len() - 1));
    let digest = sha256(&blob);
    let finished = put(&registry, &upload, &digest, b"").await;
    assert_eq!(finished.status(), StatusCode::CREATED);
    assert_eq!(
        header(&finished, "location"),
        format!("/v2/{REPOSITORY}/blobs/{digest}")
    );
    assert!(pulled(&registry, &digest).await == blob);
}

#[tokio::test]
async fn chunks_of_any_size_make_up_the_blob() {
    let registry = TestRegistry::start().await;
    let blob = bytes(8, 20 * 1024 * 1024);
    let upload = registry.open_upload(REPOSITORY).await;
    let mut at = 0;
    for size in [1, 3 * 1024 * 1024, 10 * 1024 * 1024, 17, 5 * 1024 * 1024] {
        let chunk = &blob[at..at + size];
        let answer = patch(&registry, &upload, Some(format!("{at}-{}", at + size - 1)), chunk).await;
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        at += size;
        assert_eq!(header(&answer, "range"), format!("0-{}", at - 1));
    }

    let digest = sha256(&blob);
    let answer = put(&registry, &upload, &digest, &blob[at..]).await;

    assert_eq!(answer.status(), StatusCode::CREATED);
    assert!(pulled(&registry, &digest).await == blob);
}

#[tokio::test]
async fn a_chunk_at_the_wrong_offset_is_refused_with_the_true_range() {
    let registry = TestRegistry::start().await;
    let upload = registry.open_upload(REPOSITORY).await;
    patch(&registry, &upload, Some("0-9".to_owned()), &[1; 10]).await;

    for range in ["0-9", "20-29", "nonsense"] {
        let refused = patch(&registry, &upload, Some(range.to_owned()), &[1; 10]).await;

        assert_eq!(refused.status(), StatusCode::RANGE_NOT_SATISFIABLE, "{range}");
        assert_eq!(header(&refused, "range"), "0-9");
        assert_eq!(header(&refused, "location"), upload);
        assert_eq!(error_code(refused).await, "BLOB_UPLOAD_INVALID");
    }
    let digest = sha256(&[1; 20]);
    patch(&registry, &upload, Some("10-19".to_owned()), &[1; 10]).await;
    assert_eq!(
        put(&registry, &upload, &digest, b"").await.status(),
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn a_chunk_shorter_than_its_range_leaves_the_upload_where_it_stood() {
    let registry = TestRegistry::start().await;
    let upload = registry.open_upload(REPOSITORY).await;
    patch(&registry, &upload, None, b"kept").await;

    let refused = patch(&registry, &upload, Some("4-99".to_owned()), b"short").await;

    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    assert_eq!(error_code(refused).await, "SIZE_INVALID");
    let status = registry.get(&upload).await;
    assert_eq!(status.status(), StatusCode::NO_CONTENT);
    assert_eq!(header(&status, "range"), "0-3");
    assert_eq!(
        put(&registry, &upload, &sha256(b"kept"), b"").await.status(),
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn a_broken_connection_leaves_the_upload_ready_for_the_next_try() {
    let registry = TestRegistry::start().await;
    let upload = registry.open_upload(REPOSITORY).await;
    patch(&registry, &upload, None, b"kept").await;
    let half = stream::iter([Ok(vec![0_u8; 2_000_000])]);
    let broken = half.chain(stream::once(async { Err(std::io::Error::other("cut")) }));
    let cut = registry
        .request(Method::PATCH, &upload)
        .body(Body::wrap_stream(broken))
        .send()
        .await;
    assert!(cut.is_err());

    let answer = patch(&registry, &upload, Some("4-6".to_owned()), b"end").await;

    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    assert_eq!(
        put(&registry, &upload, &sha256(b"keptend"), b"").await.status(),
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn content_that_is_not_its_digest_is_refused_and_the_session_ends() {
    let registry = TestRegistry::start().await;
    let upload = registry.open_upload(REPOSITORY).await;
    let said = sha256(b"something else");

    let refused = put(&registry, &upload, &said, b"content").await;

    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    assert_eq!(error_code(refused).await, "DIGEST_INVALID");
    assert_eq!(registry.get(&upload).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(
        registry.head(&format!("/v2/{REPOSITORY}/blobs/{said}")).await.status(),
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn a_blob_may_be_named_by_sha512_though_it_was_hashed_with_sha256_on_the_way() {
    let registry = TestRegistry::start().await;
    for blob in [bytes(3, 1000), bytes(4, 9 * 1024 * 1024)] {
        let digest = Digest::of(Algorithm::Sha512, &blob);
        let upload = registry.open_upload(REPOSITORY).await;
        patch(&registry, &upload, None, &blob).await;

        let answer = put(&registry, &upload, &digest, b"").await;

        assert_eq!(answer.status(), StatusCode::CREATED);
        assert!(pulled(&registry, &digest).await == blob);
    }
}

#[tokio::test]
async fn finishing_twice_after_a_lost_answer_succeeds() {
    let registry = TestRegistry::start().await;
    let upload = registry.open_upload(REPOSITORY).await;
    let digest = sha256(b"once");
    assert_eq!(
        put(&registry, &upload, &digest, b"once").await.status(),
        StatusCode::CREATED
    );

    assert_eq!(
        put(&registry, &upload, &digest, b"once").await.status(),
        StatusCode::CREATED
    );
    assert_eq!(
        put(&registry, &upload, &sha256(b"other"), b"other").await.status(),
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn a_cancelled_session_is_unknown() {
    let registry = TestRegistry::start().await;
    let upload = registry.open_upload(REPOSITORY).await;
    patch(&registry, &upload, None, b"bytes").await;

    let cancelled = registry.request(Method::DELETE, &upload).send().await.unwrap();

    assert_eq!(cancelled.status(), StatusCode::NO_CONTENT);
    for method in [Method::GET, Method::PATCH, Method::DELETE] {
        let answer = registry.request(method, &upload).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_session_belongs_to_its_repository() {
    let registry = TestRegistry::start().await;
    let upload = registry.open_upload(REPOSITORY).await;

    let elsewhere = upload.replace(REPOSITORY, "another/app");

    assert_eq!(registry.get(&elsewhere).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(
        patch(&registry, &elsewhere, None, b"x").await.status(),
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn a_put_without_a_digest_keeps_the_session() {
    let registry = TestRegistry::start().await;
    let upload = registry.open_upload(REPOSITORY).await;

    let refused = registry.request(Method::PUT, &upload).body("x").send().await.unwrap();

    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    assert_eq!(error_code(refused).await, "DIGEST_INVALID");
    assert_eq!(registry.get(&upload).await.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn the_same_blob_pushed_by_many_at_once_is_one_blob() {
    let registry = TestRegistry::start().await;
    let blob = bytes(11, 300_000);
    let pushes = (0..12).map(|client| {
        let (registry, blob) = (&registry, &blob);
        async move { registry.push_blob(&format!("team/app{}", client % 3), blob).await }
    });

    let digests: Vec<Digest> = stream::iter(pushes).buffer_unordered(12).collect().await;

    assert!(digests.iter().all(|digest| *digest == sha256(&blob)));
    for repository in ["team/app0", "team/app1", "team/app2"] {
        let answer = registry.get(&format!("/v2/{repository}/blobs/{}", sha256(&blob))).await;
        assert!(answer.bytes().await.unwrap() == blob);
    }
}

#[tokio::test]
async fn a_mount_links_the_blob_of_another_repository() {
    let registry = TestRegistry::start().await;
    let digest = registry.push_blob("source/app", b"shared").await;
    for query in [format!("mount={digest}&from=source/app"), format!("mount={digest}")] {
        let target = format!("target{}", query.len());

        let path = format!("/v2/{target}/blobs/uploads/?{query}");
        let answer = registry.request(Method::POST, &path).send().await.unwrap();

        assert_eq!(answer.status(), StatusCode::CREATED);
        assert_eq!(header(&answer, "docker-content-digest"), digest.to_string());
        assert_eq!(
            registry.head(&format!("/v2/{target}/blobs/{digest}")).await.status(),
            StatusCode::OK
        );
    }
}

#[tokio::test]
async fn a_mount_of_what_is_there_already_needs_no_source() {
    let registry = TestRegistry::start().await;
    let digest = registry.push_blob(REPOSITORY, b"here").await;
    for from in ["&from=nobody/app", "&from=NOT//A..NAME", ""] {
        let path = format!("/v2/{REPOSITORY}/blobs/uploads/?mount={digest}{from}");

        let answer = registry.request(Method::POST, &path).send().await.unwrap();

        assert_eq!(answer.status(), StatusCode::CREATED, "{from}");
        assert_eq!(header(&answer, "location"), format!("/v2/{REPOSITORY}/blobs/{digest}"));
    }
}

#[tokio::test]
async fn a_mount_that_fails_uses_the_bytes_that_came_with_it() {
    let registry = TestRegistry::start().await;
    let digest = sha256(b"bytes");
    let path = format!("/v2/{REPOSITORY}/blobs/uploads/?mount={digest}&from=nobody/app&digest={digest}");

    let answer = registry
        .request(Method::POST, &path)
        .body("bytes")
        .send()
        .await
        .unwrap();

    assert_eq!(answer.status(), StatusCode::CREATED);
    assert_eq!(pulled(&registry, &digest).await, b"bytes");
}

#[tokio::test]
async fn the_status_of_an_upload_is_told_whatever_the_query_says() {
    let registry = TestRegistry::start().await;
    let upload = registry.open_upload(REPOSITORY).await;
    patch(&registry, &upload, None, b"12345").await;
    for query in ["", "?digest=sha256:no", "?ns=x&_state=y"] {
        for method in [Method::GET, Method::HEAD] {
            let path = format!("{upload}{query}");
            let status = registry.request(method, &path).send().await.unwrap();

            assert_eq!(status.status(), StatusCode::NO_CONTENT);
            assert_eq!(header(&status, "range"), "0-4");
            assert_eq!(header(&status, "location"), upload);
            assert!(upload.ends_with(&header(&status, "docker-upload-uuid")));
            assert_eq!(header(&status, "content-length"), "");
        }
    }
}

#[tokio::test]
async fn a_digest_of_an_algorithm_that_nobody_knows_keeps_the_session() {
    let registry = TestRegistry::start().await;
    let upload = registry.open_upload(REPOSITORY).await;
    patch(&registry, &upload, None, b"kept").await;
    for digest in ["md5:d41d8cd98f00b204e9800998ecf8427e", "sha256:short", "sha256", ""] {
        let path = format!("{upload}?digest={digest}");

        let refused = registry.request(Method::PUT, &path).send().await.unwrap();

        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{digest}");
        assert_eq!(error_code(refused).await, "DIGEST_INVALID");
    }
    let finished = put(&registry, &upload, &sha256(b"kept"), b"").await;
    assert_eq!(finished.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn nothing_at_all_is_a_blob_under_either_algorithm() {
    let registry = TestRegistry::start().await;
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let digest = Digest::of(algorithm, b"");
        let upload = registry.open_upload(REPOSITORY).await;
        let empty = Body::wrap_stream(stream::empty::<Result<Vec<u8>, std::io::Error>>());
        let streamed = registry
            .request(Method::PATCH, &upload)
            .body(empty)
            .send()
            .await
            .unwrap();
        assert_eq!(header(&streamed, "range"), "0-0");
        let finished = put(&registry, &upload, &digest, b"").await;
        assert_eq!(finished.status(), StatusCode::CREATED);

        let path = format!("/v2/{REPOSITORY}/blobs/{digest}");
        let head = registry.head(&path).await;
        assert_eq!(head.status(), StatusCode::OK);
        assert_eq!(header(&head, "content-length"), "0");
        assert!(pulled(&registry, &digest).await.is_empty());
        assert_eq!(registry.delete(&path).await.status(), StatusCode::ACCEPTED);
        assert_eq!(registry.head(&path).await.status(), StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_mount_that_cannot_be_done_opens_a_session() {
    let registry = TestRegistry::start().await;
    registry.push_blob("source/app", b"here").await;
    let absent = sha256(b"not here");
    for from in ["&from=source/app", "&from=nobody/app", "&from=NOT//A..NAME", ""] {
        let path = format!("/v2/{REPOSITORY}/blobs/uploads/?mount={absent}{from}");

        let answer = registry.request(Method::POST, &path).send().await.unwrap();

        assert_eq!(answer.status(), StatusCode::ACCEPTED, "{from}");
        assert!(header(&answer, "location").contains("/blobs/uploads/"));
    }
}

#[tokio::test]
async fn an_upload_begun_on_one_server_is_finished_on_another() {
    let registry = TestRegistry::start().await;
    if registry.database_is_local() {
        // One process owns a SQLite file: a second server takes over when the first has ended.
        return finished_after_a_restart(registry).await;
    }
    let other = registry.another().await;
    let blob = bytes(21, 12 * 1024 * 1024);
    let upload = registry.open_upload(REPOSITORY).await;
    let half = blob.len() / 2;
    assert_eq!(
        patch(&registry, &upload, None, &blob[..half]).await.status(),
        StatusCode::ACCEPTED
    );

    let digest = sha256(&blob);
    let url = format!("http://{}{upload}?digest={digest}", other.http);
    let answer = registry
        .client
        .put(url)
        .body(blob[half..].to_vec())
        .send()
        .await
        .unwrap();

    assert_eq!(answer.status(), StatusCode::CREATED);
    assert!(pulled(&registry, &digest).await == blob);
}

async fn finished_after_a_restart(registry: TestRegistry) {
    let blob = bytes(22, 12 * 1024 * 1024);
    let upload = registry.open_upload(REPOSITORY).await;
    let half = blob.len() / 2;
    assert_eq!(
        patch(&registry, &upload, None, &blob[..half]).await.status(),
        StatusCode::ACCEPTED
    );

    let registry = registry.restart().await;

    let digest = sha256(&blob);
    assert_eq!(
        put(&registry, &upload, &digest, &blob[half..]).await.status(),
        StatusCode::CREATED
    );
    assert!(pulled(&registry, &digest).await == blob);
}

#[tokio::test]
async fn a_session_can_be_cancelled_while_a_request_writes_to_it() {
    let registry = TestRegistry::start().await;
    let upload = registry.open_upload(REPOSITORY).await;
    let (begun, half_way) = tokio::sync::oneshot::channel();
    let (go_on, cancelled) = tokio::sync::oneshot::channel::<()>();
    let body = stream::once(async { Ok::<_, std::io::Error>(vec![1_u8; 100_000]) }).chain(stream::once(async move {
        begun.send(()).unwrap();
        cancelled.await.unwrap();
        Ok(vec![2_u8; 100_000])
    }));
    let writing = registry
        .request(Method::PATCH, &upload)
        .body(Body::wrap_stream(body.boxed()))
        .send();
    let cancelling = async {
        half_way.await.unwrap();
        let answer = registry.request(Method::DELETE, &upload).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        go_on.send(()).unwrap();
    };

    let (written, ()) = tokio::join!(writing, cancelling);

    assert_ne!(written.unwrap().status(), StatusCode::ACCEPTED);
    assert_eq!(registry.get(&upload).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_digest_without_its_bytes_opens_a_session() {
    let registry = TestRegistry::start().await;
    let path = format!("/v2/{REPOSITORY}/blobs/uploads/?digest={}", sha256(b"to come"));

    let answer = registry.request(Method::POST, &path).send().await.unwrap();

    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let upload = header(&answer, "location");
    assert_eq!(
        put(&registry, &upload, &sha256(b"to come"), b"to come").await.status(),
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn a_large_push_repeated_after_success_is_answered_and_not_cut_off() {
    let registry = TestRegistry::start().await;
    let blob = bytes(13, 20 * 1024 * 1024);
    let upload = registry.open_upload(REPOSITORY).await;
    let digest = sha256(&blob);
    assert_eq!(
        put(&registry, &upload, &digest, &blob).await.status(),
        StatusCode::CREATED
    );

    assert_eq!(
        put(&registry, &upload, &digest, &blob).await.status(),
        StatusCode::CREATED
    );
}
