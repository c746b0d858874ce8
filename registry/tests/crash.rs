//! `kill -9` in the middle of pushes: what was acknowledged is there afterwards, bit for bit.
//!
//! The server runs as a process of its own, on the stores that the environment names (`it/support/stores.rs`).
//! Eight clients push images without pause; some time after the first images are in, drawn from a fixed seed, the
//! process is killed and started again, 20 times. Clients write down every blob and manifest whose 201 they saw.
#![expect(clippy::unwrap_used, reason = "a test's tool stops where it fails")]

#[expect(dead_code, reason = "shared with the tests in `it`, which need all of it")]
#[path = "it/support/content.rs"]
mod content;
#[expect(dead_code, reason = "shared with the tests in `it`, which need all of it")]
#[path = "it/support/stores.rs"]
mod stores;

use oci::{Digest, media_type};
use reqwest::{Client, Method, StatusCode};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const KILLS: u64 = 20;
const CLIENTS: u64 = 8;
const START_LIMIT: Duration = Duration::from_secs(30);
const PROGRESS_LIMIT: Duration = Duration::from_mins(1);

/// Everything that clients were told is stored.
#[derive(Default)]
struct Acknowledged {
    blobs: Vec<(String, Digest, Vec<u8>)>,
    manifests: Vec<(String, String, String)>,
}

