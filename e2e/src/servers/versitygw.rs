//! A second S3 server, of other make, with one empty bucket, for as long as the value lives.

use std::{
    fs,
    net::IpAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::free_port;
use crate::{cache::Cache, http::Request, shell, shell::Log, tools, wait};

const START_LIMIT: Duration = Duration::from_mins(1);
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// A running server.
#[derive(Debug)]
pub struct VersityGw {
    child: Child,
    _folder: TempDir,
    endpoint: String,
}

impl VersityGw {
    /// The bucket that is there.
    pub const BUCKET: &str = "berth";
    /// The key that may do everything.
    pub const ACCESS_KEY_ID: &str = "test";
    /// Its secret.
    pub const SECRET_ACCESS_KEY: &str = "testsecret";

    /// Starts a server at a free port of `address`.
    ///
    /// # Errors
    /// When the program cannot be had or the server does not serve within a minute.
    pub fn start(cache: &Cache, address: IpAddr, log: &Log) -> Result<Self> {
        let program = tools::versitygw(cache, log)?;
        let folder = tempfile::Builder::new().prefix("berth-vgw-").tempdir()?;
        // Neither path may begin with the other.
        let (files, attributes) = (folder.path().join("files"), folder.path().join("attributes"));
        // A bucket is a folder.
        fs::create_dir_all(files.join(Self::BUCKET))?;
        fs::create_dir(&attributes)?;
        let place = format!("{address}:{}", free_port(address)?);
        let child = Command::new(program)
            .env("ROOT_ACCESS_KEY", Self::ACCESS_KEY_ID)
            .env("ROOT_SECRET_KEY", Self::SECRET_ACCESS_KEY)
            .args(["--port", &place, "--quiet", "posix", "--sidecar"])
            .args([attributes, files])
            .stdin(Stdio::null())
            .stdout(log.handle()?)
            .stderr(log.handle()?)
            .spawn()
            .context("start the second S3 server")?;
        let mut started = Self {
            child,
            _folder: folder,
            endpoint: format!("http://{place}"),
        };
        started.wait_until_ready()?;
        Ok(started)
    }

    /// Where its S3 API is.
    pub fn endpoint(&self) -> String {
        self.endpoint.clone()
    }

    /// It serves when it refuses a stranger.
    fn wait_until_ready(&mut self) -> Result<()> {
        let Self { child, endpoint, .. } = self;
        wait::until("the second S3 server serves", START_LIMIT, || {
            if let Some(status) = child.try_wait()? {
                bail!("the second S3 server ended ({status}); its words are in the log");
            }
            let refuses = Request::new("GET", endpoint)
                .send()
                .is_ok_and(|answer| answer.status == 403);
            Ok(refuses.then_some(()))
        })
    }
}

impl Drop for VersityGw {
    fn drop(&mut self) {
        shell::stop(&mut self.child, "KILL", STOP_LIMIT).ok();
    }
}
