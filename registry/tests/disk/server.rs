//! A server process on disks of its own, and a client that writes down what was acknowledged.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's tool stops where it fails")]

use crate::content::{bytes, sha256};
use crate::images::Promised;
use crate::serve::{Serve, address, program};
use reqwest::{Client, Method, Response, StatusCode};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) const REPOSITORY: &str = "team/app";

/// A running server and what it has acknowledged.
pub(crate) struct Disk {
    pub(crate) serve: Serve,
    pub(crate) url: String,
    pub(crate) client: Client,
    acknowledged: Vec<Vec<u8>>,
    pub(crate) promised: Promised,
    /// Where the data is, in the server's own view.
    data: PathBuf,
}

impl Disk {
    /// On a file system of its own with these options, which holds everything.
    pub(crate) fn small(data: &Path, options: &str) -> Self {
        let script = "mount -t tmpfs -o \"$1\" tmpfs \"$2\" && shift 2 && exec \"$@\"";
        let inner = program(data, &["serve"]);
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]);
        command.args([options, data.to_str().unwrap()]);
        command.arg(inner.get_program()).args(inner.get_args());
        for (name, value) in inner.get_envs() {
            command.env(name, value.unwrap());
        }
        Self::start(data, &mut command)
    }

    pub(crate) fn plain(data: &Path) -> Self {
        Self::start(data, &mut program(data, &["serve"]))
    }

    pub(crate) fn start(data: &Path, command: &mut Command) -> Self {
        Self::try_start(data, command).unwrap_or_else(|said| panic!("the server did not start:\n{said}"))
    }

    /// What it said, when it ends before it serves.
    pub(crate) fn try_start(data: &Path, command: &mut Command) -> Result<Self, String> {
        let mut serve = Serve::start(command);
        let Some(serving) = serve.says_before_it_ends("serving") else {
            // A program that is killed closes its output before its files, the database's lock among them.
            serve.ends();
            return Err(std::mem::take(&mut serve.said));
        };
        let url = format!("http://{}", address(&serving));
        Ok(Self {
            serve,
            url,
            client: Client::new(),
            acknowledged: Vec::new(),
            promised: Promised::default(),
            data: data.to_path_buf(),
        })
    }

    /// A path below the data folder, as this process can reach it.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        let inside = self.data.join(below);
        let root = format!("/proc/{}/root", self.serve.pid());
        Path::new(&root).join(inside.strip_prefix("/").unwrap())
    }

    /// Runs a program in the server's name space.
    pub(crate) fn inside(&self, arguments: &[&str]) {
        let pid = self.serve.pid().to_string();
        let mut command = Command::new("nsenter");
        let done = command
            .args(["--target", &pid, "--mount", "--"])
            .args(arguments)
            .status();
        assert!(done.unwrap().success(), "{arguments:?}");
    }

    pub(crate) async fn try_push(&self, content: &[u8]) -> reqwest::Result<Response> {
        let digest = sha256(content);
        let path = format!("{}/v2/{REPOSITORY}/blobs/uploads/?digest={digest}", self.url);
        self.client.post(path).body(content.to_vec()).send().await
    }

    /// Pushes a blob of this size; what is acknowledged is expected from now on.
    pub(crate) async fn push(&mut self, seed: u64, size: usize) -> StatusCode {
        let content = bytes(seed, size);
        let status = self.try_push(&content).await.unwrap().status();
        if status == StatusCode::CREATED {
            self.acknowledged.push(content);
        }
        status
    }

    pub(crate) async fn get(&self, content: &[u8]) -> Response {
        let path = format!("{}/v2/{REPOSITORY}/blobs/{}", self.url, sha256(content));
        self.client.request(Method::GET, path).send().await.unwrap()
    }

    pub(crate) async fn serves_what_it_acknowledged(&self) {
        assert!(!self.acknowledged.is_empty());
        for content in &self.acknowledged {
            let answer = self.get(content).await;
            assert_eq!(answer.status(), StatusCode::OK);
            assert!(answer.bytes().await.unwrap() == *content);
        }
    }

    /// `None` when there is no answer: the server has died.
    pub(crate) async fn push_or_die(&mut self, seed: u64, size: usize) -> Option<()> {
        let content = bytes(seed, size);
        let answer = self.try_push(&content).await.ok()?;
        assert_eq!(answer.status(), StatusCode::CREATED);
        self.acknowledged.push(content);
        Some(())
    }

    /// The same with few bytes, so that a row is most of it; `None` when there is no answer.
    pub(crate) async fn try_push_small(&mut self, seed: u64) -> Option<StatusCode> {
        let content = bytes(seed, 100);
        let status = self.try_push(&content).await.ok()?.status();
        if status == StatusCode::CREATED {
            self.acknowledged.push(content);
        }
        Some(status)
    }

    /// Kills the server behind a tracer, if it still lives.
    pub(crate) fn kill_what_it_runs(&self) {
        let tracer = self.serve.pid();
        let children = std::fs::read_to_string(format!("/proc/{tracer}/task/{tracer}/children"));
        for child in children.unwrap_or_default().split_whitespace() {
            drop(Command::new("sh").args(["-c", &format!("kill -KILL {child}")]).status());
        }
    }

    /// Expects from another server what this one has acknowledged.
    pub(crate) fn taking_over(self, next: Self) -> Self {
        let acknowledged = self.acknowledged;
        Self { acknowledged, ..next }
    }

    /// Another server on the same files, from which the same is expected, when this one has ended.
    pub(crate) fn followed_by(mut self, next: &mut Command) -> Self {
        self.serve.ends();
        let data = self.data.clone();
        self.taking_over(Self::start(&data, next))
    }

    pub(crate) fn acknowledged(&self) -> &[Vec<u8>] {
        &self.acknowledged
    }

    pub(crate) fn connect(&self) -> std::net::TcpStream {
        std::net::TcpStream::connect(self.url.trim_start_matches("http://")).unwrap()
    }

    /// Makes the server's calls go wrong until the value is dropped.
    pub(crate) fn tamper(&self, calls: &str, how: &str) -> Tampering {
        self.tamper_at(calls, how, &[])
    }

    /// The same for the calls that concern these files alone, when there are any.
    pub(crate) fn tamper_at(&self, calls: &str, how: &str, files: &[PathBuf]) -> Tampering {
        Tampering::begin(self.serve.pid(), (calls, how), files)
    }
}

/// A tracer at work; the server is as before when it has gone.
pub(crate) struct Tampering(Child);

impl Tampering {
    fn begin(pid: u32, (calls, how): (&str, &str), files: &[PathBuf]) -> Self {
        let mut command = Command::new("strace");
        command.args(["-f", "-p", &pid.to_string(), "-e", &format!("trace={calls}")]);
        command.args(["-e", &format!("inject={calls}:{how}"), "-o", "/dev/null"]);
        for file in files {
            command.arg("-P").arg(file);
        }
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let began = said.any(|line| line.contains("attached"));
        assert!(
            began,
            "strace did not begin: it must be installed, and the test be root"
        );
        // It must not block on what it says of new threads.
        std::thread::spawn(move || said.for_each(drop));
        Self(child)
    }
}

impl Drop for Tampering {
    fn drop(&mut self) {
        let stop = format!("kill -INT {}", self.0.id());
        drop(Command::new("sh").args(["-c", &stop]).status());
        // One whose process was killed may wait for its end for ever.
        let deadline = Instant::now() + Duration::from_secs(2);
        while Instant::now() < deadline && matches!(self.0.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
