//! The command line: the checks against a registry that is up already.

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use super::{Options, Profile, Tally, beyond, run, with_mistakes};
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
    /// Check the checks: put proxies before the registry that make one mistake each
    #[arg(long, conflicts_with_all = ["profile", "sparse", "beyond"])]
    mistakes: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Level {
    Stable,
    Dev,
}

/// Runs the command line; the result is the program's exit code: 0, 1 (a check did not pass) or 2 (used wrongly).
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let passed = if arguments.mistakes {
        mistakes(&arguments.host)
    } else {
        let tally = checked(&arguments);
        for shown in lines(&tally) {
            line(&shown);
        }
        tally.total().is_clean()
    };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn checked(arguments: &Arguments) -> Tally {
    let profile = match arguments.profile {
        Level::Stable => Profile::Stable,
        Level::Dev => Profile::Dev,
    };
    if arguments.beyond {
        beyond(&arguments.host)
    } else {
        run(&arguments.host, Options::new(profile, arguments.sparse))
    }
}

fn mistakes(host: &str) -> bool {
    let found = match with_mistakes(host) {
        Ok(found) => found,
        Err(error) => {
            line(&format!("{error:#}"));
            return false;
        }
    };
    for (effect, counts) in &found {
        let verdict = if effect.is(counts) { "found" } else { "MISSED" };
        line(&format!("{verdict:<7} {effect:<24}{counts}"));
    }
    found.iter().all(|(effect, counts)| effect.is(counts))
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
