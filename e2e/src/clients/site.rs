//! What one client works on: the registry, a relay that can cut it off, images of its own, a folder of its own.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::{
    access_log::{AccessLog, Answered},
    fixtures::{Fixtures, Layout},
    relay::{Direction, Relay},
    remote::{Manifest, Remote},
};
use crate::{shell, shell::Log, wait};

/// One command of a client, on a busy machine.
const LIMIT: Duration = Duration::from_mins(2);
/// A line of the registry's log may come a moment after the answer.
const LOG_LIMIT: Duration = Duration::from_secs(10);
/// In the large layer, and less than a megabyte: some clients take it in pieces of that size over several connections.
const CUT_AFTER_BYTES: usize = 800_000;
/// How often a person would start a command that failed.
const RUNS: usize = 3;

/// The registry under test.
#[derive(Debug)]
pub(crate) struct Target {
    /// `127.0.0.1:PORT`.
    pub(crate) host: String,
    /// What it writes.
    pub(crate) log: AccessLog,
    /// Another one, that speaks TLS.
    pub(crate) secure: Secure,
}

/// A registry that speaks TLS.
#[derive(Debug)]
pub(crate) struct Secure {
    /// `127.0.0.1:PORT`.
    pub(crate) host: String,
    /// The folder with the certificate `ca.crt` of who signed its own.
    pub(crate) certificates: PathBuf,
}

/// Where one client works.
#[derive(Debug)]
pub(super) struct Site<'a> {
    client: &'static str,
    target: &'a Target,
    relay: Relay,
    folder: PathBuf,
    log: Log,
    pub(super) images: Fixtures,
    pub(super) remote: Remote,
}

/// How a client got on after its connection was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// It asked for the rest with `Range`.
    Range,
    /// It tried again by itself.
    Retry,
    /// It failed; the same command succeeded when it was started again.
    Rerun,
}

impl<'a> Site<'a> {
    /// A place for `client` below `folder`; what it says goes to `log`.
    pub(super) fn new(client: &'static str, target: &'a Target, folder: &Path, log: Log) -> Result<Self> {
        let folder = folder.join(client);
        let images = folder.join("images");
        for made in [&images, &folder.join("home")] {
            std::fs::create_dir_all(made).with_context(|| format!("make {}", made.display()))?;
        }
        std::fs::write(folder.join("bind.sh"), BIND)?;
        Ok(Self {
            client,
            target,
            relay: Relay::before(&target.host)?,
            images: Fixtures::write(&images, client)?,
            remote: Remote::new(target.host.clone()),
            folder,
            log,
        })
    }

    /// A path in its folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// `HOST:PORT` of the registry.
    pub(super) fn host(&self) -> String {
        self.target.host.clone()
    }

    /// `HOST:PORT` of the relay before it.
    pub(super) fn relay(&self) -> String {
        self.relay.host()
    }

    /// The repository `name` of this client.
    pub(super) fn repository(&self, name: &str) -> String {
        format!("{}/{name}", self.client)
    }

    /// `HOST:PORT/CLIENT/NAME:TAG`, for `NAME:TAG`.
    pub(super) fn at(&self, name: &str) -> String {
        format!("{}/{}/{name}", self.host(), self.client)
    }

    /// As [`Site::at`], through the relay.
    pub(super) fn through_relay(&self, name: &str) -> String {
        format!("{}/{}/{name}", self.relay(), self.client)
    }

    /// The registry that speaks TLS.
    pub(super) fn secure(&self) -> &Secure {
        &self.target.secure
    }

    /// `HOST:PORT/CLIENT/NAME:TAG` there.
    pub(super) fn secure_at(&self, name: &str) -> String {
        format!("{}/{}/{name}", self.target.secure.host, self.client)
    }

