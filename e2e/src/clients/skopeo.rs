//! Skopeo: an independent client of registries.

use std::{fs, process::Command, time::Duration};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::{image::Archive, shell, shell::Log};

const LIMIT: Duration = Duration::from_mins(2);

/// Pushes an image to `to` (`HOST:PORT/NAME:TAG`) over plain HTTP; `skopeo` is the command that starts skopeo.
///
/// # Errors
/// What skopeo says; all of it is in `log`.
pub fn push(mut skopeo: Command, image: &Archive, to: &str, log: &Log) -> Result<()> {
    skopeo.args(["--insecure-policy", "copy", "--dest-tls-verify=false"]);
    skopeo.args([
        format!("oci-archive:{}", image.path.display()),
        format!("docker://{to}"),
    ]);
    shell::run(&mut skopeo, log, LIMIT).with_context(|| format!("push {to}: {}", shell::last_lines(&log.tail(3), 3)))
}

/// An image that was pulled, for as long as the value lives.
#[derive(Debug)]
pub struct PulledImage {
    _folder: TempDir,
    /// The digest of the manifest that came.
    pub digest: String,
}

/// Pulls all of an image from `from` (`HOST:PORT/NAME:TAG`) over plain HTTP; skopeo compares every blob with its digest.
///
/// # Errors
/// What skopeo says; all of it is in `log`.
pub fn pull(mut skopeo: Command, from: &str, log: &Log) -> Result<PulledImage> {
    let folder = tempfile::tempdir()?;
    skopeo.args([
        "--insecure-policy",
        "copy",
        "--src-tls-verify=false",
        &format!("docker://{from}"),
    ]);
    skopeo.arg(format!("dir:{}", folder.path().display()));
    shell::run(&mut skopeo, log, LIMIT)
        .with_context(|| format!("pull {from}: {}", shell::last_lines(&log.tail(3), 3)))?;
    let manifest = fs::read(folder.path().join("manifest.json"))?;
    Ok(PulledImage {
        digest: format!("sha256:{}", hex::encode(Sha256::digest(manifest))),
        _folder: folder,
    })
}
