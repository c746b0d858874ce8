//! Programs that are built from Go modules.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::{cache::Cache, shell, shell::Log};

/// A cold build of the largest one takes 6 minutes of two idle cores; the machine may be busy with others.
pub(super) const BUILD_LIMIT: Duration = Duration::from_mins(40);
const QUESTION_LIMIT: Duration = Duration::from_secs(20);

/// `go` at a low priority, with what surrounds it kept out of the result.
///
/// # Errors
/// When there is no Go toolchain.
pub(super) fn go() -> Result<Command> {
    let go = shell::which("go").context("there is no Go toolchain: install Go 1.26.2 or newer, then run this again")?;
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
    let arguments = ["install", "-trimpath", "-buildvcs=false", "-ldflags", FLAGS, package];
    shell::run(go()?.env("GOBIN", folder).args(arguments), log, BUILD_LIMIT)
}

/// For the linker: no tables for debuggers.
const FLAGS: &str = "-s -w";

/// A module of the tree that names programs of other modules; its go.sum says what their sources are.
#[derive(Debug)]
pub(super) struct Module {
    /// The module's folder, in `e2e/clients`.
    pub(super) name: &'static str,
    /// The packages of the programs.
    pub(super) packages: &'static [&'static str],
}

impl Module {
    /// Builds its programs once for what its go.mod and go.sum say; gives their folder.
    ///
    /// # Errors
    /// As [`install`].
    pub(super) fn build(&self, cache: &Cache, log: &Log) -> Result<PathBuf> {
        let sources = self.sources();
        let key = format!("{}-{}", self.name, sum(&sources, FLAGS)?);
        cache.entry(&key, |folder| {
            let mut command = go()?;
            command.current_dir(&sources);
            command.args(["build", "-trimpath", "-buildvcs=false", "-ldflags", FLAGS, "-o"]);
            // With a slash at its end it is a folder, even for one program.
            command.arg(folder.join("")).args(self.packages);
            shell::run(&mut command, log, BUILD_LIMIT)
        })
    }

    /// The version of the module `of` that its go.mod requires.
    ///
    /// # Errors
    /// When it requires none.
    pub(super) fn version(&self, of: &str) -> Result<String> {
        let module = fs::read_to_string(self.sources().join("go.mod"))?;
        let mut words = module.lines().map(|line| line.trim().trim_start_matches("require "));
        let version = words.find_map(|line| line.strip_prefix(of)?.strip_prefix(' '));
        let version = version.with_context(|| format!("go.mod of {} does not require {of}", self.name))?;
        Ok(version
            .split(' ')
            .next()
            .unwrap_or(version)
            .trim_start_matches('v')
            .to_owned())
    }

    fn sources(&self) -> PathBuf {
        crate::tree().join("e2e/clients").join(self.name)
    }
}

/// What names a build: its sources and its flags.
///
/// # Errors
/// When the sources cannot be read.
pub(super) fn sum(sources: &Path, flags: &str) -> Result<String> {
    let mut files: Vec<PathBuf> = fs::read_dir(sources)
        .with_context(|| format!("read {}", sources.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        let content = fs::read(&file).with_context(|| format!("read {}", file.display()))?;
        let name = file.file_name().unwrap_or_default();
        hash.update(format!("{} {}\n", name.to_string_lossy(), content.len()));
        hash.update(content);
    }
    hash.update(flags);
    Ok(hex::encode(hash.finalize())[..16].to_owned())
}