    /// A program with a home of its own.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.folder)
            .env("HOME", self.path("home"))
            .env_remove("DOCKER_CONFIG")
            .env_remove("DOCKER_HOST")
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_RUNTIME_DIR");
        command
    }

    /// A program that has folders of its own in place of the system's `places`, for as long as it runs.
    pub(super) fn confined(&self, program: &str, places: &[&str]) -> Result<Command> {
        let mut command = self.command("unshare");
        command.args(["--mount", "sh", "bind.sh", program]);
        command.arg(places.len().to_string());
        for place in places {
            let own = self.path("places").join(place.trim_start_matches('/'));
            std::fs::create_dir_all(&own)?;
            command.arg(own).arg(place);
        }
        Ok(command)
    }

    /// Runs a command to its end.
    pub(super) fn run(&self, command: &mut Command) -> Result<()> {
        shell::run(command, &self.log, LIMIT).with_context(|| shell::last_lines(&self.log.tail(4), 4))
    }

    /// What a command prints.
    pub(super) fn read(&self, command: &mut Command) -> Result<String> {
        let said = shell::read_with_log(command, &self.log, LIMIT);
        let said = said.with_context(|| shell::last_lines(&self.log.tail(4), 4))?;
        self.log.note(said.trim_end())?;
        Ok(said)
    }

    /// Adds to the client's log.
    pub(super) fn note(&self, text: &str) -> Result<()> {
        self.log.note(text.trim_end())
    }

    /// Starts a server in namespaces of its own, which end with it.
    pub(super) fn daemon(&self, program: &Path) -> Command {
        let mut command = self.command("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        command.arg(program).stdin(Stdio::null());
        command
    }

    /// Starts it.
    pub(super) fn start(&self, mut daemon: Command) -> Result<Daemon> {
        self.log.note(&format!("starts {daemon:?}"))?;
        daemon.stdout(self.log.handle()?).stderr(self.log.handle()?);
        Ok(Daemon(daemon.spawn()?))
    }

    /// Checks that an image of this client is in the registry whole, with the layers of `layout`.
    pub(super) fn pushed(&self, (name, tag): (&str, &str), layout: &Layout) -> Result<Manifest> {
        let repository = self.repository(name);
        let manifest = self.remote.whole(&repository, tag)?;
        let layers = self.remote.diff_ids(&repository, &manifest)?;
        ensure!(
            layers == layout.diff_ids,
            "{repository}:{tag} has the layers {layers:?}"
        );
        Ok(manifest)
    }

    /// Checks that an index of this client is in the registry whole, for both kinds of processor.
    pub(super) fn index_pushed(&self, name: &str, tag: &str) -> Result<Manifest> {
        let index = self.remote.whole(&self.repository(name), tag)?;
        let entries = index.body["manifests"].as_array().into_iter().flatten();
        let kinds: Vec<&str> = entries
            .filter_map(|entry| entry["platform"]["architecture"].as_str())
            .collect();
        ensure!(
            ["amd64", "arm64"].iter().all(|kind| kinds.contains(kind)),
            "the index is for {kinds:?}"
        );
        Ok(index)
    }

    /// A place in the registry's log.
    pub(super) fn mark(&self) -> Result<usize> {
        Ok(self.target.log.answered()?.len())
    }

    /// What the registry answered to this client since `mark`.
    pub(super) fn since(&self, mark: usize) -> Result<Vec<Answered>> {
        let own = format!("/v2/{}/", self.client);
        let answered = self.target.log.answered()?.into_iter().skip(mark);
        Ok(answered.filter(|line| line.path.starts_with(&own)).collect())
    }

    /// Waits until the log since `mark` has `count` lines that `is` finds.
    pub(super) fn logged(&self, mark: usize, count: usize, what: &str, is: impl Fn(&Answered) -> bool) -> Result<()> {
        let what = format!("{count} × {what} in the registry's log");
        let seen = wait::until(&what, LOG_LIMIT, || {
            let found = self.since(mark)?.iter().filter(|line| is(line)).count();
            Ok((found >= count).then_some(()))
        });
        seen.with_context(|| {
            let lines = self.since(mark).unwrap_or_default().into_iter();
            let lines = lines.map(|line| format!("{} {} {}", line.method, line.path, line.status));
            lines.collect::<Vec<_>>().join("\n")
        })
    }

    /// Checks that the registry mounted `count` blobs into repository `name` since `mark`.
    pub(super) fn mounted(&self, mark: usize, name: &str, count: usize) -> Result<()> {
        // 201 without a body: the only other way to it is an upload in one request, which none of the clients uses.
        let start = format!("/v2/{}/blobs/uploads/", self.repository(name));
        self.logged(mark, count, "a mount", |line| {
            line.endpoint == "start_upload" && line.status == 201 && line.path == start
        })
    }

    /// Cuts off what `work` transfers, and starts it again while it fails, a few times at most.
    pub(super) fn cut(&self, direction: Direction, mut work: impl FnMut() -> Result<()>) -> Result<After> {
        let (mark, cuts) = (self.mark()?, self.relay.cuts());
        self.relay.cut_after(direction, CUT_AFTER_BYTES);
        let mut runs = 1;
        while let Err(error) = work() {
            self.log.note(&format!("run {runs} failed: {error:#}"))?;
            ensure!(runs < RUNS && self.relay.cuts() > cuts, "after {runs} runs: {error:#}");
            runs += 1;
        }
        ensure!(
            self.relay.cuts() == cuts + 1,
            "no connection was cut: the client sent or got too little"
        );
        let partial = self.since(mark)?.iter().any(|line| line.status == 206);
        Ok(match (partial, runs) {
            (true, _) => After::Range,
            (false, 1) => After::Retry,
            (false, _) => After::Rerun,
        })
    }
}

/// Binds each folder over its place, then becomes the program.
const BIND: &str = r#"set -eu
program=$1 count=$2; shift 2
while [ "$count" -gt 0 ]; do mkdir -p "$2"; mount --bind "$1" "$2"; shift 2; count=$((count - 1)); done
exec "$program" "$@""#;

/// A server of a client; it and everything in its namespaces ends when it is dropped.
#[derive(Debug)]
pub(super) struct Daemon(Child);

impl Daemon {
    /// Waits until `answers` succeeds; an ended server ends the wait.
    pub(super) fn ready(&mut self, what: &str, mut answers: impl FnMut() -> bool) -> Result<()> {
        wait::until(what, Duration::from_mins(1), || {
            ensure!(self.0.try_wait()?.is_none(), "it ended");
            Ok(answers().then_some(()))
        })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        shell::stop(&mut self.0, "KILL", Duration::from_secs(10)).ok();
    }
}
