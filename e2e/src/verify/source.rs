//! The stages that need nothing but the toolchains.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};

use super::{Run, test_binaries::pass};
use crate::{shell, shell::Log};

const QUICK: Duration = Duration::from_mins(5);
/// A cold build of every dependency beside other builds.
const COLD: Duration = Duration::from_mins(50);

/// Cargo, with the lock file as it is.
pub(super) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(crate::tree())
        .args(arguments)
        .arg("--locked")
        .env("CARGO_TERM_COLOR", "never");
    command
}

pub(super) fn format(_: &Run, log: &Log) -> Result<()> {
    let mut fmt = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    shell::run(
        fmt.current_dir(crate::tree())
            .args(["fmt", "--all", "--", "--check", "--color", "never"]),
        log,
        QUICK,
    )?;
    let go = shell::which("go").context("there is no Go toolchain: install Go 1.26.2 or newer")?;
    let root = shell::read(Command::new(go).args(["env", "GOROOT"]), QUICK)?;
    let unformatted = shell::read(
        Command::new(Path::new(root.trim()).join("bin/gofmt"))
            .arg("-l")
            .arg(crate::tree().join("e2e/kubernetes")),
        QUICK,
    )?;
    ensure!(unformatted.is_empty(), "gofmt would change {unformatted}");
    Ok(())
}

pub(super) fn lint(_: &Run, log: &Log) -> Result<()> {
    let mut clippy = cargo(&["clippy", "--workspace", "--all-targets"]);
    shell::run(clippy.args(["--", "-D", "warnings"]), log, COLD)
}

pub(super) fn docs(_: &Run, log: &Log) -> Result<()> {
    let mut doc = cargo(&["doc", "--workspace", "--no-deps", "--document-private-items"]);
    shell::run(doc.env("RUSTDOCFLAGS", "-D warnings"), log, COLD)
}

pub(super) fn build(run: &Run, log: &Log) -> Result<()> {
    run.tests.all(log).map(drop)
}

pub(super) fn unit(run: &Run, log: &Log) -> Result<()> {
    for tests in run.tests.all(log)?.iter().filter(|tests| tests.is_unit()) {
        // A binary has no tests of its own when all its code is in the library.
        shell::run(&mut tests.command(), log, QUICK)?;
    }
    let mut examples = cargo(&["test", "--workspace", "--doc"]);
    shell::run(&mut examples, log, COLD)
}

/// Runs the integration tests `name` of `package`, with `settings` as environment variables.
pub(super) fn integration(
    run: &Run,
    (package, name): (&str, &str),
    settings: &[(&str, String)],
    log: &Log,
) -> Result<()> {
    let mut command = run.tests.integration(package, name, log)?.command();
    command.envs(settings.iter().map(|(variable, value)| (variable, value)));
    command.args(&run.words);
    pass(command, log)
}
