//! The program in a process of its own.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's tool stops where it fails")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

pub(crate) const LIMIT: Duration = Duration::from_secs(30);

pub(crate) fn program(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_berth-registry"));
    command
        .args(arguments)
        .env("BERTH_DATA_DIR", data)
        .env("BERTH_HTTP_LISTEN", "127.0.0.1:0")
        .env("BERTH_ADMIN_LISTEN", "127.0.0.1:0");
    command
}

/// A `serve` that is under way, and what it says.
pub(crate) struct Serve {
    child: Child,
    /// Behind a lock, so that the whole may be shared.
    lines: Mutex<Receiver<String>>,
    pub(crate) said: String,
}

impl Drop for Serve {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Serve {
    pub(crate) fn start(command: &mut Command) -> Self {
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
            lines: Mutex::new(lines),
            said: String::new(),
        }
    }

    /// Waits for a line with these words.
    pub(crate) fn says(&mut self, words: &str) -> String {
        match self.says_before_it_ends(words) {
            Some(line) => line,
            None => panic!("`{words}` was not said, but:\n{}", self.said),
        }
    }

    /// The same; `None` when the program ends before.
    pub(crate) fn says_before_it_ends(&mut self, words: &str) -> Option<String> {
        while let Ok(line) = self.lines.get_mut().unwrap().recv_timeout(LIMIT) {
            self.record(&line);
            if line.contains(words) {
                return Some(line);
            }
        }
        None
    }

    fn record(&mut self, line: &str) {
        self.said.push_str(line);
        self.said.push('\n');
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.pid());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Waits until the program has closed its error output, and then for its end.
    pub(crate) fn ends(&mut self) -> ExitStatus {
        while let Ok(line) = self.lines.get_mut().unwrap().recv_timeout(LIMIT) {
            self.record(&line);
        }
        self.child.wait().unwrap()
    }
}

/// The client address in the line that says `serving`.
pub(crate) fn address(line: &str) -> String {
    let after = line.split("http=").nth(1).unwrap();
    after.split_whitespace().next().unwrap().to_owned()
}
