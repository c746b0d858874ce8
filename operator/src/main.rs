//! The operator's program.

use std::process::ExitCode;

use berth_operator::cli::{Cli, Command};
use clap::Parser;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(run) => run.run(),
        Command::Crds(crds) => crds.run(),
        Command::Check(check) => check.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the last word of a command that failed belongs on standard error"
)]
fn complain(error: &anyhow::Error) {
    eprintln!("berth-operator: {error:#}");
}
