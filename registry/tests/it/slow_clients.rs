//! Clients that dawdle, and those that they must not hold up.
#![expect(clippy::unwrap_used, reason = "a test's tool stops where it fails")]

use crate::support::serve::{LIMIT, Serve, address, program};
use crate::support::{TestRegistry, content, header};
use reqwest::StatusCode;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::{sleep, timeout};

const PING: &[u8] = b"GET /v2/ HTTP/1.1\r\nhost: h\r\n\r\n";

/// A connection that takes little at a time.
async fn connect(server: SocketAddr) -> tokio::net::TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    socket.connect(server).await.unwrap()
}

/// Reads until the server ends the connection, which it must.
async fn rest(stream: &mut tokio::net::TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    drop(timeout(LIMIT, stream.read_to_end(&mut rest)).await.unwrap());
    rest
}

/// Writes a byte now and then until the server ends the connection, which it must.
async fn trickle(stream: &mut tokio::net::TcpStream) {
    let writing = async {
        while stream.write_all(b"x").await.is_ok() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(LIMIT, writing).await.unwrap();
}

#[tokio::test]
async fn a_head_that_trickles_in_is_cut_off_first_or_later() {
    let registry = TestRegistry::start_with(&[("BERTH_HTTP_HEADER_TIMEOUT", "1s")]).await;
    let mut first = connect(registry.server().http).await;
    let mut later = connect(registry.server().http).await;
    later.write_all(PING).await.unwrap();
    let mut answer = [0; 12];
    later.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");

    for stream in [&mut first, &mut later] {
        stream.write_all(b"GET /v2/ HTTP/1.1\r\nx-slow: ").await.unwrap();
    }

    tokio::join!(trickle(&mut first), trickle(&mut later));
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_used_one_is_not() {
    let registry = TestRegistry::start_with(&[("BERTH_HTTP_IDLE_TIMEOUT", "1s")]).await;
    let mut used = connect(registry.server().http).await;
    let mut idle = connect(registry.server().http).await;
    idle.write_all(PING).await.unwrap();
    let begun = Instant::now();

    let answers = async {
        let mut answers = vec![0; 4096];
        for _ in 0..12 {
            used.write_all(PING).await.unwrap();
            assert!(used.read(&mut answers).await.unwrap() > 0, "still served");
            sleep(Duration::from_millis(200)).await;
        }
    };
    let (answer, ()) = tokio::join!(rest(&mut idle), answers);

    assert!(answer.starts_with(b"HTTP/1.1 200"));
    assert!(begun.elapsed() >= Duration::from_secs(1), "not at once");
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn a_reader_that_takes_nothing_gives_its_place_back() {
    let settings = [("BERTH_HTTP_STALL_TIMEOUT", "1s"), ("BERTH_HTTP_MAX_REQUESTS", "1")];
    let registry = TestRegistry::start_with(&settings).await;
    let digest = registry.push_blob("a", &content::bytes(1, 24_000_000)).await;
    let mut stuck = connect(registry.server().http).await;
    stuck.write_all(&get(&format!("/v2/a/blobs/{digest}"))).await.unwrap();
    stuck.readable().await.unwrap();

    let refused = registry.get("/v2/").await;

    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(header(&refused, "retry-after"), "2");
    let begun = Instant::now();
    while registry.get("/v2/").await.status() != StatusCode::OK {
        assert!(begun.elapsed() < LIMIT, "the place was not given back");
        sleep(Duration::from_millis(100)).await;
    }
    assert!(rest(&mut stuck).await.len() < 24_000_000, "the answer was cut off");
}

#[tokio::test]
async fn a_reader_that_is_slow_gets_everything() {
    let registry = TestRegistry::start_with(&[("BERTH_HTTP_STALL_TIMEOUT", "1s")]).await;
    let digest = registry.push_blob("a", &content::bytes(1, 12_000_000)).await;
    let mut slow = connect(registry.server().http).await;
    slow.write_all(&get(&format!("/v2/a/blobs/{digest}"))).await.unwrap();

    let (mut piece, mut read) = (vec![0; 32 * 1024], 0);
    for _ in 0..60 {
        read += slow.read(&mut piece).await.unwrap();
        sleep(Duration::from_millis(50)).await;
    }
    while read < 12_000_000 {
        let more = timeout(LIMIT, slow.read(&mut piece)).await.unwrap().unwrap();
        assert!(more > 0, "cut off after {read}");
        read += more;
    }
}

#[tokio::test]
async fn an_upload_that_stalls_is_told_and_its_session_stays() {
    let registry = TestRegistry::start_with(&[("BERTH_HTTP_STALL_TIMEOUT", "1s")]).await;
    let upload = registry.open_upload("a").await;
    let mut stalled = connect(registry.server().http).await;
    let head = format!("PATCH {upload} HTTP/1.1\r\nhost: h\r\ncontent-length: 100\r\n\r\nsome");
    stalled.write_all(head.as_bytes()).await.unwrap();

    let mut answer = [0; 12];
    timeout(LIMIT, stalled.read_exact(&mut answer)).await.unwrap().unwrap();

    assert_eq!(&answer, b"HTTP/1.1 408");
    assert_eq!(registry.get(&upload).await.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn clients_that_hold_all_the_memory_of_uploads_give_it_to_those_who_wait() {
    let registry = TestRegistry::start_on_a_bucket(&[("BERTH_UPLOADS_MEMORY", "128MiB")]).await;
    let mut slow = Vec::new();
    // A quarter is kept for beginnings: the rest holds twelve parts of 8 MiB.
    for _ in 0..12 {
        let upload = registry.open_upload("a").await;
        let mut stream = connect(registry.server().http).await;
        let head = format!("PATCH {upload} HTTP/1.1\r\nhost: h\r\ncontent-length: 8000000\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&content::bytes(1, 400_000)).await.unwrap();
        slow.push(stream);
    }
    // Nothing tells that the server has read them.
    sleep(Duration::from_secs(1)).await;

    let layer = content::bytes(2, 3_000_000);
    let pushed = timeout(Duration::from_secs(20), registry.push_blob("a", &layer)).await;

    assert!(pushed.is_ok(), "it waits for clients that send nothing");
    let cut = futures::future::select_all(slow.iter_mut().map(|stream| Box::pin(rest(stream))));
    let (answer, ..) = timeout(LIMIT, cut).await.unwrap();
    assert!(
        answer.starts_with(b"HTTP/1.1 503"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    assert!(String::from_utf8_lossy(&answer).contains("retry-after"));
}

/// With the server in another process: half of the descriptors are its own.
#[tokio::test]
async fn hundreds_of_slow_clients_hold_up_nobody() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Serve::start(&mut program(data.path(), &["serve"]));
    let at = address(&server.says("serving"));
    let client = reqwest::Client::new();
    let upload = client.post(format!("http://{at}/v2/a/blobs/uploads/")).send();
    let upload = header(&upload.await.unwrap(), "location");
    let heads = [
        String::new(),
        "GET /v2/ HTTP".to_owned(),
        "PRI * HTTP/2.0\r\n\r\n".to_owned(),
        format!("PATCH {upload} HTTP/1.1\r\nhost: h\r\ncontent-length: 1000000\r\n\r\nx"),
    ];
    let slow: Vec<TcpStream> = (0..400)
        .map(|number| {
            let mut stream = TcpStream::connect(&at).unwrap();
            stream.write_all(heads[number % heads.len()].as_bytes()).unwrap();
            stream
        })
        .collect();

    for _ in 0..20 {
        let begun = Instant::now();
        let answer = client.get(format!("http://{at}/v2/")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
    drop(slow);
}

#[test]
fn a_server_without_descriptors_waits_and_recovers() {
    let data = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new("sh");
    command
        .args([
            "-c",
            "ulimit -n 64; exec \"$0\" serve",
            env!("CARGO_BIN_EXE_berth-registry"),
        ])
        .env("BERTH_DATA_DIR", data.path())
        .env("BERTH_HTTP_LISTEN", "127.0.0.1:0")
        .env("BERTH_ADMIN_LISTEN", "127.0.0.1:0");
    let mut server = Serve::start(&mut command);
    let at = address(&server.says("serving"));
    let crowd: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(&at).unwrap()).collect();
    server.says("a connection was not accepted");

    let mut waits = TcpStream::connect(&at).unwrap();
    waits.write_all(PING).unwrap();
    drop(crowd);

    waits.set_read_timeout(Some(LIMIT)).unwrap();
    let mut answer = [0; 12];
    waits.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    server.signal("TERM");
    assert_eq!(server.ends().code(), Some(0), "{}", server.said);
}
