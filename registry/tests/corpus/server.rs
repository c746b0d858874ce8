//! The server as a process of its own, its log, and what it weighs.

#[expect(dead_code, reason = "shared with the tests in `it`, which need all of it")]
#[path = "../it/support/stores.rs"]
mod stores;

use crate::wire::{Request, Wire};
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const START_LIMIT: Duration = Duration::from_mins(1);
const STOP_LIMIT: Duration = Duration::from_mins(1);

/// What the rows count on.
const SETTINGS: [(&str, &str); 4] = [
    ("BERTH_DELETION_TAGS", "true"),
    ("BERTH_DELETION_MANIFESTS", "true"),
    ("BERTH_DELETION_BLOBS", "true"),
    ("BERTH_CATALOG_ENABLED", "true"),
];

/// How the server writes its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Json,
}

/// A server on stores of its own.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
    admin: String,
    log: PathBuf,
    _folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Server {
    pub(crate) fn start(format: Format) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let environment = runtime.unwrap().block_on(stores::environment(folder.path()));
        let log = folder.path().join("log");
        let program = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_berth-registry"));
            command
                .envs(environment.iter().cloned())
                .envs(SETTINGS)
                .stdout(Stdio::null());
            command
        };
        let migrated = program().args(["migrate", "up"]).status().unwrap();
        assert!(migrated.success(), "the database is migrated");
        let (address, admin) = (free_address(), free_address());
        let child = program()
            .args(["serve", "--listen", &address, "--admin-listen", &admin])
            .env("BERTH_LOG_FORMAT", if format == Format::Json { "json" } else { "text" })
            .stderr(File::create(&log).unwrap())
            .spawn();
        let server = Self {
            child: child.unwrap(),
            address,
            admin,
            log,
            _folder: folder,
        };
        let deadline = Instant::now() + START_LIMIT;
        while Wire::to(&server.address)
            .exchange(&Request::new("GET", "/v2/"))
            .is_err()
        {
            assert!(Instant::now() < deadline, "the server did not start: {}", server.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// What it keeps in memory, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kibibytes * 1024
    }

    /// How many series its metrics have.
    pub(crate) fn series(&self) -> usize {
        // The admin listener ends its answer by closing.
        let request = Request::new("GET", "/metrics").header("Connection", "close");
        let answer = Wire::to(&self.admin).exchange(&request).unwrap().unwrap();
        let text = String::from_utf8(answer.body).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).count()
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }

    /// Stops it as an orchestrator does, and gives its whole log; an end that is not clean is a surprise.
    pub(crate) fn stop(mut self) -> (Vec<u8>, Option<String>) {
        let terminate = format!("kill -TERM {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &terminate]).status().unwrap().success());
        let deadline = Instant::now() + STOP_LIMIT;
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() > deadline => return (self.log().into_bytes(), Some("it did not stop".into())),
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        let surprise = (!status.success()).then(|| format!("the server ended with {status}"));
        (std::fs::read(&self.log).unwrap(), surprise)
    }
}

fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}
