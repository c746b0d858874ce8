//! The stage of the fuzz targets: each for a few seconds, from its seeds.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, ensure};

use super::Run;
use crate::{shell, shell::Log};

const SECONDS: &str = "5";
/// A cold build beside other builds, and the runs.
const LIMIT: Duration = Duration::from_mins(40);
/// What is written of each target that found nothing.
const MARK: &str = "fuzz: ";

pub(super) fn fuzz(run: &Run, log: &Log) -> Result<()> {
    shell::which("c++").context("libFuzzer needs a C++ compiler: install g++ or clang")?;
    let script = crate::tree().join("fuzz/run.sh");
    shell::run(Command::new(script).arg(SECONDS), log, LIMIT)?;
    let written = std::fs::read_to_string(log.path())?;
    let targets: Vec<&str> = written.lines().filter_map(|line| line.strip_prefix(MARK)).collect();
    ensure!(!targets.is_empty(), "no target ran");
    for target in targets {
        run.report(target.to_owned());
    }
    Ok(())
}
