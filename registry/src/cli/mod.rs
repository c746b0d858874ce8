//! The commands.

mod gc;
mod migrate;
mod scrub;
mod termination;

use crate::config::{self, Loaded, LogFormat, Problem, Problems, SETTINGS, Sources, environment_name};
use crate::flaws;
use crate::server::{self, Server};
use crate::telemetry;
use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::io::Write;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A container registry: clients of the OCI distribution specification push to it and pull from it.
#[derive(Debug, Parser)]
#[command(name = "berth-registry", version, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the registry. Without any settings: a database file and blobs under ./berth-data, on 127.0.0.1:5000.
    Serve(Settings),
    /// Bring the database to the schema that this version needs, or show how it stands.
    Migrate {
        #[command(subcommand)]
        command: migrate::Migrate,
    },
    /// Look whether this version may go onto the database, and what it would do there. Changes nothing.
    ///
    /// Exit codes: 0 it may; 40 it must not, for what is said; 1 it could not be found out.
    Preflight(migrate::PreflightArgs),
    /// Show, as JSON, what this version promises about upgrades and rollbacks. Needs no database.
    Contract,
    /// Compare the store with the database: blobs whose bytes are missing or wrong, objects that nothing names.
    ///
    /// Safe while servers run. With SQLite the running server does it, which needs http.secret. Exit code 1: something is
    /// wrong.
    Scrub(scrub::ScrubArgs),
    /// Collect garbage, as a server does by itself; or look what would go.
    Gc(gc::GcArgs),
    /// Check the settings and show every problem at once, or what is in force.
    CheckConfig(Settings),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Settings as flags; all others are keys of the file or `BERTH_…` variables (see `check-config`).
#[derive(Debug, Args)]
struct Settings {
    /// YAML file with settings.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the database file and of the blobs [default: ./berth-data].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Where clients connect [default: 127.0.0.1:5000].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Probes, metrics and management [default: 127.0.0.1:5001].
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,
    /// `postgres://host:port/name`, or `sqlite:<path>` [default: a file in the data directory].
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// How long requests may go on after SIGTERM [default: 30s].
    #[arg(long, value_name = "DURATION")]
    drain_timeout: Option<String>,
}

impl Settings {
    fn load(self) -> Result<Loaded, Problems> {
        let mut sources = Sources::read(self.config.as_deref())?;
        let flags = [
            ("data_dir", "--data-dir", self.data_dir),
            ("http.listen", "--listen", self.listen),
            ("admin.listen", "--admin-listen", self.admin_listen),
            ("database.url", "--database-url", self.database_url),
            ("http.drain_timeout", "--drain-timeout", self.drain_timeout),
        ];
        sources.flags = flags
            .into_iter()
            .filter_map(|(path, flag, value)| Some((path, flag, value?)))
            .collect();
        config::load(&sources)
    }
}

/// Exit code of settings that cannot be used, as of a command line that cannot.
const USED_WRONGLY: u8 = 2;

/// Runs the command and gives the exit code: 0 done, 1 failed, 2 used wrongly; migrations have more.
pub async fn run(cli: Cli) -> ExitCode {
    let outcome = match cli.command {
        Command::Serve(settings) => serve(settings).await,
        Command::Migrate { command } => migrate::migrate(command).await,
        Command::Preflight(args) => migrate::preflight(args).await,
        Command::Contract => migrate::contract(),
        Command::Scrub(args) => scrub::run(args).await,
        Command::Gc(args) => gc::run(args).await,
        Command::CheckConfig(settings) => check_config(settings).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            let told = telemetry::causes(failed.as_ref());
            say(&mut std::io::stderr(), &format!("error: {told}"));
            exit_code(&failed)
        }
    }
}

/// Tells that the program could not even begin.
pub fn no_runtime(failed: &std::io::Error) -> ExitCode {
    say(&mut std::io::stderr(), &format!("error: start the runtime: {failed}"));
    ExitCode::FAILURE
}

fn exit_code(failed: &anyhow::Error) -> ExitCode {
    let wrongly = failed.chain().any(<dyn std::error::Error>::is::<Problems>);
    let code = migrate::exit_code(failed).or_else(|| wrongly.then_some(USED_WRONGLY));
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}

/// A reader that has gone away (`| head`) is no failure.
fn say(to: &mut impl Write, line: &str) {
    drop(writeln!(to, "{line}"));
}

fn load(settings: Settings) -> anyhow::Result<Loaded> {
    let loaded = settings.load()?;
    let format = match loaded.config.log.format {
        LogFormat::Text => telemetry::Format::Text,
        LogFormat::Json => telemetry::Format::Json,
    };
    telemetry::start_log(&loaded.config.log.level, format)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    Ok(loaded)
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    let config = load(settings)?.config;
    flaws::begin().map_err(anyhow::Error::msg)?;
    // Before the start: a migration can take long, and a signal must end it, too.
    let mut signals = StopSignals::listen()?;
    let started = tokio::select! {
        started = Box::pin(server::start(&config)) => Some(started?),
        () = signals.next() => None,
    };
    let Some(server) = started else {
        tracing::info!("stopped before the start was complete");
        return Ok(());
    };
    serve_until_stopped(server, signals).await
}

async fn serve_until_stopped(server: Server, mut signals: StopSignals) -> anyhow::Result<()> {
    let stop = server.stopper();
    let mut ended = pin!(server.join());
    tokio::select! {
        early = &mut ended => return early,
        () = signals.next() => stop.cancel(),
    }
    tracing::info!("stopping: requests under way may finish");
    tokio::select! {
        ended = &mut ended => ended,
        () = signals.next() => bail!("a second signal: requests under way were cut off"),
    }
}

/// SIGTERM and SIGINT. From here on neither ends the program by itself.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("listen for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("listen for SIGINT")?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// A file that cannot be used is as wrong as a setting that cannot.
fn wrong_file(failed: &anyhow::Error) -> Problems {
    let message = telemetry::causes(failed.as_ref());
    Problems(vec![Problem {
        place: String::new(),
        path: String::new(),
        message,
    }])
}

async fn check_config(settings: Settings) -> anyhow::Result<()> {
    let loaded = settings.load()?;
    telemetry::check_filter(&loaded.config.log.level)?;
    let odd = server::check_files(&loaded.config)
        .await
        .map_err(|failed| wrong_file(&failed))?;
    let mut out = std::io::stdout();
    for warning in loaded
        .warnings
        .iter()
        .map(ToString::to_string)
        .chain(odd.map(str::to_owned))
    {
        say(&mut out, &format!("warning: {warning}"));
    }
    for setting in SETTINGS {
        let value = loaded.shown(setting);
        say(&mut out, &format!("{:38} {value:28} {}", setting.path, setting.help));
    }
    let example = environment_name("http.listen");
    say(
        &mut out,
        &format!("\nThe settings hold together. Each is also an environment variable, such as {example}."),
    );
    Ok(())
}
