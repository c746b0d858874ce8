//! The OCI conformance suite of May 2023: the newest that can be had as a Go module.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::go;
use crate::{cache::Cache, shell, shell::Log};

const PACKAGE: &str = "github.com/opencontainers/distribution-spec/conformance";
const NAME: &str = "conformance.test";

/// The suite, built once for the versions in `e2e/conformance/go.mod`.
///
/// # Errors
/// When there is no Go toolchain, or the build fails.
pub fn suite(cache: &Cache, log: &Log) -> Result<PathBuf> {
    let sources = crate::tree().join("e2e/conformance");
    let key = format!("conformance-{}", go::sum(&sources, "")?);
    let folder = cache.entry(&key, |folder| build(&sources, folder, log));
    Ok(folder.context("build the conformance suite")?.join(NAME))
}

fn build(sources: &Path, folder: &Path, log: &Log) -> Result<()> {
    let mut command = go::go()?;
    command
        .current_dir(sources)
        .args(["test", "-c", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o"]);
    shell::run(command.arg(folder.join(NAME)).arg(PACKAGE), log, go::BUILD_LIMIT)
}
