//! The command line: the checks against a registry that is up already.

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use super::{Options, Profile, Tally, beyond, run};
use crate::progress::line;

/// Makes the checks of the OCI conformance program against a registry.
///
/// It pushes, reads and deletes in two repositories, `conformance/repo1` and `conformance/repo2`, and wants both to be empty.
#[derive(Debug, Parser)]
#[command(name = "conformance", max_term_width = 110)]
struct Arguments {
    /// Where it listens, without TLS and authentication: 127.0.0.1:5000
    #[arg(value_name = "ADDRESS")]
    host: String,
    /// Which level of the specification
    #[arg(long, value_enum, default_value = "dev")]
    profile: Level,
    /// Push manifests whose layers and children are missing too (Berth: `manifests.sparse: all`)
    #[arg(long)]
    sparse: bool,
    /// Make the checks of our own in place of the official ones
    #[arg(long, conflicts_with_all = ["profile", "sparse"])]
    beyond: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Level {
    Stable,
    Dev,
}

/// Runs the command line; the result is the program's exit code: 0, 1 (a check did not pass) or 2 (used wrongly).
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let profile = match arguments.profile {
        Level::Stable => Profile::Stable,
        Level::Dev => Profile::Dev,
    };
    let tally = if arguments.beyond {
        beyond(&arguments.host)
    } else {
        run(&arguments.host, Options::new(profile, arguments.sparse))
    };
    for shown in lines(&tally) {
        line(&shown);
    }
    if tally.total().is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// What did not pass, the groups, and the sum.
pub fn lines(tally: &Tally) -> Vec<String> {
    let mut lines = tally.faults().to_vec();
    lines.extend(
        tally
            .groups()
            .iter()
            .map(|(group, counts)| format!("{group:<28} {counts}")),
    );
    lines.push(tally.total().to_string());
    lines
}
