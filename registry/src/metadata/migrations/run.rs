//! Running migrations.
//!
//! Each migration is one transaction, which takes the lock (PostgreSQL's advisory lock of a transaction, SQLite's write
//! lock), reads what has run, and commits the migration together with the row that records it. A run that dies loses
//! nothing, and no lock outlives its transaction, also where a pooler hands one session to many.

use super::plan::{self, Applied};
use super::refusal::{self, Refusal};
use super::{Migration, MigrationSet, SchemaStatus, Scope};
use crate::clock::Clock;
use crate::metadata::Metadata;
use crate::metadata::error::Error;
use crate::metadata::server::server;
use crate::metadata::session::{Reader, Tx};
use crate::metadata::statement::{Engine, Row, Statement, Value, statements};
use std::time::Duration;
use tokio::time::Instant;

const LOCK_POLL: Duration = Duration::from_millis(200);

statements! {
    // The number is "berth" in ASCII. On SQLite, BEGIN IMMEDIATE took the lock.
    LOCK = Statement::each(
        "schema_migrations.lock",
        "SELECT 1",
        "SELECT CAST(CASE WHEN pg_try_advisory_xact_lock(422608794728) THEN 1 ELSE 0 END AS bigint)",
    );
    EXISTS = Statement::each(
        "schema_migrations.exists",
        "SELECT count(*) FROM sqlite_master WHERE name = 'schema_migrations'",
        "SELECT count(to_regclass('schema_migrations'))",
    );
    CREATE_TABLE = Statement::each(
        "schema_migrations.create",
        "CREATE TABLE IF NOT EXISTS schema_migrations (
             version INTEGER PRIMARY KEY,
             phase TEXT NOT NULL,
             description TEXT NOT NULL,
             checksum BLOB NOT NULL,
             floor INTEGER,
             applied_at INTEGER NOT NULL
         ) STRICT",
        "CREATE TABLE IF NOT EXISTS schema_migrations (
             version bigint PRIMARY KEY,
             phase text NOT NULL,
             description text NOT NULL,
             checksum bytea NOT NULL,
             floor bigint,
             applied_at bigint NOT NULL
         )",
    );
    APPLIED = Statement::both(
        "schema_migrations.applied",
        "SELECT version, checksum, floor FROM schema_migrations ORDER BY version",
    );
    LIMIT_WAITS = Statement::each(
        "schema_migrations.limit_waits",
        "SELECT $1, $2",
        "SELECT set_config('lock_timeout', $1, true), set_config('statement_timeout', $2, true)",
    );
    SET_PARTITIONS = Statement::each(
        "schema_migrations.set_partitions",
        "SELECT $1",
        "SELECT set_config('berth.partitions', $1, true)",
    );
    RECORD = Statement::both(
        "schema_migrations.record",
        "INSERT INTO schema_migrations (version, phase, description, checksum, floor, applied_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
    );
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// Another run held the lock all the time.
    #[error("another migration run holds the lock; nothing was done, try again when it has ended")]
    Locked,
    /// This release and this database do not go together.
    #[error("{}; {}", .0, .0.remedy())]
    Refused(Refusal),
    /// The table of what has run cannot be read or made.
    #[error("could not {action}")]
    Bookkeeping {
        /// What was tried.
        action: &'static str,
        /// What the database said.
        #[source]
        source: Error,
    },
    /// A migration failed; nothing of it remains, those before it stay.
    #[error("migration {version} ({description}) failed")]
    Failed {
        /// The migration.
        version: i64,
        /// What it does, in words.
        description: Box<str>,
        /// What this run had applied before it, and what stays.
        applied: Vec<i64>,
        /// What the database said.
        #[source]
        source: Error,
    },
}

// Not the error's source: its own words are those of the refusal.
impl From<Refusal> for MigrationError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl MigrationError {
    /// A table was in use for longer than the migration waits: nothing of it remains, and it may be tried again.
    pub fn is_lock_timeout(&self) -> bool {
        matches!(self, Self::Failed { source, .. } if source.is_lock_timeout())
    }
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The versions that this run applied, in order.
    pub applied: Vec<i64>,
}

/// What a run needs besides the migrations.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Hash partitions of each partitioned table, read by the first migration on PostgreSQL.
    pub partitions: u32,
    /// How long to wait for another run to end.
    pub patience: Duration,
    /// How long a statement waits for a table that others use; everybody else queues behind it meanwhile. Zero: for ever.
    pub lock_timeout: Duration,
    /// How long one statement may take. Zero: as long as it takes.
    pub statement_timeout: Duration,
    /// The time recorded with each migration.
    pub clock: Clock,
}

/// How the database stands to the migrations of this program.
///
/// # Errors
/// When the database does not answer.
pub async fn status(metadata: &Metadata, set: &MigrationSet) -> Result<SchemaStatus, MigrationError> {
    let mut reader = metadata.read().await.map_err(bookkeeping(READING))?;
    let applied = applied(&mut reader).await.map_err(bookkeeping(READING))?;
    Ok(plan::status(set, applied))
}