struct Server {
    child: Child,
    url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

async fn start(environment: &[(String, String)], ports: (u16, u16)) -> Server {
    let program = env!("CARGO_BIN_EXE_berth-registry");
    let listen = [("--listen", ports.0), ("--admin-listen", ports.1)];
    let mut command = Command::new(program);
    command
        .arg("serve")
        .envs(environment.iter().cloned())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    for (flag, port) in listen {
        command.arg(flag).arg(format!("127.0.0.1:{port}"));
    }
    let server = Server {
        child: command.spawn().unwrap(),
        url: format!("http://127.0.0.1:{}", ports.0),
    };
    let deadline = Instant::now() + START_LIMIT;
    while reqwest::get(format!("{}/v2/", server.url)).await.is_err() {
        assert!(Instant::now() < deadline, "the server did not come back");
        sleep(Duration::from_millis(20)).await;
    }
    server
}

/// One image in requests of every kind; whatever fails is tried no further.
async fn push_image(client: &Client, url: &str, repository: &str, seed: u64, done: &Mutex<Acknowledged>) -> Option<()> {
    // Some layers are larger than one part of a multipart upload.
    let sizes = [
        100,
        70_000,
        if seed.is_multiple_of(3) {
            9 * 1024 * 1024
        } else {
            300_000
        },
    ];
    let mut layers = Vec::new();
    for (number, size) in sizes.into_iter().enumerate() {
        let blob = content::bytes(seed * 10 + number as u64, size);
        let digest = content::sha256(&blob);
        push_blob(client, url, repository, &blob, number).await?;
        done.lock().unwrap().blobs.push((repository.to_owned(), digest, blob));
        layers.push(digest);
    }
    let manifest = content::image(&layers[0], &layers[1..]);
    let tag = format!("t{seed}");
    let path = format!("{url}/v2/{repository}/manifests/{tag}");
    let put = client
        .put(path)
        .header("content-type", media_type::OCI_MANIFEST)
        .body(manifest.clone());
    if put.send().await.ok()?.status() == StatusCode::CREATED {
        done.lock()
            .unwrap()
            .manifests
            .push((repository.to_owned(), tag, manifest));
    }
    Some(())
}

async fn push_blob(client: &Client, url: &str, repository: &str, blob: &[u8], way: usize) -> Option<()> {
    let digest = content::sha256(blob);
    let uploads = format!("{url}/v2/{repository}/blobs/uploads/");
    if way == 0 {
        let answer = client
            .post(format!("{uploads}?digest={digest}"))
            .body(blob.to_vec())
            .send()
            .await
            .ok()?;
        return (answer.status() == StatusCode::CREATED).then_some(());
    }
    let opened = client.post(uploads).send().await.ok()?;
    let location = opened.headers().get("location")?.to_str().ok()?.to_owned();
    let half = blob.len() / way.min(2);
    for piece in [&blob[..half], &blob[half..]]
        .into_iter()
        .filter(|piece| !piece.is_empty())
    {
        let sent = client
            .request(Method::PATCH, format!("{url}{location}"))
            .body(piece.to_vec())
            .send()
            .await
            .ok()?;
        (sent.status() == StatusCode::ACCEPTED).then_some(())?;
    }
    let closed = client
        .put(format!("{url}{location}?digest={digest}"))
        .send()
        .await
        .ok()?;
    (closed.status() == StatusCode::CREATED).then_some(())
}

async fn verify(url: &str, acknowledged: &Acknowledged) {
    let client = Client::new();
    let Acknowledged { blobs, manifests } = acknowledged;
    for (repository, digest, blob) in blobs {
        let answer = client
            .get(format!("{url}/v2/{repository}/blobs/{digest}"))
            .send()
            .await
            .unwrap();
        assert_eq!(
            answer.status(),
            StatusCode::OK,
            "{repository}@{digest} was acknowledged"
        );
        assert!(
            answer.bytes().await.unwrap() == *blob,
            "{repository}@{digest} is not what was pushed"
        );
    }
    for (repository, tag, manifest) in manifests {
        let answer = client
            .get(format!("{url}/v2/{repository}/manifests/{tag}"))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{repository}:{tag} was acknowledged");
        assert_eq!(answer.text().await.unwrap(), *manifest);
    }
}

/// Waits until a round has stored some images; the pushes go on meanwhile.
async fn some_images_are_in(round: u64, done: &Mutex<Acknowledged>) {
    let wanted = 1 + usize::try_from(round % 3).unwrap();
    let deadline = Instant::now() + PROGRESS_LIMIT;
    while done.lock().unwrap().manifests.len() < wanted {
        assert!(Instant::now() < deadline, "the pushes of round {round} do not get on");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Pushes with all clients and kills the server in the middle.
async fn push_until_killed(server: &mut Server, round: u64, done: &Arc<Mutex<Acknowledged>>) {
    let over = Arc::new(AtomicBool::new(false));
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..CLIENTS {
        let (url, done, over) = (server.url.clone(), Arc::clone(done), Arc::clone(&over));
        clients.spawn(async move {
            let http = Client::new();
            for push in 0..1000 {
                let seed = (round * CLIENTS + client) * 1000 + push;
                if over.load(Ordering::SeqCst)
                    || push_image(&http, &url, &format!("r{client}"), seed, &done)
                        .await
                        .is_none()
                {
                    break;
                }
            }
        });
    }
    some_images_are_in(round, done).await;
    sleep(Duration::from_millis((round * 7919) % 150)).await;
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    over.store(true, Ordering::SeqCst);
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_kills_in_the_middle_of_eight_pushes_lose_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let environment = stores::environment(folder.path()).await;
    let migrated = Command::new(env!("CARGO_BIN_EXE_berth-registry"))
        .args(["migrate", "up"])
        .envs(environment.iter().cloned())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(migrated.success());
    let ports = (free_port(), free_port());
    let done = Arc::new(Mutex::new(Acknowledged::default()));
    let mut all = Acknowledged::default();
    let mut server = start(&environment, ports).await;
    for round in 0..KILLS {
        push_until_killed(&mut server, round, &done).await;
        server = start(&environment, ports).await;
        let round = std::mem::take(&mut *done.lock().unwrap());
        verify(&server.url, &round).await;
        all.blobs.extend(round.blobs);
        all.manifests.extend(round.manifests);
    }
    // Once more: a later crash must not have damaged what an earlier one left whole.
    verify(&server.url, &all).await;
    let (blobs, manifests) = (all.blobs.len(), all.manifests.len());
    println!("{KILLS} kills: {blobs} blobs and {manifests} manifests were acknowledged, all are there");
}
