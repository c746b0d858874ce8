//! The stage of the clients: real ones against the real registry.

use anyhow::{Result, ensure};

use super::Run;
use crate::{
    clients::{access_log::AccessLog, matrix, site::Target},
    servers::Registry,
    shell::Log,
    tools,
};

pub(super) fn clients(run: &Run, log: &Log) -> Result<()> {
    let programs = tools::clients::programs(&run.cache, log)?;
    let access = Log::create(run.cache.path("log").join("verify-clients-registry.log"))?;
    let settings = [("BERTH_LOG_FORMAT", "json".to_owned())];
    let registry = Registry::start(run.tests.program("berth-registry", log)?, &settings, &access)?;
    let target = Target {
        host: registry.host(),
        log: AccessLog(access),
    };
    let (table, green) = matrix::run(&programs, &target, &run.clients, log)?;
    for line in table.lines() {
        run.report(line.to_owned());
    }
    ensure!(green, "not every client can do what it should");
    Ok(())
}
