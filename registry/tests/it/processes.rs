//! Servers as processes: who owns the files, and how they end.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's tool stops where it fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

fn program(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_berth-registry"));
    command
        .args(arguments)
        .env("BERTH_DATA_DIR", data)
        .env("BERTH_HTTP_LISTEN", "127.0.0.1:0")
        .env("BERTH_ADMIN_LISTEN", "127.0.0.1:0");
    command
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A `serve` that is under way, and what it says.
struct Serve {
    child: Child,
    lines: Receiver<String>,
    said: String,
}

impl Drop for Serve {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Serve {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let errors = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            errors
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        Self {
            child,
            lines,
            said: String::new(),
        }
    }

    /// Waits for a line with these words.
    fn says(&mut self, words: &str) -> String {
        loop {
            let Ok(line) = self.lines.recv_timeout(LIMIT) else {
                panic!("`{words}` was not said, but:\n{}", self.said);
            };
            self.record(&line);
            if line.contains(words) {
                return line;
            }
        }
    }

    fn record(&mut self, line: &str) {
        self.said.push_str(line);
        self.said.push('\n');
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Waits until the program has closed its error output, and then for its end.
    fn ends(&mut self) -> ExitStatus {
        while let Ok(line) = self.lines.recv_timeout(LIMIT) {
            self.record(&line);
        }
        self.child.wait().unwrap()
    }
}

/// The client address in the line that says `serving`.
fn address(line: &str) -> String {
    let after = line.split("http=").nth(1).unwrap();
    after.split_whitespace().next().unwrap().to_owned()
}

#[test]
fn a_second_server_on_the_same_files_is_refused_until_the_first_has_stopped() {
    let data = tempfile::tempdir().unwrap();
    let mut first = Serve::start(&mut program(data.path(), &["serve"]));
    first.says("serving");

    let second = program(data.path(), &["serve"]).output().unwrap();
    let migration = program(data.path(), &["migrate", "up"]).output().unwrap();

    assert_eq!(second.status.code(), Some(1));
    for words in [
        "another server uses the database",
        "berth.sqlite3.lock is locked",
        "stop that server",
        "PostgreSQL",
    ] {
        assert!(told(&second).contains(words), "{}", told(&second));
    }
    assert_eq!(migration.status.code(), Some(0), "{}", told(&migration));
    first.signal("TERM");
    assert_eq!(first.ends().code(), Some(0), "{}", first.said);
    let mut third = Serve::start(&mut program(data.path(), &["serve"]));
    third.says("serving");
    third.signal("INT");
    assert_eq!(third.ends().code(), Some(0), "{}", third.said);
}

#[test]
fn a_signal_during_the_start_ends_it() {
    let data = tempfile::tempdir().unwrap();
    let silent_database = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!(
        "postgres://u@{}/db?sslmode=disable",
        silent_database.local_addr().unwrap()
    );
    let mut server = Serve::start(&mut program(data.path(), &["serve", "--database-url", &url]));
    let _connection = silent_database.accept().unwrap();

    server.signal("TERM");

    let status = server.ends();
    assert_eq!(status.code(), Some(0), "{}", server.said);
    assert!(
        server.said.contains("stopped before the start was complete"),
        "{}",
        server.said
    );
}

#[test]
fn a_second_signal_does_not_wait_for_requests_under_way() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Serve::start(&mut program(data.path(), &["serve", "--drain-timeout", "24h"]));
    let mut client = TcpStream::connect(address(&server.says("serving"))).unwrap();
    let digest = format!("sha256:{}", "0".repeat(64));
    let head = format!(
        "POST /v2/a/blobs/uploads/?digest={digest} HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\
         expect: 100-continue\r\n\r\n"
    );
    client.write_all(head.as_bytes()).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    let mut answer = [0; 12];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100", "the body is waited for");

    server.signal("TERM");
    server.says("stopping");
    server.signal("TERM");

    let status = server.ends();
    assert_eq!(status.code(), Some(1), "{}", server.said);
    assert!(server.said.contains("a second signal"), "{}", server.said);
}

#[test]
fn every_cause_of_an_error_is_told_once() {
    let data = tempfile::tempdir().unwrap();
    std::fs::create_dir(data.path().join("berth.sqlite3")).unwrap();

    for command in [&["serve"][..], &["migrate", "up"], &["migrate", "status"]] {
        let output = program(data.path(), command).output().unwrap();

        let told = told(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert_eq!(told.matches("unable to open database file").count(), 1, "{told}");
    }
}
