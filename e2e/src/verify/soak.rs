//! The stages of the soak: one for each pair of stores.

use anyhow::Result;

use super::Run;
use crate::{
    shell::Log,
    soak::{Options, Pair, Soak},
};

pub(super) fn sqlite(run: &Run, log: &Log) -> Result<()> {
    soak(run, Pair::Small, log)
}

pub(super) fn postgres_s3(run: &Run, log: &Log) -> Result<()> {
    soak(run, Pair::Large, log)
}

fn soak(run: &Run, pair: Pair, log: &Log) -> Result<()> {
    let options = Options::read(&run.words)?;
    let program = match options.program() {
        Some(program) => program,
        None => run.tests.program("berth-registry", log)?,
    };
    let soak = Soak {
        program,
        options: &options,
        cache: &run.cache,
        log,
    };
    soak.run(pair, |line| run.report(line))
}
