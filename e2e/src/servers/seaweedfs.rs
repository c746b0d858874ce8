//! An S3 server with one empty bucket, for as long as the value lives.

use std::{
    fs,
    net::{IpAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::json;
use tempfile::TempDir;

use crate::{cache::Cache, http::Request, shell, shell::Log, tools::wheels, wait};

const START_LIMIT: Duration = Duration::from_mins(1);
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// Every port is used a second time, this much higher, for gRPC.
const GRPC: u16 = 10_000;

/// A running server.
#[derive(Debug)]
pub struct SeaweedFs {
    child: Child,
    _folder: TempDir,
    address: IpAddr,
    ports: Ports,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    master: u16,
    volume: u16,
    filer: u16,
    s3: u16,
}

impl SeaweedFs {
    /// The bucket that is there.
    pub const BUCKET: &str = "berth";
    /// The key that may do everything.
    pub const ACCESS_KEY_ID: &str = "test";
    /// Its secret.
    pub const SECRET_ACCESS_KEY: &str = "testsecret";

    /// Starts a server at free ports of `address`.
    ///
    /// # Errors
    /// When the program cannot be had or the server does not serve within a minute.
    pub fn start(cache: &Cache, address: IpAddr, log: &Log) -> Result<Self> {
        let weed = wheels::seaweedfs(cache, log)?;
        let folder = tempfile::Builder::new().prefix("berth-s3-").tempdir()?;
        let ports = free_ports(address)?;
        let child = server(&weed, folder.path(), address, ports)?
            .stdin(Stdio::null())
            .stdout(log.handle()?)
            .stderr(log.handle()?)
            .spawn()
            .context("start the S3 server")?;
        let mut started = Self {
            child,
            _folder: folder,
            address,
            ports,
        };
        started.wait_until_ready()?;
        Ok(started)
    }

    /// Where its S3 API is.
    pub fn endpoint(&self) -> String {
        format!("http://{}:{}", self.address, self.ports.s3)
    }

    /// Where the files below the buckets are: no signature is asked for there.
    pub fn files(&self) -> String {
        format!("http://{}:{}", self.address, self.ports.filer)
    }

    /// It serves when it refuses a stranger and has the bucket.
    fn wait_until_ready(&mut self) -> Result<()> {
        let (s3, filer) = (self.endpoint(), self.files());
        wait::until("the S3 server serves", START_LIMIT, || {
            if let Some(status) = self.child.try_wait()? {
                bail!("the S3 server ended ({status}); its words are in the log");
            }
            let refuses = Request::new("GET", &s3).send().is_ok_and(|answer| answer.status == 403);
            Ok((refuses && has_bucket(&filer)).then_some(()))
        })
    }
}

impl Drop for SeaweedFs {
    fn drop(&mut self) {
        shell::stop(&mut self.child, "KILL", STOP_LIMIT).ok();
    }
}

/// A bucket is a folder of the file server below; making it there needs no signed request.
fn has_bucket(filer: &str) -> bool {
    let folder = format!("{filer}/buckets/{}/", SeaweedFs::BUCKET);
    Request::new("POST", &folder)
        .send()
        .is_ok_and(|answer| (200..300).contains(&answer.status))
}

fn server(weed: &Path, folder: &Path, address: IpAddr, ports: Ports) -> Result<Command> {
    let accounts = folder.join("s3.json");
    let key = json!({"accessKey": SeaweedFs::ACCESS_KEY_ID, "secretKey": SeaweedFs::SECRET_ACCESS_KEY});
    let actions = ["Admin", "Read", "Write", "List", "Tagging"];
    let identity = json!({"name": "test", "credentials": [key], "actions": actions});
    fs::write(&accounts, json!({"identities": [identity]}).to_string())?;
    let store = folder.join("store");
    fs::create_dir(&store)?;
    let mut command = Command::new(weed);
    command
        .current_dir(folder)
        .args(["-logtostderr=true", "server", "-filer", "-s3", "-volume.max=0"]);
    command.args(["-master.volumeSizeLimitMB=64", "-master.telemetry=false"]);
    // These two would listen at ports of their own.
    command.args(["-s3.port.iceberg=0", "-s3.port.lance=0"]);
    command.args([
        format!("-dir={}", store.display()),
        format!("-s3.config={}", accounts.display()),
    ]);
    command.args([format!("-ip={address}"), format!("-ip.bind={address}")]);
    command.args([
        format!("-master.port={}", ports.master),
        format!("-volume.port={}", ports.volume),
    ]);
    command.args([format!("-filer.port={}", ports.filer), format!("-s3.port={}", ports.s3)]);
    Ok(command)
}

/// Four neighbours that are free, and free again 10000 higher.
fn free_ports(address: IpAddr) -> Result<Ports> {
    let free = |port: u16| TcpListener::bind((address, port)).is_ok();
    // Runs at the same time start looking at different places.
    let start = 20_000 + u16::try_from(std::process::id() % 1_000).unwrap_or(0) * 8;
    let first = (start..30_000)
        .step_by(4)
        .find(|first| (*first..first + 4).all(|port| free(port) && free(port + GRPC)));
    let first = first.with_context(|| format!("no four free ports at {address}"))?;
    Ok(Ports {
        master: first,
        volume: first + 1,
        filer: first + 2,
        s3: first + 3,
    })
}
