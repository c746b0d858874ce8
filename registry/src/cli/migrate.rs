//! `berth-registry migrate`, `preflight` and `contract`: a Job's commands, whose exit codes and JSON the operator reads.

use super::termination::tell;
use super::{Output, Settings, load, say};
use crate::config::Config;
use crate::metadata::Metadata;
use crate::metadata::migrations::{
    self, Contract, MigrationError, MigrationSet, Phase, Preflight, Problem, Report, SchemaStatus, Scope, ids,
};
use crate::{release, server, telemetry};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Another migration is running: try again.
const LOCKED: u8 = 20;
/// A table was in use for longer than the migration waits: try again.
const LOCK_TIMEOUT: u8 = 21;
/// This release and this database do not go together: only a person can change that.
const REFUSED: u8 = 40;
/// Some of the run's migrations took effect and one failed: a person should look.
const PARTLY_DONE: u8 = 50;

#[derive(Debug, Subcommand)]
pub(super) enum Migrate {
    /// Apply what is pending. Safe to repeat, and to run several times at once.
    ///
    /// Exit codes: 0 done; 20 another run holds the lock and 21 a table was in use for too long (both: try again); 40 this version and this
    /// database do not go together; 50 some migrations took effect and a later one failed; 1 anything else, with nothing done.
    Up(UpArgs),
    /// Show what has run and what is pending.
    Status(StatusArgs),
}

#[derive(Debug, Args)]
pub(super) struct UpArgs {
    /// How long to wait for another run to end.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "1m")]
    wait: Duration,
    /// How long a statement waits for a table that others use: they queue behind it meanwhile. 0s: for ever. (PostgreSQL)
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "5s")]
    lock_timeout: Duration,
    /// How long one statement may take. 0s: as long as it takes. (PostgreSQL)
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "0s")]
    statement_timeout: Duration,
    /// Write the result to this file, too, as JSON [default: /dev/termination-log, where there is one].
    #[arg(long, value_name = "FILE")]
    termination_log: Option<PathBuf>,
    #[command(flatten)]
    shown: StatusArgs,
}

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Which migrations: those before a version starts, those after it has proved itself, or both.
    #[arg(long, value_enum, default_value = "all")]
    phase: Scope,
    /// Lines for people or one JSON object.
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Args)]
pub(super) struct PreflightArgs {
    /// Lines for people or one JSON object.
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
    /// Write the result to this file, too, as JSON [default: /dev/termination-log, where there is one].
    #[arg(long, value_name = "FILE")]
    termination_log: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

/// This version must not go onto this database.
#[derive(Debug, thiserror::Error)]
#[error("this version must not go onto this database: {0}")]
struct Unfit(String);

/// The exit code of a command that failed, where it says more than that it did.
pub(super) fn exit_code(failed: &anyhow::Error) -> Option<u8> {
    if failed.is::<Unfit>() {
        return Some(REFUSED);
    }
    let failed = failed
        .chain()
        .find_map(|cause| cause.downcast_ref::<MigrationError>())?;
    match failed {
        MigrationError::Locked => Some(LOCKED),
        MigrationError::Refused(_) => Some(REFUSED),
        failed if failed.is_lock_timeout() => Some(LOCK_TIMEOUT),
        MigrationError::Failed { applied, .. } if !applied.is_empty() => Some(PARTLY_DONE),
        MigrationError::Failed { .. } | MigrationError::Bookkeeping { .. } => None,
    }
}

pub(super) async fn migrate(command: Migrate) -> anyhow::Result<()> {
    match command {
        Migrate::Up(args) => up(args).await,
        Migrate::Status(args) => status(args).await,
    }
}

async fn up(args: UpArgs) -> anyhow::Result<()> {
    let config = load(args.shown.settings)?.config;
    let settings = migrations::Settings {
        patience: args.wait,
        lock_timeout: args.lock_timeout,
        statement_timeout: args.statement_timeout,
        ..server::migration_settings(&config)
    };
    let began = Instant::now();
    let mut run = Run::of(args.shown.phase);
    let outcome = run.carry_out(&config, &settings).await;
    run.took = began.elapsed();
    let mut out = std::io::stdout();
    let told = run.told(outcome.as_ref().err());
    tell(args.termination_log, &told);
    match (args.shown.output, &run.after) {
        (Output::Json, _) => say(&mut out, &told.to_string()),
        (Output::Text, Some(after)) if outcome.is_ok() => {
            for version in &run.applied {
                say(&mut out, &format!("applied {version}"));
            }
            say(&mut out, &summary(run.engine, after));
        }
        (Output::Text, _) => {}
    }
    outcome
}

/// One run, as far as it came.
struct Run {
    phase: Scope,
    engine: &'static str,
    before: Option<i64>,
    after: Option<SchemaStatus>,
    applied: Vec<i64>,
    took: Duration,
}

impl Run {
    fn of(phase: Scope) -> Self {
        Self {
            phase,
            engine: "",
            before: None,
            after: None,
            applied: Vec::new(),
            took: Duration::ZERO,
        }
    }

