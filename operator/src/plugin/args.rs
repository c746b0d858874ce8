//! The words of the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use semver::Version;

/// Looks at container registries and their roll-outs, and steers them.
#[derive(Debug, Parser)]
#[command(name = "kubectl-berth", bin_name = "kubectl berth", version, about, long_about = None)]
pub struct Plugin {
    /// Which cluster and namespace.
    #[command(flatten)]
    pub target: Target,
    /// How to print
    #[arg(short, long, global = true, value_enum, default_value = "text")]
    pub output: Output,
    /// Columns to print in; without it those of the terminal, or 100
    #[arg(long, global = true, value_name = "COLUMNS", value_parser = clap::value_parser!(u16).range(40..=500))]
    pub width: Option<u16>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Which cluster and namespace.
#[derive(Clone, Debug, Default, Args)]
pub struct Target {
    /// Path of the kubeconfig
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Namespace; without it the one of the context
    #[arg(short, long, global = true, value_name = "NS")]
    pub namespace: Option<String>,
    /// Every namespace, where no Registry is named
    #[arg(short = 'A', long, global = true, conflicts_with = "namespace")]
    pub all_namespaces: bool,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people; coloured on a terminal, unless `NO_COLOR` is set
    Text,
    /// For programs; what goes on for a while is one object a line
    Json,
    /// A picture of the screen
    Svg,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show a Registry, or all of the namespace
    Status {
        /// The Registry
        name: Option<String>,
        /// Show it again each second
        #[arg(short, long)]
        watch: bool,
    },
    /// Look at roll-outs and steer them
    #[command(subcommand)]
    Rollout(Rollout),
    /// Print what the pods of a Registry print
    Logs(Logs),
    /// Look at the locks of roll-outs, hold them and free them
    #[command(subcommand)]
    Lock(Lock),
    /// Find what is wrong with Berth and its Registries in this cluster
    Doctor {
        /// This Registry only
        name: Option<String>,
        /// Where the operator is; without it, it is looked for
        #[arg(long, value_name = "NS")]
        operator_namespace: Option<String>,
    },
    /// Wait until every serving pod has at least a version
    Wait {
        /// The Registry
        name: String,
        /// The version
        #[arg(long, value_name = "VERSION")]
        min_version: Version,
        /// How long
        #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = humantime::parse_duration)]
        timeout: Duration,
    },
    /// Print a script that completes commands in a shell
    Completion {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

/// What to do with roll-outs.
#[derive(Debug, Subcommand)]
pub enum Rollout {
    /// Follow the newest roll-out until it ends
    Watch(Named),
    /// List the roll-outs
    History {
        /// The Registry; without it all of the namespace
        name: Option<String>,
    },
    /// Approve what the roll-out asks
    Approve(Reasoned),
    /// Reject it: the old version comes back
    Reject(Reasoned),
    /// Let it stand still
    Pause(Reasoned),
    /// Let it go on
    Resume(Reasoned),
    /// Go to the whole without measuring any longer
    Promote(Reasoned),
    /// Go to the next step of the canary
    SkipStep(Reasoned),
    /// Take the old version back
    Abort(Reasoned),
    /// Try a version again that was taken back
    Retry(Reasoned),
}

/// A Registry.
#[derive(Debug, Args)]
pub struct Named {
    /// The Registry
    pub name: String,
}

/// A Registry, and why.
#[derive(Debug, Args)]
pub struct Reasoned {
    /// The Registry
    pub name: String,
    /// Why: it is kept in the record
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// Which lines of which pods.
#[derive(Debug, Args)]
pub struct Logs {
    /// The Registry
    pub name: String,
    /// Only pods of this stage
    #[arg(long, value_enum, conflicts_with_all = ["pod", "job"])]
    pub stage: Option<Stage>,
    /// Only this pod
    #[arg(long, value_name = "NAME", conflicts_with = "job")]
    pub pod: Option<String>,
    /// The newest Job of that kind, in place of the pods that serve
    #[arg(long, value_enum)]
    pub job: Option<JobKind>,
    /// Go on with what is printed from now on
    #[arg(short, long)]
    pub follow: bool,
    /// The last lines of each pod; -1 is all
    #[arg(long, value_name = "LINES", default_value_t = 200, allow_negative_numbers = true)]
    pub tail: i64,
    /// What was printed in this time only, such as 10m
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub since: Option<Duration>,
    /// What the container before the last restart printed
    #[arg(short, long, conflicts_with = "follow")]
    pub previous: bool,
    /// When each line was printed
    #[arg(long)]
    pub timestamps: bool,
}

/// Which pods serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Stage {
    /// The version that is served
    Main,
    /// The one that is measured
    Canary,
}

/// What a Job is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum JobKind {
    /// Migrations before the pods change
    Pre,
    /// Migrations after every pod has changed
    Post,
    /// What a new image finds out about the database
    Preflight,
}

/// What to do with locks.
#[derive(Debug, Subcommand)]
pub enum Lock {
    /// Show who holds which lock, and who waits
    Status {
        /// The group; without it every lock of the namespace
        group: Option<String>,
    },
    /// Take a lock or keep it: no roll-out of the group begins
    Hold(HoldLock),
    /// Give a lock up
    Release(ReleaseLock),
}

/// Which lock, for how long and why.
#[derive(Debug, Args)]
pub struct HoldLock {
    /// The group, or the name of the Lease
    pub group: String,
    /// Why: it is kept with the lock
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// How long it is held, unless it is held again or released
    #[arg(long = "for", value_name = "DURATION", default_value = "1h", value_parser = humantime::parse_duration)]
    pub duration: Duration,
    /// Who holds it, such as a pipeline's number; without it your name
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// How long to wait for it
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    pub wait: Duration,
}

/// Which lock, and why.
#[derive(Debug, Args)]
pub struct ReleaseLock {
    /// The group, or the name of the Lease
    pub group: String,
    /// Why: it is kept with the lock
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Who holds it; without it your name
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// Free it although somebody else holds it, who then must not go on
    #[arg(long)]
    pub force: bool,
}