/// Applies what is pending. With nothing pending it changes nothing.
///
/// # Errors
/// `Locked` when another run does not end in time; `Failed` leaves the earlier migrations applied.
pub async fn up(
    metadata: &Metadata,
    set: &MigrationSet,
    scope: Scope,
    settings: &Settings,
) -> Result<Report, MigrationError> {
    ensure_engine(metadata).await?;
    let mut report = Report::default();
    loop {
        let mut tx = lock(metadata, settings.patience).await?;
        let applied = applied(&mut tx).await.map_err(bookkeeping(READING))?;
        let planned = plan::pending(set, &applied, scope)?;
        let Some(migration) = planned.first() else {
            // On return the lock is free.
            tx.roll_back().await;
            return Ok(report);
        };
        if let Err(failed) = apply(tx, migration, settings).await {
            return Err(failed.after(report.applied));
        }
        report.applied.push(migration.version);
    }
}

impl MigrationError {
    fn after(mut self, done: Vec<i64>) -> Self {
        if let Self::Failed { applied, .. } = &mut self {
            *applied = done;
        }
        self
    }
}

/// Refuses a database server that we do not support.
///
/// # Errors
/// `Refused` with what it is, or that it does not say so.
pub async fn ensure_engine(metadata: &Metadata) -> Result<(), MigrationError> {
    if metadata.engine() == Engine::Sqlite {
        return Ok(());
    }
    let asking = bookkeeping("ask the server for its version");
    let mut reader = metadata.read().await.map_err(&asking)?;
    let server = server(&mut reader).await.map_err(asking)?;
    match refusal::of_postgres(server.version) {
        Some(refusal) => Err(refusal.into()),
        None => Ok(()),
    }
}

pub(super) const READING: &str = "read the table of migrations that have run";
const LOCKING: &str = "take the migration lock";
const RECORDING: &str = "record the migration";

pub(super) fn bookkeeping(action: &'static str) -> impl Fn(Error) -> MigrationError {
    move |source| MigrationError::Bookkeeping { action, source }
}

/// A transaction that holds the lock. Polled on PostgreSQL: a blocked waiter would hold a snapshot, for which others wait.
async fn lock(metadata: &Metadata, timeout: Duration) -> Result<Tx, MigrationError> {
    let deadline = Instant::now() + timeout;
    loop {
        let mut tx = match metadata.begin_migration().await {
            Err(error) if error.is_file_locked() => return Err(MigrationError::Locked),
            begun => begun.map_err(bookkeeping(LOCKING))?,
        };
        let taken = tx.one(&LOCK, &[], |row| row.int(0)).await;
        if taken.map_err(bookkeeping(LOCKING))? == Some(1) {
            return Ok(tx);
        }
        drop(tx);
        if Instant::now() >= deadline {
            return Err(MigrationError::Locked);
        }
        tokio::time::sleep(LOCK_POLL).await;
    }
}

async fn applied(reader: &mut Reader) -> Result<Vec<Applied>, Error> {
    let exists = reader.one(&EXISTS, &[], |row| row.int(0)).await?;
    if exists == Some(0) {
        return Ok(Vec::new());
    }
    reader.all(&APPLIED, &[], one_applied).await
}

fn one_applied(row: &Row<'_>) -> Result<Applied, sqlx::Error> {
    Ok(Applied {
        version: row.int(0)?,
        checksum: row.bytes(1)?,
        floor: row.optional_int(2)?,
    })
}

/// The migration and the row that records it, in the transaction that holds the lock.
async fn apply(mut tx: Tx, migration: &Migration, settings: &Settings) -> Result<(), MigrationError> {
    let failed = |source| MigrationError::Failed {
        version: migration.version,
        description: migration.description.as_str().into(),
        applied: Vec::new(),
        source,
    };
    let partitions = settings.partitions.to_string();
    tx.one(&SET_PARTITIONS, &[Value::Text(&partitions)], |row| row.text(0))
        .await
        .map_err(bookkeeping("tell the migration the number of partitions"))?;
    limit_waits(&mut tx, settings).await?;
    tx.run_script(migration.sql.clone()).await.map_err(failed)?;
    record(&mut tx, migration, settings.clock.now())
        .await
        .map_err(bookkeeping(RECORDING))?;
    tx.commit().await.map_err(failed)
}

async fn limit_waits(tx: &mut Tx, settings: &Settings) -> Result<(), MigrationError> {
    let limit = |limit: Duration| format!("{}ms", limit.as_millis());
    let (locks, statements) = (limit(settings.lock_timeout), limit(settings.statement_timeout));
    let values = [Value::Text(&locks), Value::Text(&statements)];
    let set = tx.one(&LIMIT_WAITS, &values, |row| row.text(0)).await;
    set.map(drop).map_err(bookkeeping("limit how long the migration waits"))
}

async fn record(tx: &mut Tx, migration: &Migration, now: i64) -> Result<(), Error> {
    let values = [
        Value::Int(migration.version),
        Value::Text(migration.phase.as_str()),
        Value::Text(&migration.description),
        Value::Bytes(&migration.checksum),
        Value::OptionalInt(migration.floor),
        Value::Int(now),
    ];
    tx.execute(&CREATE_TABLE, &[]).await?;
    tx.execute(&RECORD, &values).await.map(drop)
}
