//! More than the registry may do at a time, and heads larger than it reads.
#![expect(clippy::unwrap_used, reason = "a test's tool stops where it fails")]

use crate::support::serve::LIMIT;
use crate::support::{TestRegistry, content, error_code, header};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use reqwest::{Client, Method, Response, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

async fn says(stream: &mut TcpStream, start: &[u8]) {
    let mut read = vec![0; start.len()];
    timeout(LIMIT, stream.read_exact(&mut read)).await.unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&read), String::from_utf8_lossy(start));
}

#[tokio::test]
async fn pulls_go_on_when_there_are_too_many_pushes() {
    let registry = TestRegistry::start_with(&[("BERTH_HTTP_MAX_UPLOADS", "1")]).await;
    let digest = registry.push_blob("a", b"bytes").await;
    let mut push = TcpStream::connect(registry.server().http).await.unwrap();
    let wanted = content::sha256(b"123456789");
    let head = format!(
        "POST /v2/a/blobs/uploads/?digest={wanted} HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\
         expect: 100-continue\r\n\r\n"
    );
    push.write_all(head.as_bytes()).await.unwrap();
    says(&mut push, b"HTTP/1.1 100 Continue\r\n\r\n").await;

    let refused = registry
        .request(Method::POST, "/v2/a/blobs/uploads/")
        .body(vec![0; 1_000_000])
        .send()
        .await
        .unwrap();

    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(header(&refused, "retry-after"), "2");
    assert_eq!(header(&refused, "docker-distribution-api-version"), "registry/2.0");
    assert_eq!(error_code(refused).await, "UNAVAILABLE");
    let pulled = registry.get(&format!("/v2/a/blobs/{digest}")).await;
    assert_eq!(pulled.status(), StatusCode::OK);
    push.write_all(b"123456789").await.unwrap();
    says(&mut push, b"HTTP/1.1 201 Created").await;
    registry.push_blob("a", b"once there is a place again").await;
}

/// Both protocols.
fn clients() -> [Client; 2] {
    [
        Client::new(),
        Client::builder().http2_prior_knowledge().build().unwrap(),
    ]
}

async fn asked(registry: &TestRegistry, client: &Client, path: &str, header: usize) -> Response {
    let request = client.get(registry.url(path)).header("x-long", "x".repeat(header));
    request.send().await.unwrap()
}

#[tokio::test]
async fn a_long_url_is_read_and_an_endless_one_is_refused() {
    let registry = TestRegistry::start().await;
    for client in clients() {
        let url = |bytes| format!("/v2/?ns={}", "x".repeat(bytes));

        let long = asked(&registry, &client, &url(20_000), 1).await;
        let endless = asked(&registry, &client, &url(50_000), 1).await;

        assert_eq!(long.status(), StatusCode::OK);
        assert_eq!(endless.status(), StatusCode::URI_TOO_LONG);
        assert_eq!(error_code(endless).await, "SIZE_INVALID");
    }
}

#[tokio::test]
async fn large_headers_are_refused_with_the_limit() {
    let registry = TestRegistry::start().await;
    for client in clients() {
        let large = asked(&registry, &client, "/v2/", 30_000).await;
        let too_large = asked(&registry, &client, "/v2/", 70_000).await;

        assert_eq!(large.status(), StatusCode::OK);
        assert_eq!(too_large.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        let told = too_large.text().await.unwrap();
        assert!(told.contains("larger than 65536 bytes"), "{told}");
    }
}

#[tokio::test]
async fn headers_beyond_all_measure_leave_the_server_alive() {
    let registry = TestRegistry::start().await;
    for client in clients() {
        let request = client.get(registry.url("/v2/")).header("x-long", "x".repeat(600_000));

        if let Ok(answer) = request.send().await {
            assert_eq!(answer.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        }

        assert_eq!(asked(&registry, &client, "/v2/", 1).await.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn more_headers_than_a_hundred_are_refused() {
    let registry = TestRegistry::start().await;
    for client in clients() {
        let many = (0..120).fold(client.get(registry.url("/v2/")), |request, number| {
            request.header(format!("x-{number}"), "1")
        });

        let answer = many.send().await.unwrap();

        assert_eq!(answer.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
}

/// Sends a manifest but for its last bytes.
async fn stopped(registry: &TestRegistry, bytes: usize) -> TcpStream {
    let mut push = TcpStream::connect(registry.server().http).await.unwrap();
    let head = format!(
        "PUT /v2/a/manifests/v1 HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n",
        bytes + 10
    );
    push.write_all(head.as_bytes()).await.unwrap();
    timeout(LIMIT, push.write_all(&vec![b' '; bytes]))
        .await
        .unwrap()
        .unwrap();
    push
}

#[tokio::test]
async fn manifests_that_stop_in_the_middle_do_not_fill_the_memory() {
    let registry = TestRegistry::start_with(&[("BERTH_MANIFESTS_MEMORY", "16MiB")]).await;
    let mut pushes = Vec::new();
    for _ in 0..6 {
        pushes.push(stopped(&registry, 4_000_000).await);
    }

    let answers = pushes.iter_mut().map(|push| async {
        let mut start = [0; 12];
        push.read_exact(&mut start).await.unwrap();
        String::from_utf8_lossy(&start).into_owned()
    });
    // 12 MiB hold three of them.
    let first = answers.collect::<FuturesUnordered<_>>().take(3).collect::<Vec<_>>();
    let answers = timeout(LIMIT, first).await.unwrap();

    assert_eq!(answers, ["HTTP/1.1 503"; 3]);
    registry.push_image("a", "v2", b"small ones are taken").await;
}
