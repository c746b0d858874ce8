//! `cargo verify`: every test of Berth, the cheap ones first, against the real databases, stores and cluster.

use std::{cell::RefCell, process::ExitCode};

use anyhow::Result;
use clap::Parser;

use crate::{
    cache::Cache,
    progress::{line, live, seconds},
    shell::Log,
};

mod chart;
mod clients;
mod conformance;
mod corpus;
mod early;
mod fuzz;
mod kubernetes;
mod measurements;
mod model;
mod mutations;
mod registry;
mod soak;
mod source;
mod stages;
mod stores;
mod test_binaries;

pub use kubernetes::CLUSTER;
use stages::{STAGES, Stage};
use test_binaries::TestBinaries;

const SHOWN_OF_A_FAILURE: usize = 200;

/// Runs every test of Berth, one line a stage.
///
/// What a stage needs (PostgreSQL, an S3 server, a cluster) is installed or built first and kept in `$BERTH_CACHE` (default
/// ~/.cache/berth). A stage that cannot run because something cannot be had fails and says why. The output of each stage is
/// kept in the cache's folder log; that of a failed one is shown.
#[derive(Debug, Parser)]
#[command(name = "verify", bin_name = "cargo verify", version, max_term_width = 110)]
struct Arguments {
    /// Run this stage (or group of stages) only; may be given several times
    #[arg(long, value_name = "STAGE")]
    only: Vec<String>,
    /// List the stages and end
    #[arg(long)]
    list: bool,
    /// Run the stage api-server against the API server of this kubeconfig context, in place of one of our own. The tests
    /// play the controllers' part, so it must run without controllers. The stage cluster looks into the node, its network and its audit log, so it always brings up its own
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Try this client only, in the stage clients; may be given several times
    #[arg(long, value_name = "NAME")]
    client: Vec<String>,
    /// What stands behind `--` is for the stages soak (`cargo verify --only soak -- --help` shows it), and names tests of
    /// rollouts and of stages that are one program of tests, such as api-server and sqlite
    #[arg(last = true, value_name = "WORDS")]
    rest: Vec<String>,
}

/// What the stages of one run share.
#[derive(Debug)]
struct Run {
    cache: Cache,
    context: Option<String>,
    clients: Vec<String>,
    words: Vec<String>,
    tests: TestBinaries,
    staged: TestBinaries,
    report: RefCell<Vec<String>>,
}

impl Run {
    /// Adds a line to what is printed below the stage's own when it has ended.
    fn report(&self, line: String) {
        self.report.borrow_mut().push(line);
    }
}

/// Runs the command line; the result is the program's exit code: 0, 1 (a stage failed) or 2 (used wrongly).
pub fn main() -> ExitCode {
    let arguments = Arguments::parse_from(crate::arguments());
    if arguments.list {
        for stage in STAGES {
            line(&format!("{:<24}{}", stage.name, stage.about));
        }
        return ExitCode::SUCCESS;
    }
    if let Some(unknown) = arguments
        .only
        .iter()
        .find(|name| !STAGES.iter().any(|stage| stage.is(name)))
    {
        line(&format!(
            "There is no stage {unknown}. `cargo verify --list` shows them."
        ));
        return ExitCode::from(2);
    }
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            line(&format!("cargo verify failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// True when every stage passed.
fn run(arguments: &Arguments) -> Result<bool> {
    let chosen: Vec<&Stage> = STAGES
        .iter()
        .filter(|stage| arguments.only.is_empty() || arguments.only.iter().any(|name| stage.is(name)))
        .collect();
    let cache = Cache::open()?;
    let run = Run {
        cache,
        context: arguments.context.clone(),
        clients: arguments.client.clone(),
        words: arguments.rest.clone(),
        tests: TestBinaries::default(),
        staged: TestBinaries::staged(),
        report: RefCell::default(),
    };
    let early = early::begin(&run.cache, &chosen)?;
    let mut passed = 0;
    for stage in &chosen {
        passed += usize::from(carry_out(stage, &run)?);
    }
    early.end()?;
    let failed = chosen.len() - passed;
    line(&format!("{passed} passed, {failed} failed"));
    Ok(failed == 0)
}

fn carry_out(stage: &Stage, run: &Run) -> Result<bool> {
    let log = Log::create(run.cache.path("log").join(format!("verify-{}.log", stage.name)))?;
    let (outcome, took) = live(stage.name, &log, || (stage.run)(run, &log));
    let word = if outcome.is_ok() { "ok  " } else { "FAIL" };
    line(&format!("{word}  {:<24}{:>12}", stage.name, seconds(took)));
    for reported in run.report.take() {
        if outcome.is_ok() {
            log.note(&reported)?;
        }
        line(&format!("      {reported}"));
    }
    if let Err(error) = &outcome {
        log.note(&format!("{error:#}"))?;
        line(&log.tail(SHOWN_OF_A_FAILURE));
        line(&format!("(all of it: {})", log.path().display()));
    }
    Ok(outcome.is_ok())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_group_names_all_its_stages() {
        let named: Vec<&str> = STAGES
            .iter()
            .filter(|stage| stage.is("postgres"))
            .map(|stage| stage.name)
            .collect();

        assert_eq!(named, ["postgres-oldest", "postgres-newest"]);
    }

    #[test]
    fn no_two_stages_have_one_name() {
        let names: std::collections::HashSet<&str> = STAGES.iter().map(|stage| stage.name).collect();

        assert_eq!(names.len(), STAGES.len());
    }
}
