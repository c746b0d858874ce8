//! The command line: `run` and `crds`.

mod crds;
mod run;

use clap::{Parser, Subcommand};

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
    /// Print the definitions of the operator's kinds, or write them to a folder
    Crds(Crds),
}
