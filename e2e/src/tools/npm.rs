//! Programs that the npm registry has.

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result};

use super::apt;
use crate::{cache::Cache, shell, shell::Log};

const INSTALL_LIMIT: Duration = Duration::from_mins(15);

/// Azurite 3.37 wants a newer Node than Debian's.
const AZURITE: &str = "azurite@3.34.0";

/// The script of Azurite's blob service, which `node` runs.
///
/// # Errors
/// When it, or Node, is not there and cannot be installed.
pub fn azurite(cache: &Cache, log: &Log) -> Result<PathBuf> {
    let folder = install(cache, AZURITE, log).context("get the emulator of Azure's Blob Storage")?;
    Ok(folder.join("node_modules/.bin/azurite-blob"))
}

/// The folder with a package and what it needs; nothing of it is installed elsewhere, and no script of it runs.
fn install(cache: &Cache, package: &str, log: &Log) -> Result<PathBuf> {
    apt::ensure(&apt::NPM, cache, log)?;
    cache.entry(&package.replace('@', "-"), |folder| {
        let mut npm = Command::new("npm");
        npm.args([
            "install",
            "--omit=optional",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
        ]);
        npm.arg("--prefix").arg(folder).arg(package);
        shell::run(&mut npm, log, INSTALL_LIMIT)
    })
}
