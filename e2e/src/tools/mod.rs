//! Every program that is not Berth's own. Each is found on the machine, or installed, or built into the cache; several
//! runs at once are safe; a tool that cannot be had is an error that says why.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::{cache::Cache, shell::Log};

pub mod apt;
pub mod clients;
pub mod conformance;
pub mod go;
pub mod kubernetes;
pub mod npm;
pub mod wheels;

const HELM: &str = "v3.22.0";
const VERSITYGW: &str = "v1.8.0";

/// Helm 3: the one in PATH, or one that is built once.
///
/// # Errors
/// When it is not there and cannot be built.
pub fn helm(cache: &Cache, log: &Log) -> Result<PathBuf> {
    if let Some(found) = go::found("helm", &["version", "--short"], "v3.") {
        return Ok(found);
    }
    go::install(cache, &format!("helm.sh/helm/v3/cmd/helm@{HELM}"), log).context("get helm")
}

/// `versitygw`, the second S3 server's program: two minutes of two idle cores the first time.
///
/// # Errors
/// When it cannot be built.
pub fn versitygw(cache: &Cache, log: &Log) -> Result<PathBuf> {
    let package = format!("github.com/versity/versitygw/cmd/versitygw@{VERSITYGW}");
    go::install(cache, &package, log).context("get the second S3 server")
}

/// Skopeo, the client that pushes and pulls.
///
/// # Errors
/// When it is not there and cannot be installed.
pub fn skopeo(cache: &Cache, log: &Log) -> Result<()> {
    apt::ensure(&[apt::SKOPEO], cache, log)
}
