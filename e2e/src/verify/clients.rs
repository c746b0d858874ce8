//! The stage of the clients: real ones against the real registry.

use anyhow::{Result, ensure};

use super::Run;
use crate::{
    clients::{
        access_log::AccessLog,
        matrix,
        site::{Secure, Target},
    },
    cluster::certificates,
    servers::Registry,
    shell::Log,
    tools,
};

pub(super) fn clients(run: &Run, log: &Log) -> Result<()> {
    let programs = tools::clients::programs(&run.cache, log)?;
    let program = run.tests.program("berth-registry", log)?;
    let access = Log::create(run.cache.path("log").join("verify-clients-registry.log"))?;
    let json = ("BERTH_LOG_FORMAT", "json".to_owned());
    let registry = Registry::start(program, std::slice::from_ref(&json), &access)?;
    let folder = tempfile::Builder::new().prefix("berth-tls-").tempdir()?;
    certificates::make(folder.path())?;
    // Alone: skopeo takes a key beside it for a client's.
    let trusted = folder.path().join("trusted");
    std::fs::create_dir(&trusted)?;
    std::fs::copy(folder.path().join("ca.crt"), trusted.join("ca.crt"))?;
    let file = |name: &str| folder.path().join(name).display().to_string();
    let tls = [
        ("BERTH_HTTP_TLS_CERTIFICATE_FILE", file("server.crt")),
        ("BERTH_HTTP_TLS_KEY_FILE", file("server.key")),
    ];
    let secure = Registry::start(program, &tls, log)?;
    let target = Target {
        host: registry.host(),
        log: AccessLog(access),
        secure: Secure {
            host: secure.host(),
            certificates: trusted,
        },
    };
    let (table, green) = matrix::run(&programs, &target, &run.clients, log)?;
    for line in table.lines() {
        run.report(line.to_owned());
    }
    ensure!(green, "not every client can do what it should");
    Ok(())
}
