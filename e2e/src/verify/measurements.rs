//! The stage of measurements: the operator beside a real registry, Prometheus server and cosign.

use anyhow::{Context, Result};

use super::{Run, source::integration};
use crate::{
    shell,
    shell::Log,
    tools::{
        apt::{self, PROMETHEUS},
        clients,
    },
};

pub(super) fn measurements(run: &Run, log: &Log) -> Result<()> {
    apt::ensure(&[PROMETHEUS], &run.cache, log)?;
    let prometheus = shell::which("prometheus").context("prometheus is installed and not on the path")?;
    let cosign = clients::cosign(&run.cache, log)?;
    let registry = run.tests.program("berth-registry", log)?;
    let settings = [
        ("BERTH_TEST_REGISTRY", registry.display().to_string()),
        ("BERTH_TEST_PROMETHEUS", prometheus.display().to_string()),
        ("BERTH_TEST_COSIGN", cosign.path.display().to_string()),
    ];
    integration(run, ("operator", "live"), &settings, log)
}
