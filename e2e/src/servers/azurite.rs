//! The emulator of Azure's Blob Storage with one empty container, for as long as the value lives.

use std::{
    net::IpAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::free_port;
use crate::{cache::Cache, http::Request, shell, shell::Log, tools::npm, wait};

/// Node reads many files first.
const START_LIMIT: Duration = Duration::from_mins(2);
const STOP_LIMIT: Duration = Duration::from_secs(20);
const VERSION: &str = "2021-08-06";

/// A running emulator.
#[derive(Debug)]
pub struct Azurite {
    child: Child,
    endpoint: String,
}

impl Azurite {
    /// The account that every emulator has.
    pub const ACCOUNT: &str = "devstoreaccount1";
    /// Its key, the same for every emulator: Azure's documentation prints it.
    pub const ACCESS_KEY: &str =
        "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
    /// The container that is there.
    pub const CONTAINER: &str = "berth";

    /// Starts an emulator at a free port of `address`; what is stored is in its memory.
    ///
    /// # Errors
    /// When the program cannot be had or does not serve within two minutes.
    pub fn start(cache: &Cache, address: IpAddr, log: &Log) -> Result<Self> {
        let script = npm::azurite(cache, log)?;
        let port = free_port(address)?;
        let child = Command::new("node")
            .arg(script)
            .args(["--blobHost", &address.to_string(), "--blobPort", &port.to_string()])
            // It must talk to nobody else.
            .args(["--silent", "--inMemoryPersistence", "--disableTelemetry"])
            .stdin(Stdio::null())
            .stdout(log.handle()?)
            .stderr(log.handle()?)
            .spawn()
            .context("start the emulator of Azure's Blob Storage")?;
        let mut started = Self {
            child,
            endpoint: format!("http://{address}:{port}/{}", Self::ACCOUNT),
        };
        started.wait_until_ready()?;
        started.make_container()?;
        Ok(started)
    }

    /// Where the account is.
    pub fn endpoint(&self) -> String {
        self.endpoint.clone()
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let Self { child, endpoint } = self;
        wait::until("the emulator of Azure serves", START_LIMIT, || {
            if let Some(status) = child.try_wait()? {
                bail!("the emulator of Azure ended ({status}); its words are in the log");
            }
            Ok(Request::new("GET", endpoint).send().is_ok().then_some(()))
        })
    }

    /// Signed as Azure's "Shared Key" wants it: the lines of headers that are not sent are empty.
    fn make_container(&self) -> Result<()> {
        let greeting = Request::new("GET", &self.endpoint).send()?;
        let date = greeting.header("date").context("the emulator does not tell its time")?;
        let (account, container) = (Self::ACCOUNT, Self::CONTAINER);
        let text = format!(
            "PUT{}x-ms-date:{date}\nx-ms-version:{VERSION}\n/{account}/{account}/{container}\nrestype:container",
            "\n".repeat(12)
        );
        let mac = Hmac::<Sha256>::new_from_slice(&BASE64_STANDARD.decode(Self::ACCESS_KEY)?)?;
        let signature = BASE64_STANDARD.encode(mac.chain_update(text).finalize().into_bytes());
        Request::new("PUT", &format!("{}/{container}?restype=container", self.endpoint))
            .header("x-ms-date", date)
            .header("x-ms-version", VERSION)
            .header("Authorization", format!("SharedKey {account}:{signature}"))
            .send()?
            .expect_status(201)
            .map(drop)
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        shell::stop(&mut self.child, "KILL", STOP_LIMIT).ok();
    }
}