    async fn carry_out(&mut self, config: &Config, settings: &migrations::Settings) -> anyhow::Result<()> {
        let metadata = Metadata::connect(&server::database_target(&config.database)).await?;
        self.engine = metadata.engine().as_str();
        let set = MigrationSet::embedded(metadata.engine());
        self.before = migrations::status(&metadata, &set).await?.version();
        let done = migrations::up(&metadata, &set, self.phase, settings).await;
        match &done {
            Ok(Report { applied }) | Err(MigrationError::Failed { applied, .. }) => self.applied.clone_from(applied),
            Err(_) => {}
        }
        self.after = migrations::status(&metadata, &set).await.ok();
        metadata.close().await;
        Ok(done.map(drop)?)
    }

    fn told(&self, failed: Option<&anyhow::Error>) -> Value {
        let level = |version: Option<i64>| version.map(|version| version.to_string());
        let mut told = json!({
            "engine": self.engine,
            "phase": self.phase.as_str(),
            "applied": ids(self.applied.iter().copied()),
            "level_before": level(self.before),
            "duration_ms": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
        });
        if let Some(after) = &self.after {
            told["level_after"] = json!(level(after.version()));
            told["schema"] = json!(level(after.version()));
            told["pending"] = json!(pending(self.phase, after));
            told["supported"] = json!(after.ensure_supported().is_ok());
        }
        if let Some(failed) = failed {
            told["error"] = json!(telemetry::causes(failed.as_ref()));
        }
        told
    }
}

async fn status(args: StatusArgs) -> anyhow::Result<()> {
    let config = load(args.settings)?.config;
    let metadata = Metadata::connect(&server::database_target(&config.database)).await?;
    let set = MigrationSet::embedded(metadata.engine());
    let status = migrations::status(&metadata, &set).await?;
    let engine = metadata.engine().as_str();
    metadata.close().await;
    let mut out = std::io::stdout();
    if args.output == Output::Json {
        let told = json!({
            "engine": engine,
            "phase": args.phase.as_str(),
            "applied": [],
            "schema": status.version().map(|version| version.to_string()),
            "pending": pending(args.phase, &status),
            "supported": status.ensure_supported().is_ok(),
        });
        say(&mut out, &told.to_string());
        return Ok(());
    }
    for migration in set.iter() {
        let has_run = status.applied.iter().any(|one| one.version == migration.version);
        let state = if has_run { "applied" } else { "pending" };
        let (version, phase) = (migration.version, migration.phase.as_str());
        say(
            &mut out,
            &format!("{state}  {version}  {phase:4}  {}", migration.description),
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

fn pending(phase: Scope, status: &SchemaStatus) -> Vec<String> {
    let of = |phase: Phase| match phase {
        Phase::Pre => ids(status.pending_pre.iter().copied()),
        Phase::Post => ids(status.pending_post.iter().copied()),
    };
    match phase {
        Scope::Pre => of(Phase::Pre),
        Scope::Post => of(Phase::Post),
        Scope::All => [of(Phase::Pre), of(Phase::Post)].concat(),
    }
}

/// What this version promises, without a database: that of PostgreSQL, and SQLite's is the same.
pub(super) fn contract() -> anyhow::Result<()> {
    let set = MigrationSet::embedded(crate::metadata::Engine::Postgres);
    let contract = Contract::of(&set, release::version());
    say(&mut std::io::stdout(), &serde_json::to_string_pretty(&contract)?);
    Ok(())
}

pub(super) async fn preflight(args: PreflightArgs) -> anyhow::Result<()> {
    let config = load(args.settings)?.config;
    let found = find_out(&config).await;
    let against = found.as_ref().ok().and_then(|found| against(&found.problems));
    let told = match &found {
        Ok(found) => {
            let mut told = json!(found);
            if let Some(Unfit(why)) = &against {
                told["error"] = json!(why);
            }
            told
        }
        Err(failed) => json!({"version": release::version(), "error": telemetry::causes(failed.as_ref())}),
    };
    tell(args.termination_log, &told);
    let mut out = std::io::stdout();
    match (args.output, &found) {
        (Output::Json, _) => say(&mut out, &told.to_string()),
        (Output::Text, Ok(found)) => show(found),
        (Output::Text, Err(_)) => {}
    }
    found?;
    against.map_or(Ok(()), |against| Err(against.into()))
}

/// All that speaks against it, in one text.
fn against(problems: &[Problem]) -> Option<Unfit> {
    let told = problems
        .iter()
        .map(|problem| format!("{}; {}", problem.message, problem.remedy));
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| Unfit(told.join(". ")))
}

async fn find_out(config: &Config) -> anyhow::Result<Preflight> {
    let metadata = Metadata::connect(&server::database_target(&config.database)).await?;
    let set = MigrationSet::embedded(metadata.engine());
    let found = migrations::preflight(&metadata, &set, release::version()).await;
    metadata.close().await;
    Ok(found?)
}

fn show(found: &Preflight) {
    let mut out = std::io::stdout();
    let (database, version) = (&found.database, &found.contract.version);
    let level = database.level.as_deref().unwrap_or("empty");
    let (pre, post) = (database.pending_pre.len(), database.pending_post.len());
    let line = format!(
        "version {version} on {} schema {level}: {pre} pre and {post} post migration(s) pending",
        database.engine
    );
    say(&mut out, &line);
    if found.problems.is_empty() {
        say(&mut out, "nothing speaks against it");
    }
}
