//! The test programs of the whole workspace, compiled once.
//!
//! `cargo test -p ONE` would choose other features for shared dependencies than `-p TWO`, and compile them twice.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use super::source::cargo;
use crate::{shell, shell::Log};

const BUILD_LIMIT: Duration = Duration::from_mins(50);
const RUN_LIMIT: Duration = Duration::from_mins(30);

/// Compiled when the first stage asks for one.
#[derive(Debug, Default)]
pub(super) struct TestBinaries {
    /// Only the registry's, with points at which a test can stop it and faults that it can plant.
    staged: bool,
    built: OnceLock<Result<Built, String>>,
}

/// What one compilation gives.
#[derive(Debug)]
struct Built {
    tests: Vec<TestBinary>,
    /// The workspace's own programs, by name; the tests' profile builds them too.
    programs: Vec<(String, PathBuf)>,
}

/// A program with tests.
#[derive(Debug, Clone)]
pub(super) struct TestBinary {
    /// The folder of its package.
    package: PathBuf,
    /// The name of the target: that of the library, the binary or the file in `tests`.
    target: String,
    /// A target of `tests`, in place of one with tests beside the code.
    integration: bool,
    path: PathBuf,
}

impl TestBinaries {
    /// Those of the registry with the feature `staging`.
    pub(super) fn staged() -> Self {
        Self {
            staged: true,
            ..Self::default()
        }
    }

    /// All of them.
    pub(super) fn all(&self, log: &Log) -> Result<&[TestBinary]> {
        Ok(&self.built(log)?.tests)
    }

    /// The program `name` of this workspace.
    pub(super) fn program(&self, name: &str, log: &Log) -> Result<&Path> {
        let mut programs = self.built(log)?.programs.iter();
        let found = programs.find(|(known, _)| known == name);
        let (_, path) = found.with_context(|| format!("the workspace has no program {name}"))?;
        Ok(path)
    }

    fn built(&self, log: &Log) -> Result<&Built> {
        let built = self
            .built
            .get_or_init(|| self.compile(log).map_err(|error| format!("{error:#}")));
        built
            .as_ref()
            .map_err(|error| anyhow!("the tests do not compile: {error}"))
    }

    fn compile(&self, log: &Log) -> Result<Built> {
        if !self.staged {
            return compile(&[], log);
        }
        let built = compile(&["--features", "berth-registry/staging", "--lib", "--test", "it"], log)?;
        // Cargo has put the staged program where the other one was, which other tests start.
        compile(&[], log)?;
        Ok(built)
    }

    /// The target `name` of the folder `tests` of a package.
    pub(super) fn integration(&self, package: &str, name: &str, log: &Log) -> Result<&TestBinary> {
        let package = crate::tree().join(package);
        let mut all = self.all(log)?.iter();
        let found = all.find(|test| test.integration && test.package == package && test.target == name);
        found.with_context(|| format!("there is no test target {name} in {}", package.display()))
    }
}

impl TestBinary {
    /// True for tests beside the code.
    pub(super) fn is_unit(&self) -> bool {
        !self.integration
    }

    /// The command that runs its tests.
    pub(super) fn command(&self) -> Command {
        self.within(Command::new(&self.path))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// `command`, which runs it somehow, with what cargo would set; settings of the caller's shell do not reach the tests.
    pub(super) fn within(&self, mut command: Command) -> Command {
        command
            .current_dir(&self.package)
            .env("CARGO_MANIFEST_DIR", &self.package);
        // The line of a failure says where it is; a stack of the runtime's frames only hides it.
        command.env("RUST_BACKTRACE", "0");
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("BERTH_") && variable != "BERTH_CACHE" {
                command.env_remove(variable);
            }
        }
        command
    }
}

/// Runs the tests of `command`, and insists that there was one.
pub(super) fn pass(mut command: Command, log: &Log) -> Result<()> {
    shell::run(&mut command, log, RUN_LIMIT)?;
    let ran_none = log.tail(5).contains("test result: ok. 0 passed");
    if ran_none {
        return Err(anyhow!("no test ran"));
    }
    Ok(())
}

/// A test target of this package, without those of the others: what this program is made of is compiled already.
pub(super) fn of_this_package(name: &str, log: &Log) -> Result<TestBinary> {
    let built = compile_some(&["--package", "e2e", "--test", name], log)?;
    let found = built.tests.into_iter().find(|test| test.target == name);
    found.with_context(|| format!("there is no test target {name} in e2e"))
}

fn compile(more: &[&str], log: &Log) -> Result<Built> {
    compile_some(&[&["--workspace"], more].concat(), log)
}

fn compile_some(more: &[&str], log: &Log) -> Result<Built> {
    let mut build = cargo(&["test", "--no-run"]);
    build.args(["--message-format", "json-render-diagnostics"]).args(more);
    let messages = shell::read_with_log(&mut build, log, BUILD_LIMIT)?;
    let (mut tests, mut programs) = (Vec::new(), Vec::new());
    for message in messages.lines() {
        let message: Value = serde_json::from_str(message).context("read cargo's messages")?;
        if message["reason"] != "compiler-artifact" {
            continue;
        }
        if message["profile"]["test"] == true {
            tests.extend(test_binary(&message));
        } else {
            programs.extend(program(&message));
        }
    }
    Ok(Built { tests, programs })
}

/// Build scripts have executables too.
fn program(message: &Value) -> Option<(String, PathBuf)> {
    let target = &message["target"];
    let is_program = target["kind"].as_array()?.iter().any(|kind| kind == "bin");
    let found = (
        target["name"].as_str()?.to_owned(),
        message["executable"].as_str()?.into(),
    );
    is_program.then_some(found)
}

fn test_binary(message: &Value) -> Option<TestBinary> {
    let package = Path::new(message["manifest_path"].as_str()?).parent()?.to_owned();
    let integration = message["target"]["kind"].as_array()?.iter().any(|kind| kind == "test");
    let target = message["target"]["name"].as_str()?.to_owned();
    Some(TestBinary {
        package,
        target,
        integration,
        path: message["executable"].as_str()?.into(),
    })
}
