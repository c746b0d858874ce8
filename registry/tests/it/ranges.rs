//! Ranges and conditions of pulls: end-2, end-3, RFC 9110.

use crate::support::content::{bytes, sha256};
use crate::support::{TestRegistry, header};
use reqwest::{Method, Response, StatusCode};

const REPOSITORY: &str = "team/app";
const SIZE: usize = 700_000;

async fn asked(registry: &TestRegistry, method: Method, headers: &[(&str, &str)]) -> Response {
    let path = format!("/v2/{REPOSITORY}/blobs/{}", sha256(&bytes(5, SIZE)));
    let request = registry.request(method, &path);
    let request = headers
        .iter()
        .fold(request, |request, (name, value)| request.header(*name, *value));
    request.send().await.unwrap()
}

async fn registry() -> TestRegistry {
    let registry = TestRegistry::start().await;
    registry.push_blob(REPOSITORY, &bytes(5, SIZE)).await;
    registry
}

/// The parts of a multipart body: each its `Content-Range` and its bytes.
fn parts(body: &[u8], boundary: &str) -> Vec<(String, Vec<u8>)> {
    let (mut rest, mut found) = (body, Vec::new());
    let mut delimiter = format!("--{boundary}\r\n").into_bytes();
    while let Some(after) = rest.strip_prefix(&delimiter[..]) {
        let head_end = position(after, b"\r\n\r\n");
        let head = std::str::from_utf8(&after[..head_end]).unwrap();
        let range = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Range: "))
            .unwrap();
        assert!(head.contains("Content-Type: application/octet-stream"));
        let content = &after[head_end + 4..];
        let end = position(content, format!("\r\n--{boundary}").as_bytes());
        found.push((range.to_owned(), content[..end].to_vec()));
        rest = &content[end..];
        delimiter = format!("\r\n--{boundary}\r\n").into_bytes();
    }
    assert_eq!(rest, format!("\r\n--{boundary}--\r\n").as_bytes());
    found
}

fn position(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes.windows(wanted.len()).position(|window| window == wanted).unwrap()
}

async fn several(registry: &TestRegistry, range: &str) -> Vec<(String, Vec<u8>)> {
    let answer = asked(registry, Method::GET, &[("range", range)]).await;
    assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT);
    let media_type = header(&answer, "content-type");
    let boundary = media_type
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap()
        .to_owned();
    let length: usize = header(&answer, "content-length").parse().unwrap();
    assert_eq!(header(&answer, "content-range"), "");
    let body = answer.bytes().await.unwrap();
    assert_eq!(body.len(), length);
    parts(&body, &boundary)
}

#[tokio::test]
async fn several_ranges_are_several_parts_in_the_order_asked() {
    let registry = registry().await;
    let blob = bytes(5, SIZE);

    let found = several(&registry, "bytes=600000-,0-99,300000-599998").await;

    let expected = [(600_000, SIZE), (0, 100), (300_000, 599_999)].map(|(start, end)| {
        let range = format!("bytes {start}-{}/{SIZE}", end - 1);
        (range, blob[start..end].to_vec())
    });
    assert!(found == expected);
}

#[tokio::test]
async fn ranges_that_overlap_are_one_part_of_a_multipart_answer() {
    let registry = registry().await;

    let found = several(&registry, "bytes=0-99,50-149").await;

    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, format!("bytes 0-149/{SIZE}"));
    assert_eq!(found[0].1, bytes(5, SIZE)[..150]);
}

#[tokio::test]
async fn more_ranges_than_a_client_needs_are_answered_with_the_whole() {
    let registry = registry().await;
    let ranges: Vec<String> = (0..200).map(|n| format!("{}-{}", n * 10, n * 10 + 1)).collect();

    let answer = asked(
        &registry,
        Method::GET,
        &[("range", &format!("bytes={}", ranges.join(",")))],
    )
    .await;

    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.bytes().await.unwrap().len(), SIZE);
}

