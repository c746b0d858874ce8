//! Programs that are built from Go modules.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{cache::Cache, shell, shell::Log};

/// A cold build of the largest one takes 6 minutes of two idle cores; the machine may be busy with others.
pub(super) const BUILD_LIMIT: Duration = Duration::from_mins(40);
const QUESTION_LIMIT: Duration = Duration::from_secs(20);

/// `go` at a low priority, with what surrounds it kept out of the result.
///
/// # Errors
/// When there is no Go toolchain.
pub(super) fn go() -> Result<Command> {
    let go = shell::which("go").context("there is no Go toolchain: install Go 1.24 or newer, then run this again")?;
    let mut command = Command::new("nice");
    command
        .args(["-n", "10"])
        .arg(go)
        .env("GOFLAGS", "")
        .env("CGO_ENABLED", "0")
        .env_remove("GOOS")
        .env_remove("GOARCH");
    Ok(command)
}

/// The program in PATH, if its answer to `question` starts with `answer`.
pub(super) fn found(program: &str, question: &[&str], answer: &str) -> Option<PathBuf> {
    let path = shell::which(program)?;
    let said = shell::read(Command::new(&path).args(question), QUESTION_LIMIT).ok()?;
    said.starts_with(answer).then_some(path)
}

/// Builds `package@version` once; gives the program's path.
///
/// # Errors
/// When there is no Go toolchain, or the build fails or takes too long.
pub(super) fn install(cache: &Cache, package: &str, log: &Log) -> Result<PathBuf> {
    let (path, version) = package
        .split_once('@')
        .context("a Go package is named with its version")?;
    let name = path.rsplit('/').next().unwrap_or(path);
    let folder = cache.entry(&format!("{name}-{version}"), |folder| build(folder, package, log))?;
    Ok(folder.join(name))
}

fn build(folder: &Path, package: &str, log: &Log) -> Result<()> {
    let arguments = ["install", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", package];
    shell::run(go()?.env("GOBIN", folder).args(arguments), log, BUILD_LIMIT)
}
