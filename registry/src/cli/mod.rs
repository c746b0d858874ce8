//! The commands.

mod gc;
mod scrub;

use crate::config::{self, Loaded, LogFormat, Problem, Problems, SETTINGS, Sources, environment_name};
use crate::metadata::Metadata;
use crate::metadata::migrations::{self, MigrationError, MigrationSet, SchemaStatus, Scope};
use crate::server::{self, Server};
use crate::telemetry;
use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::json;
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
        command: Migrate,
    },
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

#[derive(Debug, Subcommand)]
enum Migrate {
    /// Apply what is pending. Safe to repeat, and to run several times at once.
    Up(MigrateArgs),
    /// Show what has run and what is pending.
    Status(MigrateArgs),
}

#[derive(Debug, Args)]
struct MigrateArgs {
    /// Which migrations: those before a version starts, those after it has proved itself, or both.
    #[arg(long, value_enum, default_value = "all")]
    phase: Scope,
    /// Lines for people or one JSON object.
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
    #[command(flatten)]
    settings: Settings,
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

/// Exit code of a migration run that found another one under way: try again.
const LOCK_HELD: u8 = 20;
/// Exit code of settings that cannot be used, as of a command line that cannot.
const USED_WRONGLY: u8 = 2;

/// Runs the command and gives the exit code: 0 done, 1 failed, 2 used wrongly, 20 another migration is running.
pub async fn run(cli: Cli) -> ExitCode {
    let outcome = match cli.command {
        Command::Serve(settings) => serve(settings).await,
        Command::Migrate {
            command: Migrate::Up(args),
        } => migrate_up(args).await,
        Command::Migrate {
            command: Migrate::Status(args),
        } => migrate_status(args).await,
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
    let locked = failed
        .chain()
        .any(|cause| matches!(cause.downcast_ref(), Some(MigrationError::Locked)));
    let wrongly = failed.chain().any(<dyn std::error::Error>::is::<Problems>);
    match (locked, wrongly) {
        (true, _) => ExitCode::from(LOCK_HELD),
        (_, true) => ExitCode::from(USED_WRONGLY),
        _ => ExitCode::FAILURE,
    }
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

async fn migrate_up(args: MigrateArgs) -> anyhow::Result<()> {
    let config = load(args.settings)?.config;
    let metadata = Metadata::connect(&server::database_target(&config.database)).await?;
    let set = MigrationSet::embedded(metadata.engine());
    let settings = server::migration_settings(&config);
    let report = migrations::up(&metadata, &set, args.phase, &settings).await?;
    let status = migrations::status(&metadata, &set).await?;
    let engine = metadata.engine().as_str();
    metadata.close().await;
    let mut out = std::io::stdout();
    if args.output == Output::Json {
        say(&mut out, &json_status(engine, args.phase, &report.applied, &status));
        return Ok(());
    }
    for version in &report.applied {
        say(&mut out, &format!("applied {version}"));
    }
    say(&mut out, &summary(engine, &status));
    Ok(())
}

async fn migrate_status(args: MigrateArgs) -> anyhow::Result<()> {
    let config = load(args.settings)?.config;
    let metadata = Metadata::connect(&server::database_target(&config.database)).await?;
    let set = MigrationSet::embedded(metadata.engine());
    let status = migrations::status(&metadata, &set).await?;
    let engine = metadata.engine().as_str();
    metadata.close().await;
    let mut out = std::io::stdout();
    if args.output == Output::Json {
        say(&mut out, &json_status(engine, args.phase, &[], &status));
        return Ok(());
    }
    for migration in set.iter() {
        let has_run = status
            .applied
            .iter()
            .any(|applied| applied.version == migration.version);
        let state = if has_run { "applied" } else { "pending" };
        say(
            &mut out,
            &format!(
                "{state}  {}  {:4}  {}",
                migration.version,
                migration.phase.as_str(),
                migration.description
            ),
        );
    }
    say(&mut out, &summary(engine, &status));
    Ok(())
}

fn summary(engine: &str, status: &SchemaStatus) -> String {
    let version = status
        .version()
        .map_or_else(|| "empty".to_owned(), |version| version.to_string());
    let (pre, post) = (status.pending_pre.len(), status.pending_post.len());
    let verdict = match status.ensure_supported() {
        Ok(()) => "this version can serve it".to_owned(),
        Err(unsupported) => unsupported.to_string(),
    };
    format!("{engine} schema {version}: {pre} pre and {post} post migration(s) pending; {verdict}")
}

fn json_status(engine: &str, phase: Scope, applied: &[i64], status: &SchemaStatus) -> String {
    let texts = |versions: &[i64]| versions.iter().map(i64::to_string).collect::<Vec<_>>();
    let pending = match phase {
        Scope::Pre => texts(&status.pending_pre),
        Scope::Post => texts(&status.pending_post),
        Scope::All => [texts(&status.pending_pre), texts(&status.pending_post)].concat(),
    };
    json!({
        "engine": engine,
        "phase": phase.as_str(),
        "applied": texts(applied),
        "schema": status.version().map(|version| version.to_string()),
        "pending": pending,
        "supported": status.ensure_supported().is_ok(),
    })
    .to_string()
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
