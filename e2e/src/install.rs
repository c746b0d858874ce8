//! The operator's chart, installed into a cluster as a user would.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};

use crate::{cluster::Target, shell, shell::Log};

/// Where the operator runs.
pub const NAMESPACE: &str = "berth-system";
const RELEASE: &str = "berth";
const LIMIT: Duration = Duration::from_mins(5);

/// The images that a cluster runs Berth from.
#[derive(Debug, Clone)]
pub struct References {
    /// The operator's image: `REPOSITORY:TAG`.
    pub operator: String,
    /// The data plane's image without its tag.
    pub registry_repository: String,
}

impl Default for References {
    /// The names that `cargo demo` gives to the images that it builds.
    fn default() -> Self {
        let operator = format!("berth/berth-operator:{}", crate::VERSION);
        Self {
            operator,
            registry_repository: "berth/berth-registry".to_owned(),
        }
    }
}

/// Installs the definitions and the chart, or brings them up to date, and waits until the operator is ready.
///
/// # Errors
/// What helm or the API server says, or that the operator is not ready within 5 minutes.
pub fn operator(target: &Target, helm: &Path, references: &References, log: &Log) -> Result<()> {
    let chart = crate::tree().join("charts/berth");
    // Helm installs definitions once and never changes them.
    let definitions = crate::tree().join("crds").display().to_string();
    let kubectl = target.kubectl();
    log.note(&kubectl.run(&[
        "apply",
        "--server-side",
        "--force-conflicts",
        "--filename",
        &definitions,
    ])?)?;
    let (repository, tag) = references
        .operator
        .rsplit_once(':')
        .context("the operator's image has no tag")?;
    let mut command = target.helm(helm);
    command
        .args(["upgrade", "--install", RELEASE])
        .arg(chart)
        .args(["--namespace", NAMESPACE, "--create-namespace"]);
    command.args([
        "--set-string",
        &format!("image.repository={repository}"),
        "--set-string",
        &format!("image.tag={tag}"),
    ]);
    command.args([
        "--set-string",
        &format!("registryImage={}", references.registry_repository),
    ]);
    shell::run(command.args(["--wait", "--timeout", "4m"]), log, LIMIT).context("install the chart")
}

/// Starts Berth's pods again, which is what makes them run an image that was replaced under its name.
///
/// # Errors
/// What the API server says.
pub fn restart_pods(target: &Target, name: &str) -> Result<()> {
    let selector = format!("app.kubernetes.io/name={name}");
    target.kubectl().run(&[
        "delete",
        "pods",
        "--all-namespaces",
        "--selector",
        &selector,
        "--wait=false",
    ])?;
    Ok(())
}
