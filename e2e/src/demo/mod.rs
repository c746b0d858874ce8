//! `cargo demo`: from a bare machine to an image that was pushed to Berth and pulled by the kubelet.

use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use crate::{
    cache::Cache,
    cluster::{self, Cluster},
    install::References,
    progress::line,
};

mod main_job;
mod push_pull;
mod report;
mod steps;

/// The name of the demonstration's cluster.
pub const CLUSTER: &str = "demo";
/// The namespace of `e2e/examples/registry.yaml`.
pub const NAMESPACE: &str = "berth-demo";

/// Shows Berth's main job on this machine, with everything real.
///
/// Brings up a Kubernetes cluster of its own, installs the chart, applies e2e/examples/registry.yaml, pushes an image with
/// skopeo and runs a pod from it. What is missing is installed or built first and kept in `$BERTH_CACHE` (default
/// ~/.cache/berth): the first time takes a quarter of an hour on two cores, later ones under a minute. Running it again
/// is harmless.
#[derive(Debug, Parser)]
#[command(name = "demo", bin_name = "cargo demo --", version, max_term_width = 110)]
struct Arguments {
    #[command(flatten)]
    up: UpArguments,
    #[command(subcommand)]
    command: Option<Subcommands>,
}

#[derive(Debug, Clone, clap::Args)]
struct UpArguments {
    /// Use the cluster of this kubeconfig context in place of one of this machine. It must be able to pull the images
    /// that the next two options name; the pushed image is then pulled back with skopeo, because its nodes need not
    /// know the registry.
    #[arg(long, value_name = "NAME", requires = "operator_image", requires = "registry_image")]
    context: Option<String>,
    /// The operator's image, REPOSITORY:TAG, for --context
    #[arg(long, value_name = "IMAGE", requires = "context")]
    operator_image: Option<String>,
    /// The data plane's image without its tag, for --context; its tag is Berth's version
    #[arg(long, value_name = "REPOSITORY", requires = "context")]
    registry_image: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Bring up the cluster alone, with nothing of Berth in it
    Cluster,
    /// End the cluster and remove all that it left (what was built stays in the cache)
    Down,
    /// Say whether the cluster is up, and what runs in it
    Status,
    /// Run kubectl on the cluster
    Kubectl {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run a program in the cluster's network, where pods, Services and 10.244.0.1 are
    In {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        words: Vec<String>,
    },
    /// Print shell functions `kubectl` and `berth_in` for this cluster: eval "$(cargo demo -- shell-env)"
    ShellEnv,
}

impl UpArguments {
    fn references(&self) -> References {
        match (&self.operator_image, &self.registry_image) {
            (Some(operator), Some(registry)) => References {
                operator: operator.clone(),
                registry_repository: registry.clone(),
            },
            _ => References::default(),
        }
    }
}

/// Runs the command line; the result is the program's exit code: 0, 1 (it failed) or 2 (used wrongly).
pub fn main() -> ExitCode {
    let arguments = Arguments::parse_from(crate::arguments());
    match run(arguments) {
        Ok(code) => code,
        Err(error) => {
            line(&format!("\ncargo demo failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    let cache = Cache::open()?;
    match arguments.command {
        None => main_job::run(&cache, &arguments.up).map(|()| ExitCode::SUCCESS),
        Some(Subcommands::Cluster) => main_job::cluster_only(&cache).map(|()| ExitCode::SUCCESS),
        Some(Subcommands::Down) => down(&cache),
        Some(Subcommands::Status) => report::status(&cache),
        Some(Subcommands::ShellEnv) => report::shell_functions(&cache),
        Some(Subcommands::Kubectl { arguments }) => {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            pass_on(running(&cache)?.kubectl().command(&arguments))
        }
        Some(Subcommands::In { words }) => {
            let (program, arguments) = words.split_first().context("no program is named")?;
            let mut command = running(&cache)?.inside(program);
            command.args(arguments);
            pass_on(command)
        }
    }
}

fn running(cache: &Cache) -> Result<Cluster> {
    Cluster::running(cache, CLUSTER)?.context("the cluster is not up: `cargo demo` brings it up")
}

fn down(cache: &Cache) -> Result<ExitCode> {
    let was_up = cluster::down(cache, CLUSTER)?;
    let left = cluster::leftovers(cache, CLUSTER)?;
    for thing in &left {
        line(&format!("still there: {thing}"));
    }
    if !left.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    line(if was_up {
        "The cluster is gone; nothing of it is left."
    } else {
        "There is no cluster, and nothing of one."
    });
    Ok(ExitCode::SUCCESS)
}

/// Runs a program for the user: its input, output and exit code are ours.
fn pass_on(mut command: Command) -> Result<ExitCode> {
    let status = command.stdin(Stdio::inherit()).status().context("start the program")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
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
    fn an_existing_cluster_needs_images_that_it_can_pull() {
        assert!(Arguments::try_parse_from(["demo", "--context", "mine"]).is_err());
    }
}
