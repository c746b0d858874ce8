//! The command line: `run`, `crds` and `check`.

mod check;
mod crds;
mod run;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

pub use check::Check;
pub use crds::Crds;
pub use run::Run;

/// Runs container registries on Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "berth-operator", version, about, long_about = None)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the operator can be asked to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Look after the Registries of a cluster until stopped
    Run(Run),
    /// Print the definitions of the operator's kinds, write them to a folder, or bring them up to date in a cluster
    Crds(Crds),
    /// Wait until the operators at an address are ready and one of them works
    Check(Check),
}

/// Runs a command that talks to others.
///
/// # Errors
/// What `command` says, or that there is no runtime for it.
pub fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    // First of all: a later dependency that brings another provider could make every TLS connection panic.
    let installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    if installed.is_err() {
        tracing::debug!("a TLS provider was installed before");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("start the runtime")?.block_on(command)
}
