//! HTTP/2 without TLS, and clients that abuse it.
#![expect(clippy::unwrap_used, reason = "a test's tool stops where it fails")]

use crate::support::serve::LIMIT;
use crate::support::{TestRegistry, content};
use futures::{StreamExt, stream};
use reqwest::{Body, Client, StatusCode, Version};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;

const GOAWAY: u8 = 7;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;

fn http2() -> Client {
    Client::builder().http2_prior_knowledge().build().unwrap()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// HPACK without its tables: GET over http, host `h`.
fn request(stream: u32, path: &str) -> Vec<u8> {
    let path_length = u8::try_from(path.len()).unwrap();
    assert!(path_length < 127, "one byte of length");
    let block = [&[0x82, 0x86, 0x01, 1, b'h', 0x04, path_length][..], path.as_bytes()].concat();
    frame(HEADERS, 0x5, stream, &block)
}

async fn connect(server: SocketAddr, settings: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(server).await.unwrap();
    let preface = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(SETTINGS, 0, 0, settings),
    ]
    .concat();
    stream.write_all(&preface).await.unwrap();
    stream
}

/// The kinds of the frames that come until the server ends the connection, which it must.
async fn kinds_until_the_end(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    drop(timeout(LIMIT, stream.read_to_end(&mut bytes)).await.unwrap());
    let (mut kinds, mut rest) = (Vec::new(), &bytes[..]);
    while let Some((head, behind)) = rest.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        kinds.push(head[3]);
        rest = behind.get(length..).unwrap_or_default();
    }
    kinds
}

#[tokio::test]
async fn a_push_and_a_pull_go_over_http2_without_tls() {
    let registry = TestRegistry::start().await;
    let (client, blob) = (http2(), content::bytes(1, 5_000_000));
    let digest = content::sha256(&blob);

    let push = registry.url(&format!("/v2/a/blobs/uploads/?digest={digest}"));
    let pushed = client.post(push).body(blob.clone()).send().await.unwrap();
    let pull = registry.url(&format!("/v2/a/blobs/{digest}"));
    let pulled = client.get(pull).send().await.unwrap();

    assert_eq!(
        (pushed.status(), pushed.version()),
        (StatusCode::CREATED, Version::HTTP_2)
    );
    assert_eq!(pulled.version(), Version::HTTP_2);
    assert!(pulled.bytes().await.unwrap() == blob, "the same bytes");
}

#[tokio::test]
async fn a_stopping_server_lets_a_push_over_http2_finish() {
    let registry = TestRegistry::start().await;
    let upload = registry.open_upload("a").await;
    let (begun, half_way) = oneshot::channel();
    let (go_on, told) = oneshot::channel::<()>();
    let body = stream::once(async { Ok::<_, std::io::Error>("one ") }).chain(stream::once(async move {
        begun.send(()).unwrap();
        told.await.unwrap();
        Ok("two")
    }));
    let finish = registry.url(&format!("{upload}?digest={}", content::sha256(b"one two")));
    let push = http2().put(finish).body(Body::wrap_stream(body.boxed())).send();
    let admin = registry.admin_url("/readyz");
    let stopping = async {
        half_way.await.unwrap();
        registry.server().stop();
        while reqwest::get(&admin).await.unwrap().status() != StatusCode::SERVICE_UNAVAILABLE {
            tokio::task::yield_now().await;
        }
        go_on.send(()).unwrap();
    };

    let (answer, ()) = tokio::join!(push, stopping);

    assert_eq!(answer.unwrap().status(), StatusCode::CREATED);
    registry.stop().await;
}

#[tokio::test]
async fn a_flood_of_resets_ends_its_connection_and_no_other() {
    let registry = TestRegistry::start().await;
    let mut flood = connect(registry.server().http, &[]).await;
    let resets: Vec<u8> = (0..3000)
        .flat_map(|number| {
            let stream = 2 * number + 1;
            [
                request(stream, "/v2/"),
                frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()),
            ]
            .concat()
        })
        .collect();

    // The server may be gone before everything is written.
    drop(flood.write_all(&resets).await);

    assert!(kinds_until_the_end(flood).await.contains(&GOAWAY));
    assert_eq!(registry.get("/v2/").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_client_that_opens_no_window_is_let_go() {
    let registry = TestRegistry::start_with(&[("BERTH_HTTP_STALL_TIMEOUT", "1s")]).await;
    let digest = registry.push_blob("a", &content::bytes(1, 1_000_000)).await;
    let no_window = [&4_u16.to_be_bytes()[..], &0_u32.to_be_bytes()].concat();
    let mut stuck = connect(registry.server().http, &no_window).await;

    stuck
        .write_all(&request(1, &format!("/v2/a/blobs/{digest}")))
        .await
        .unwrap();

    assert!(
        kinds_until_the_end(stuck).await.contains(&HEADERS),
        "answered, and then ended"
    );
}

#[tokio::test]
async fn an_idle_client_is_told_to_go_away() {
    // It does not answer the ping that goes before the end: so much longer is it waited for.
    let settings = [("BERTH_HTTP_IDLE_TIMEOUT", "1s"), ("BERTH_HTTP_HEADER_TIMEOUT", "1s")];
    let registry = TestRegistry::start_with(&settings).await;
    let mut idle = connect(registry.server().http, &[]).await;

    idle.write_all(&request(1, "/v2/")).await.unwrap();

    assert!(kinds_until_the_end(idle).await.contains(&GOAWAY));
}
