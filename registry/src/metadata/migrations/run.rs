//! Running migrations.
//!
//! Only one run at a time: PostgreSQL's session advisory lock, polled, because a blocked waiter would hold a snapshot
//! that `CREATE INDEX CONCURRENTLY` of the holder waits for; SQLite's write lock. Each migration commits together with
//! the row that records it, and whoever gets the lock reads that table again, so a run that dies loses nothing.

use super::plan::{self, Applied, PlanError};
use super::{Migration, MigrationSet, SchemaStatus, Scope};
use crate::clock::Clock;
use crate::metadata::{Engine, Metadata};
use sqlx::{Connection, Executor, PgConnection, Row, SqliteConnection};
use std::time::Duration;

/// The key of the advisory lock: "berth" in ASCII.
const LOCK: i64 = 0x62_6572_7468;
const LOCK_POLL: Duration = Duration::from_millis(200);

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// Another run held the lock all the time.
    #[error("another migration run holds the lock; nothing was done, try again when it has ended")]
    Locked,
    /// The run cannot begin.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The table of what has run cannot be read or made.
    #[error("could not {action}")]
    Bookkeeping {
        /// What was tried.
        action: &'static str,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
    /// A migration failed; nothing of it remains, those before it stay.
    #[error("migration {version} ({description}) failed")]
    Failed {
        /// The migration.
        version: i64,
        /// What it does, in words.
        description: String,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
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
    pub lock_timeout: Duration,
    /// The time recorded with each migration.
    pub clock: Clock,
}

const CREATE_TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (
    version bigint PRIMARY KEY,
    phase text NOT NULL,
    description text NOT NULL,
    checksum bytea NOT NULL,
    floor bigint,
    applied_at bigint NOT NULL
)";
const READ: &str = "SELECT version, checksum, floor FROM schema_migrations ORDER BY version";
const RECORD: &str = "INSERT INTO schema_migrations (version, phase, description, checksum, floor, applied_at)
    VALUES ($1, $2, $3, $4, $5, $6)";

/// How the database stands to the migrations of this program.
///
/// # Errors
/// When the database does not answer.
pub async fn status(metadata: &Metadata, set: &MigrationSet) -> Result<SchemaStatus, MigrationError> {
    let applied = match metadata.postgres_options() {
        Some(options) => {
            let mut connection = connect(options).await?;
            let applied = read_postgres(&mut connection).await;
            close(connection).await;
            applied?
        }
        None => read_sqlite(metadata).await?,
    };
    Ok(plan::status(set, applied))
}

/// Applies what is pending. With nothing pending it only reads.
///
/// # Errors
/// `Locked` when another run does not end in time; `Failed` leaves the earlier migrations applied.
pub async fn up(
    metadata: &Metadata,
    set: &MigrationSet,
    scope: Scope,
    settings: &Settings,
) -> Result<Report, MigrationError> {
    match metadata.engine() {
        Engine::Sqlite => up_sqlite(metadata, set, scope, settings).await,
        Engine::Postgres => up_postgres(metadata, set, scope, settings).await,
    }
}

fn bookkeeping(action: &'static str) -> impl Fn(sqlx::Error) -> MigrationError {
    move |source| MigrationError::Bookkeeping { action, source }
}

fn failed(migration: &Migration) -> impl Fn(sqlx::Error) -> MigrationError {
    let (version, description) = (migration.version, migration.description.clone());
    move |source| MigrationError::Failed {
        version,
        description: description.clone(),
        source,
    }
}

async fn connect(options: &sqlx::postgres::PgConnectOptions) -> Result<PgConnection, MigrationError> {
    PgConnection::connect_with(options)
        .await
        .map_err(bookkeeping("open a session of its own"))
}

async fn close(connection: PgConnection) {
    // The server drops the session's lock with the connection, closed in good order or not.
    drop(connection.close().await);
}

async fn read_postgres(connection: &mut PgConnection) -> Result<Vec<Applied>, MigrationError> {
    let action = "read the table of migrations that have run";
    let exists = sqlx::query("SELECT to_regclass('schema_migrations') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await
        .and_then(|row| row.try_get::<bool, _>(0))
        .map_err(bookkeeping(action))?;
    if !exists {
        return Ok(Vec::new());
    }
    let rows = sqlx::query(READ)
        .fetch_all(connection)
        .await
        .map_err(bookkeeping(action))?;
    rows.iter()
        .map(applied)
        .collect::<Result<_, _>>()
        .map_err(bookkeeping(action))
}

async fn read_sqlite(metadata: &Metadata) -> Result<Vec<Applied>, MigrationError> {
    let action = "read the table of migrations that have run";
    let Some(pool) = metadata.sqlite_writer() else {
        return Ok(Vec::new());
    };
    let mut connection = pool.acquire().await.map_err(bookkeeping(action))?;
    read_sqlite_on(&mut connection).await.map_err(bookkeeping(action))
}

async fn read_sqlite_on(connection: &mut SqliteConnection) -> Result<Vec<Applied>, sqlx::Error> {
    let exists = sqlx::query("SELECT count(*) FROM sqlite_master WHERE name = 'schema_migrations'")
        .fetch_one(&mut *connection)
        .await?
        .try_get::<i64, _>(0)?;
    if exists == 0 {
        return Ok(Vec::new());
    }
    sqlx::query(READ)
        .fetch_all(connection)
        .await?
        .iter()
        .map(applied)
        .collect()
}

fn applied<R>(row: &R) -> Result<Applied, sqlx::Error>
where
    R: Row,
    usize: sqlx::ColumnIndex<R>,
    i64: for<'d> sqlx::Decode<'d, R::Database> + sqlx::Type<R::Database>,
    Vec<u8>: for<'d> sqlx::Decode<'d, R::Database> + sqlx::Type<R::Database>,
    Option<i64>: for<'d> sqlx::Decode<'d, R::Database> + sqlx::Type<R::Database>,
{
    Ok(Applied {
        version: row.try_get(0)?,
        checksum: row.try_get(1)?,
        floor: row.try_get(2)?,
    })
}

async fn up_sqlite(
    metadata: &Metadata,
    set: &MigrationSet,
    scope: Scope,
    settings: &Settings,
) -> Result<Report, MigrationError> {
    let mut report = Report::default();
    let Some(pool) = metadata.sqlite_writer() else {
        return Ok(report);
    };
    loop {
        let mut tx = pool
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(bookkeeping("take SQLite's write lock"))?;
        let record = bookkeeping("record the migration");
        let applied = read_sqlite_on(&mut tx).await.map_err(&record)?;
        let planned = plan::pending(set, &applied, scope)?;
        let Some(migration) = planned.first() else {
            return Ok(report);
        };
        tx.execute(CREATE_TABLE_SQLITE).await.map_err(&record)?;
        tx.execute(sqlx::raw_sql(migration.sql.clone()))
            .await
            .map_err(failed(migration))?;
        bind(sqlx::query(RECORD), migration, settings)
            .execute(&mut *tx)
            .await
            .map_err(&record)?;
        tx.commit().await.map_err(failed(migration))?;
        report.applied.push(migration.version);
    }
}

const CREATE_TABLE_SQLITE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (
    version INTEGER PRIMARY KEY,
    phase TEXT NOT NULL,
    description TEXT NOT NULL,
    checksum BLOB NOT NULL,
    floor INTEGER,
    applied_at INTEGER NOT NULL
) STRICT";

async fn up_postgres(
    metadata: &Metadata,
    set: &MigrationSet,
    scope: Scope,
    settings: &Settings,
) -> Result<Report, MigrationError> {
    let Some(options) = metadata.postgres_options() else {
        return Ok(Report::default());
    };
    let mut connection = connect(options).await?;
    let done = match lock(&mut connection, settings.lock_timeout).await {
        Ok(()) => up_locked(&mut connection, set, scope, settings).await,
        Err(refused) => Err(refused),
    };
    close(connection).await;
    done
}

async fn lock(connection: &mut PgConnection, timeout: Duration) -> Result<(), MigrationError> {
    let deadline = tokio::time::Instant::now() + timeout;
    loop {
        let taken = sqlx::query("SELECT pg_try_advisory_lock($1)")
            .bind(LOCK)
            .fetch_one(&mut *connection)
            .await
            .and_then(|row| row.try_get::<bool, _>(0))
            .map_err(bookkeeping("take the migration lock"))?;
        if taken {
            return Ok(());
        }
        if tokio::time::Instant::now() >= deadline {
            return Err(MigrationError::Locked);
        }
        tokio::time::sleep(LOCK_POLL).await;
    }
}

async fn up_locked(
    connection: &mut PgConnection,
    set: &MigrationSet,
    scope: Scope,
    settings: &Settings,
) -> Result<Report, MigrationError> {
    let applied = read_postgres(connection).await?;
    let planned = plan::pending(set, &applied, scope)?;
    if planned.is_empty() {
        return Ok(Report::default());
    }
    connection
        .execute(CREATE_TABLE)
        .await
        .map_err(bookkeeping("make the table of migrations that have run"))?;
    sqlx::query("SELECT set_config('berth.partitions', $1, false)")
        .bind(settings.partitions.to_string())
        .execute(&mut *connection)
        .await
        .map_err(bookkeeping("tell the migrations the number of partitions"))?;
    let mut report = Report::default();
    for migration in planned {
        apply_postgres(connection, migration, settings)
            .await
            .map_err(failed(migration))?;
        report.applied.push(migration.version);
    }
    Ok(report)
}

async fn apply_postgres(
    connection: &mut PgConnection,
    migration: &Migration,
    settings: &Settings,
) -> Result<(), sqlx::Error> {
    if !migration.in_transaction {
        connection.execute(sqlx::raw_sql(migration.sql.clone())).await?;
        bind(sqlx::query(RECORD), migration, settings)
            .execute(connection)
            .await?;
        return Ok(());
    }
    let mut tx = connection.begin().await?;
    tx.execute(sqlx::raw_sql(migration.sql.clone())).await?;
    bind(sqlx::query(RECORD), migration, settings).execute(&mut *tx).await?;
    tx.commit().await
}

fn bind<'q, DB: sqlx::Database>(
    record: sqlx::query::Query<'q, DB, <DB as sqlx::Database>::Arguments>,
    migration: &Migration,
    settings: &Settings,
) -> sqlx::query::Query<'q, DB, <DB as sqlx::Database>::Arguments>
where
    i64: for<'e> sqlx::Encode<'e, DB> + sqlx::Type<DB>,
    Option<i64>: for<'e> sqlx::Encode<'e, DB> + sqlx::Type<DB>,
    String: for<'e> sqlx::Encode<'e, DB> + sqlx::Type<DB>,
    Vec<u8>: for<'e> sqlx::Encode<'e, DB> + sqlx::Type<DB>,
{
    record
        .bind(migration.version)
        .bind(migration.phase.as_str().to_owned())
        .bind(migration.description.clone())
        .bind(migration.checksum.clone())
        .bind(migration.floor)
        .bind(settings.clock.now())
}
