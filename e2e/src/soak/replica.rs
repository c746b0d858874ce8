//! One server of the soak: started, killed, stopped for a while, started again, with the same stores at the same ports.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::disk::Disk;
use crate::{
    http::Request,
    servers::{free_port, own_settings_only},
    shell::{self, Log},
    wait,
};

const START_LIMIT: Duration = Duration::from_mins(2);
const STOP_LIMIT: Duration = Duration::from_secs(40);
const COMMAND_LIMIT: Duration = Duration::from_mins(2);

/// A server, or the place of one that is down.
#[derive(Debug)]
pub(super) struct Replica {
    child: Option<Child>,
    program: PathBuf,
    settings: Vec<(String, String)>,
    ports: (u16, u16),
    log: Log,
}

impl Replica {
    /// The place of a server with these settings; it is not started.
    ///
    /// # Errors
    /// When no port is free.
    pub(super) fn new(program: PathBuf, settings: Vec<(String, String)>, log: Log) -> Result<Self> {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Ok(Self {
            child: None,
            program,
            settings,
            ports: (free_port(loopback)?, free_port(loopback)?),
            log,
        })
    }

    /// Where clients connect.
    pub(super) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.ports.0)
    }

    /// Where probes and metrics are.
    pub(super) fn admin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.1)
    }

    fn command(&self, disk: Option<&Disk>, more: &[(&str, String)]) -> Command {
        let plain = disk.map_or_else(|| Command::new(&self.program), |disk| disk.command(&self.program));
        let mut command = own_settings_only(plain);
        command
            .envs(self.settings.iter().map(|(variable, value)| (variable, value)))
            .envs(more.iter().map(|(variable, value)| (variable, value)))
            .env("BERTH_HTTP_LISTEN", self.host())
            .env("BERTH_ADMIN_LISTEN", format!("127.0.0.1:{}", self.ports.1))
            .env("RUST_BACKTRACE", "0");
        command
    }

    /// Runs another command of the program, with the server's settings.
    ///
    /// # Errors
    /// When it fails.
    pub(super) fn run(&self, disk: Option<&Disk>, arguments: &[&str]) -> Result<()> {
        let mut command = self.command(disk, &[]);
        shell::run(command.args(arguments), &self.log, COMMAND_LIMIT)
    }

    /// Starts the server, and waits until it is ready.
    ///
    /// # Errors
    /// When it ends, or is not ready within two minutes.
    pub(super) fn start(&mut self, disk: Option<&Disk>, more: &[(&str, String)]) -> Result<()> {
        let child = self
            .command(disk, more)
            .arg("serve")
            .stdin(Stdio::null())
            .stdout(self.log.handle()?)
            .stderr(self.log.handle()?)
            .spawn()
            .context("start berth-registry")?;
        let child = self.child.insert(child);
        let ready = format!("http://127.0.0.1:{}/readyz", self.ports.1);
        wait::until("berth-registry is ready", START_LIMIT, || {
            if let Some(status) = child.try_wait()? {
                bail!("berth-registry ended ({status}); its words are in the log");
            }
            let answer = Request::new("GET", &ready).send();
            Ok(answer.is_ok_and(|answer| answer.status == 200).then_some(()))
        })
    }

    /// kill -9. True when it was running.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn kill(&mut self) -> Result<bool> {
        let Some(mut child) = self.child.take() else {
            return Ok(false);
        };
        let ended = child.try_wait()?;
        child.kill()?;
        child.wait()?;
        Ok(ended.is_none())
    }

    /// Asks it to end, and waits; what it is serving may finish.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn stop(&mut self) -> Result<()> {
        match self.child.take() {
            Some(mut child) => shell::stop(&mut child, "TERM", STOP_LIMIT),
            None => Ok(()),
        }
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When `kill` cannot be started.
    pub(super) fn signal(&self, signal: &str) -> Result<()> {
        match &self.child {
            Some(child) => shell::send(signal, child.id()),
            None => Ok(()),
        }
    }

    /// How it ended, if nobody has ended it.
    pub(super) fn ended_by_itself(&mut self) -> Option<String> {
        let child = self.child.as_mut()?;
        let status = child.try_wait().ok().flatten()?;
        Some(format!("{} ended by itself: {status}", self.host()))
    }

    /// What it has written.
    pub(super) fn log(&self) -> &Log {
        &self.log
    }
}

/// The one who holds it may do to it what it likes.
pub(super) fn held(replica: &Mutex<Replica>) -> MutexGuard<'_, Replica> {
    replica.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Replica {
    fn drop(&mut self) {
        // A stopped process cannot hear.
        self.signal("CONT").ok();
        self.kill().ok();
    }
}
