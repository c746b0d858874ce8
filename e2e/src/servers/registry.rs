//! This tree's berth-registry as a process of its own, for as long as the value lives.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::free_port;
use crate::{http::Request, shell, shell::Log, wait};

const START_LIMIT: Duration = Duration::from_mins(1);
const MIGRATION_LIMIT: Duration = Duration::from_mins(2);
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// A running registry.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    folder: TempDir,
    port: u16,
    admin_port: u16,
}

impl Registry {
    /// Starts `program` with `settings` (`BERTH_…` variables) at free ports of 127.0.0.1; a PostgreSQL database is
    /// migrated first. Without settings it is SQLite and files in a folder that goes with the value.
    ///
    /// # Errors
    /// When the database cannot be migrated, or the registry is not ready within a minute.
    pub fn start(program: &Path, settings: &[(&str, String)], log: &Log) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("berth-registry-").tempdir()?;
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let (port, admin_port) = (free_port(loopback)?, free_port(loopback)?);
        let command = |arguments: &[&str]| {
            let mut command = own_settings_only(Command::new(program));
            command
                .args(arguments)
                .env("BERTH_DATA_DIR", folder.path())
                .env("BERTH_HTTP_LISTEN", format!("127.0.0.1:{port}"))
                .env("BERTH_ADMIN_LISTEN", format!("127.0.0.1:{admin_port}"))
                .env("RUST_BACKTRACE", "0")
                .envs(settings.iter().map(|(variable, value)| (variable, value)));
            command
        };
        if settings.iter().any(|(variable, _)| *variable == "BERTH_DATABASE_URL") {
            shell::run(&mut command(&["migrate", "up"]), log, MIGRATION_LIMIT)?;
        }
        let child = command(&["serve"])
            .stdin(Stdio::null())
            .stdout(log.handle()?)
            .stderr(log.handle()?)
            .spawn()
            .context("start berth-registry")?;
        let mut started = Self {
            child,
            folder,
            port,
            admin_port,
        };
        started.wait_until_ready()?;
        Ok(started)
    }

    /// Where clients connect: `127.0.0.1:port`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where probes and metrics are.
    pub fn admin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.admin_port)
    }

    /// Its data folder.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let ready = format!("{}/readyz", self.admin_url());
        wait::until("berth-registry is ready", START_LIMIT, || {
            if let Some(status) = self.child.try_wait()? {
                bail!("berth-registry ended ({status}); its words are in the log");
            }
            let ready = Request::new("GET", &ready).send();
            Ok(ready.is_ok_and(|answer| answer.status == 200).then_some(()))
        })
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        shell::stop(&mut self.child, "TERM", STOP_LIMIT).ok();
    }
}

/// `command` without the settings of the caller's shell.
pub(crate) fn own_settings_only(mut command: Command) -> Command {
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("BERTH_") {
            command.env_remove(variable);
        }
    }
    command
}