#[tokio::test]
async fn a_copy_that_is_current_is_not_sent_again() {
    let registry = registry().await;
    let digest = sha256(&bytes(5, SIZE));
    let table = [
        (format!("\"{digest}\""), StatusCode::NOT_MODIFIED),
        (digest.to_string(), StatusCode::NOT_MODIFIED),
        (format!("W/\"{digest}\""), StatusCode::NOT_MODIFIED),
        (format!("\"other\", \"{digest}\""), StatusCode::NOT_MODIFIED),
        ("*".to_owned(), StatusCode::NOT_MODIFIED),
        ("\"other\"".to_owned(), StatusCode::OK),
    ];
    for (tag, status) in table {
        for method in [Method::GET, Method::HEAD] {
            let answer = asked(&registry, method.clone(), &[("if-none-match", &tag)]).await;

            assert_eq!(answer.status(), status, "{method} {tag}");
            assert_eq!(header(&answer, "etag"), format!("\"{digest}\""));
            let length = if status == StatusCode::OK {
                SIZE.to_string()
            } else {
                String::new()
            };
            assert_eq!(header(&answer, "content-length"), length, "{method} {tag}");
        }
    }
}

#[tokio::test]
async fn a_range_counts_only_when_the_copy_it_is_for_is_ours() {
    let registry = registry().await;
    let digest = sha256(&bytes(5, SIZE));
    let table = [
        (format!("\"{digest}\""), StatusCode::PARTIAL_CONTENT),
        (format!("W/\"{digest}\""), StatusCode::OK),
        ("\"other\"".to_owned(), StatusCode::OK),
        ("*".to_owned(), StatusCode::OK),
        ("Sun, 22 Nov 2026 12:00:00 GMT".to_owned(), StatusCode::OK),
    ];
    for (copy, status) in table {
        let answer = asked(&registry, Method::GET, &[("if-range", &copy), ("range", "bytes=0-9")]).await;

        assert_eq!(answer.status(), status, "{copy}");
    }
}

#[tokio::test]
async fn head_tells_what_get_tells() {
    let registry = registry().await;
    let manifest = registry.push_image(REPOSITORY, "v1", b"layer").await;
    let blob = sha256(&bytes(5, SIZE));
    let paths = [
        "/v2/".to_owned(),
        "/v2/_catalog".to_owned(),
        format!("/v2/{REPOSITORY}/blobs/{blob}"),
        format!("/v2/{REPOSITORY}/manifests/v1"),
        format!("/v2/{REPOSITORY}/manifests/{manifest}"),
        format!("/v2/{REPOSITORY}/tags/list"),
        format!("/v2/{REPOSITORY}/referrers/{manifest}"),
        format!("/v2/{REPOSITORY}/manifests/absent"),
        format!("/v2/{REPOSITORY}/blobs/sha256:no"),
        "/v2/nobody/tags/list".to_owned(),
    ];
    for path in paths {
        let (get, head) = (registry.get(&path).await, registry.head(&path).await);

        assert_eq!(get.status(), head.status(), "{path}");
        let told = |answer: &Response| {
            let mut headers = answer.headers().clone();
            for differs in ["date", "x-request-id"] {
                headers.remove(differs);
            }
            headers
        };
        assert_eq!(told(&get), told(&head), "{path}");
        assert_eq!(header(&get, "docker-distribution-api-version"), "registry/2.0");
        let length = header(&get, "content-length");
        assert_eq!(get.bytes().await.unwrap().len().to_string(), length, "{path}");
        assert!(head.bytes().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_client_that_takes_compressed_answers_gets_plain_ones() {
    let registry = registry().await;

    let encodings = [("accept-encoding", "gzip, zstd, deflate, br")];
    let answer = asked(&registry, Method::GET, &encodings).await;

    assert_eq!(header(&answer, "content-encoding"), "");
    assert_eq!(header(&answer, "content-length"), SIZE.to_string());
}
