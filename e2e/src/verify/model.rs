//! The stage of the protocol's model: states explored, and how each flaw breaks a promise.

use anyhow::{Result, ensure};

use super::{Run, test_binaries::pass};
use crate::shell::Log;

/// What the model's tests tell.
const MARK: &str = "model: ";

pub(super) fn model(run: &Run, log: &Log) -> Result<()> {
    let mut command = run.tests.integration("registry/model", "protocol", log)?.command();
    command.args(["--nocapture", "--test-threads", "1"]);
    let outcome = pass(command, log);
    let written = std::fs::read_to_string(log.path())?;
    let told: Vec<&str> = written
        .lines()
        .filter_map(|line| line.split_once(MARK))
        .map(|(_, told)| told)
        .collect();
    for line in &told {
        run.report((*line).to_owned());
    }
    outcome?;
    ensure!(!told.is_empty(), "the model told nothing");
    Ok(())
}
