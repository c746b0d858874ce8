//! A client of the Registry's Service: it pushes, pulls and compares, all the while, and keeps what went wrong and when.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use e2e::http::{Request, Response};
use serde_json::json;
use sha2::{Digest, Sha256};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const LAYER_BYTES: usize = 24_000;

/// How many clients, and how long each rests after an image.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) clients: usize,
    pub(crate) rest: Duration,
}

/// What one request came to.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) at: SystemTime,
    /// What was wrong with the answer, or that there was none.
    pub(crate) wrong: Option<String>,
}

/// Clients at work. They stop when this is dropped.
pub(crate) struct Clients {
    stop: Arc<AtomicBool>,
    asked: Arc<Mutex<Vec<Asked>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    /// Starts them, at the Service's address `HOST:PORT`.
    pub(crate) fn start(host: &str, load: Load) -> Self {
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let threads = (0..load.clients)
            .map(|number| {
                let mut one = One {
                    host: host.to_owned(),
                    number,
                    round: 0,
                    asked: Arc::clone(&asked),
                };
                let stop = Arc::clone(&stop);
                thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        // What went wrong has been written down; the next image is another try.
                        one.image().ok();
                        thread::sleep(load.rest);
                    }
                })
            })
            .collect();
        Self { stop, asked, threads }
    }

    /// Everything that was asked up to now.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        locked(&self.asked).clone()
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

fn locked(asked: &Mutex<Vec<Asked>>) -> MutexGuard<'_, Vec<Asked>> {
    asked.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One of the clients.
struct One {
    host: String,
    number: usize,
    round: u32,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// It was written down.
struct Wrong;

impl One {
    /// A whole image there and back. Each request has a connection of its own, so any pod may get any of them.
    fn image(&mut self) -> Result<(), Wrong> {
        self.round += 1;
        let repository = format!("team/app-{}", self.number);
        let layer = content(self.number, self.round, LAYER_BYTES);
        let config = format!("{{\"client\":{},\"round\":{}}}", self.number, self.round).into_bytes();
        self.upload_in_pieces(&repository, &layer)?;
        self.upload_at_once(&repository, &config)?;
        let manifest = manifest(&config, &layer);
        let by_tag = format!("/v2/{repository}/manifests/r{}", self.round % 20);
        self.ask(
            &Request::new("PUT", &self.at(&by_tag))
                .header("Content-Type", MANIFEST)
                .body(&manifest),
            201,
        )?;
        let by_digest = format!("/v2/{repository}/manifests/{}", digest(&manifest));
        self.gives(&by_digest, &manifest)?;
        self.ask(&Request::new("GET", &self.at(&by_tag)).header("Accept", MANIFEST), 200)?;
        self.ask(
            &Request::new("HEAD", &self.at(&by_digest)).header("Accept", MANIFEST),
            200,
        )?;
        self.gives(&format!("/v2/{repository}/blobs/{}", digest(&layer)), &layer)?;
        self.gives(&format!("/v2/{repository}/blobs/{}", digest(&config)), &config)?;
        self.ask(
            &Request::new("GET", &self.at(&format!("/v2/{repository}/tags/list?n=5"))),
            200,
        )?;
        Ok(())
    }

    fn upload_in_pieces(&self, repository: &str, content: &[u8]) -> Result<(), Wrong> {
        let (first, rest) = content.split_at(content.len() / 2);
        let begun = self.ask(
            &Request::new("POST", &self.at(&format!("/v2/{repository}/blobs/uploads/"))),
            202,
        )?;
        let there = self.location(&begun)?;
        let sent = self.ask(&Request::new("PATCH", &there).body(first), 202)?;
        let there = self.location(&sent)?;
        let separator = if there.contains('?') { '&' } else { '?' };
        let last = format!("{there}{separator}digest={}", digest(content));
        self.ask(&Request::new("PUT", &last).body(rest), 201).map(drop)
    }

    fn upload_at_once(&self, repository: &str, content: &[u8]) -> Result<(), Wrong> {
        let path = format!("/v2/{repository}/blobs/uploads/?digest={}", digest(content));
        self.ask(&Request::new("POST", &self.at(&path)).body(content), 201)
            .map(drop)
    }

    /// Reads it back and compares every byte.
    fn gives(&self, path: &str, content: &[u8]) -> Result<(), Wrong> {
        let url = self.at(path);
        let answer = ask_unjudged(&Request::new("GET", &url).header("Accept", MANIFEST));
        let judged = answer.and_then(|answer| {
            let answer = judged(answer, 200)?;
            if answer.body == content {
                Ok(answer)
            } else {
                Err("the body is not what was pushed".to_owned())
            }
        });
        self.written_down(path, judged).map(drop)
    }

    fn ask(&self, request: &Request<'_>, status: u16) -> Result<Response, Wrong> {
        let judged = ask_unjudged(request).and_then(|answer| judged(answer, status));
        self.written_down(&format!("{request:?}"), judged)
    }

    fn written_down(&self, what: &str, judged: Result<Response, String>) -> Result<Response, Wrong> {
        let what: String = what.chars().take(160).collect();
        let wrong = judged.as_ref().err().map(|wrong| format!("{wrong} ({what})"));
        locked(&self.asked).push(Asked { at: now(), wrong });
        judged.map_err(|_told| Wrong)
    }

    fn at(&self, path: &str) -> String {
        format!("http://{}{path}", self.host)
    }

    /// A Location may be a whole address; its host is ours anyway.
    fn location(&self, answer: &Response) -> Result<String, Wrong> {
        let location = answer.header("location").ok_or(Wrong)?;
        let path = location.split_once("://").map_or(location, |(_, rest)| {
            rest.find('/').map_or(rest, |slash| &rest[slash..])
        });
        Ok(self.at(path))
    }
}

fn ask_unjudged(request: &Request<'_>) -> Result<Response, String> {
    request.send().map_err(|failed| format!("{failed:#}"))
}

/// Compared with what the operator writes down.
#[expect(clippy::disallowed_methods, reason = "the cluster's clock is the machine's")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

fn judged(answer: Response, status: u16) -> Result<Response, String> {
    if answer.status == status {
        return Ok(answer);
    }
    let said: String = answer.text().chars().take(200).collect();
    Err(format!("{} in place of {status}: {said}", answer.status))
}

fn content(client: usize, round: u32, length: usize) -> Vec<u8> {
    let seed = Sha256::digest(format!("{client} {round}"));
    seed.iter().copied().cycle().take(length).collect()
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(content)))
}

fn manifest(config: &[u8], layer: &[u8]) -> Vec<u8> {
    let described =
        |kind: &str, content: &[u8]| json!({"mediaType": kind, "digest": digest(content), "size": content.len()});
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": described(CONFIG, config),
        "layers": [described(LAYER, layer)]});
    manifest.to_string().into_bytes()
}
