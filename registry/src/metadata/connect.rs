//! Opening the database, and handing out readers and transactions.

use super::error::Error;
use super::session::{Reader, Tx};
use super::statement::Engine;
use futures::future::BoxFuture;
use sqlx::pool::PoolConnectionMetadata;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool, SqlitePool};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long SQLite waits for another process (a `migrate` beside a server) before it says busy.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
const SQLITE_READERS: u32 = 4;
const STATEMENT_CACHE: usize = 256;
/// A connection that rested longer is asked for a sign of life before a request gets it: the server may have restarted.
const FRESH: Duration = Duration::from_secs(5);
const SIGN_OF_LIFE_TIMEOUT: Duration = Duration::from_secs(2);

const BEGIN_SQLITE: &str = "BEGIN IMMEDIATE";
/// Bounds that hold for one transaction only: a session's settings get lost, or leak, behind PgBouncer.
const BEGIN_POSTGRES: &str = "BEGIN ISOLATION LEVEL READ COMMITTED;
    SET LOCAL lock_timeout = '5s';
    SET LOCAL statement_timeout = '30s';
    SET LOCAL idle_in_transaction_session_timeout = '60s'";
/// A migration may take long once it has its locks, and while it waits for one, everybody queues behind it.
const BEGIN_POSTGRES_MIGRATION: &str = "BEGIN ISOLATION LEVEL READ COMMITTED;
    SET LOCAL lock_timeout = '5s';
    SET LOCAL statement_timeout = 0;
    SET LOCAL idle_in_transaction_session_timeout = '60s'";

/// Where the rows are.
#[derive(Debug, Clone)]
pub enum Target {
    /// A file, made when it does not exist.
    Sqlite(PathBuf),
    /// A server.
    Postgres(PostgresOptions),
}

impl Target {
    /// The engine behind the target.
    pub fn engine(&self) -> Engine {
        match self {
            Self::Sqlite(_) => Engine::Sqlite,
            Self::Postgres(_) => Engine::Postgres,
        }
    }
}

/// How to reach a PostgreSQL server.
#[derive(Clone)]
pub struct PostgresOptions {
    /// `postgres://host:port/name?sslmode=…`
    pub url: String,
    /// Wins over the URL's.
    pub username: Option<String>,
    /// Wins over the URL's.
    pub password: Option<String>,
    /// PEM file of the certificate authority for `sslmode=verify-ca` and `verify-full`.
    pub ca_file: Option<PathBuf>,
    /// The most connections that requests get; one more is for probes, and one for migrations while they run.
    pub max_connections: u32,
}

impl std::fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}

/// The database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL is not one of PostgreSQL.
    #[error("database.url is not a PostgreSQL URL")]
    Url(#[source] sqlx::Error),
    /// The folder of the database file cannot be made.
    #[error("could not make the folder {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file or the server does not answer, or refuses us.
    #[error("could not open the {engine} database {target}")]
    Open {
        /// `sqlite` or `postgres`.
        engine: &'static str,
        /// The file, or host, port and name: never a password.
        target: String,
        /// What it said.
        #[source]
        source: sqlx::Error,
    },
}

/// The connections to the database. Cheap to clone.
#[derive(Clone)]
pub struct Metadata {
    pools: Pools,
}

/// Besides those for requests, each engine has a connection for probes, so that a busy server does not look dead, and
/// one for migrations. Both are opened when they are needed.
#[derive(Clone)]
enum Pools {
    /// One writer, so that nobody waits inside SQLite's lock, and readers that never wait for it.
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
        probe: SqlitePool,
        migrations: SqlitePool,
    },
    Postgres {
        requests: PgPool,
        probe: PgPool,
        migrations: PgPool,
    },
}

impl std::fmt::Debug for Metadata {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Metadata").field(&self.engine()).finish()
    }
}

impl Metadata {
    /// Opens the database. It may be empty: see [`super::migrations`].
    ///
    /// # Errors
    /// When the file or the server cannot be opened; the text names the target and never a password.
    pub async fn connect(target: &Target) -> Result<Self, ConnectError> {
        let pools = match target {
            Target::Sqlite(path) => connect_sqlite(path).await?,
            Target::Postgres(options) => connect_postgres(options).await?,
        };
        Ok(Self { pools })
    }

    /// The engine that is connected.
    pub fn engine(&self) -> Engine {
        match self.pools {
            Pools::Sqlite { .. } => Engine::Sqlite,
            Pools::Postgres { .. } => Engine::Postgres,
        }
    }

    /// A connection to read with; what it reads is the primary's newest committed state.
    ///
    /// # Errors
    /// `Unavailable` when no connection comes free in time.
    pub async fn read(&self) -> Result<Reader, Error> {
        match &self.pools {
            Pools::Sqlite { readers, .. } => Reader::sqlite(readers).await,
            Pools::Postgres { requests, .. } => Reader::postgres(requests).await,
        }
    }

    /// Begins a transaction that may write. No call to storage or to another host while it is open.
    ///
    /// # Errors
    /// `Unavailable` when no connection comes free in time.
    pub async fn begin(&self) -> Result<Tx, Error> {
        match &self.pools {
            Pools::Sqlite { writer, .. } => Tx::sqlite(writer, BEGIN_SQLITE).await,
            Pools::Postgres { requests, .. } => Tx::postgres(requests, BEGIN_POSTGRES).await,
        }
    }

    /// Begins a transaction for statements that may take long and need not be logged for it.
    pub(super) async fn begin_migration(&self) -> Result<Tx, Error> {
        match &self.pools {
            Pools::Sqlite { migrations, .. } => Tx::sqlite(migrations, BEGIN_SQLITE).await,
            Pools::Postgres { migrations, .. } => Tx::postgres(migrations, BEGIN_POSTGRES_MIGRATION).await,
        }
    }

    /// Asks the database for a sign of life, on a connection that requests cannot use up.
    ///
    /// # Errors
    /// As any statement.
    pub async fn ping(&self) -> Result<(), Error> {
        let mut reader = match &self.pools {
            Pools::Sqlite { probe, .. } => Reader::sqlite(probe).await?,
            Pools::Postgres { probe, .. } => Reader::postgres(probe).await?,
        };
        super::repositories::ping(&mut reader).await
    }

    /// Closes every connection, and on SQLite folds the write-ahead log into the file.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Sqlite {
                writer,
                readers,
                probe,
                migrations,
            } => {
                // The last to close does the folding: it must be one that may write.
                for pool in [probe, readers, migrations, writer] {
                    pool.close().await;
                }
            }
            Pools::Postgres {
                requests,
                probe,
                migrations,
            } => {
                for pool in [probe, migrations, requests] {
                    pool.close().await;
                }
            }
        }
    }
}

async fn connect_sqlite(path: &Path) -> Result<Pools, ConnectError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|source| ConnectError::Folder {
            path: folder.to_path_buf(),
            source,
        })?;
    }
    let open = |source| ConnectError::Open {
        engine: "sqlite",
        target: path.display().to_string(),
        source,
    };
    // FULL: an acknowledged commit has been fsynced. Foreign keys are off in SQLite unless asked for.
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .statement_cache_capacity(STATEMENT_CACHE);
    let pool = SqlitePoolOptions::new()
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None);
    let writer = pool
        .clone()
        .max_connections(1)
        .connect_with(options.clone())
        .await
        .map_err(open)?;
    let readers = pool
        .clone()
        .max_connections(SQLITE_READERS)
        .connect_with(options.clone().read_only(true))
        .await
        .map_err(open)?;
    let single = pool.max_connections(1);
    Ok(Pools::Sqlite {
        writer,
        readers,
        probe: single.clone().connect_lazy_with(options.clone().read_only(true)),
        migrations: single.connect_lazy_with(options.disable_statement_logging()),
    })
}

async fn connect_postgres(settings: &PostgresOptions) -> Result<Pools, ConnectError> {
    let mut options = PgConnectOptions::from_str(&settings.url)
        .map_err(ConnectError::Url)?
        .application_name("berth-registry")
        .statement_cache_capacity(STATEMENT_CACHE);
    if let Some(username) = &settings.username {
        options = options.username(username);
    }
    if let Some(password) = &settings.password {
        options = options.password(password);
    }
    if let Some(ca_file) = &settings.ca_file {
        options = options.ssl_root_cert(ca_file);
        // A named authority is meant to be checked.
        if matches!(options.get_ssl_mode(), PgSslMode::Prefer) {
            options = options.ssl_mode(PgSslMode::VerifyFull);
        }
    }
    // Once without the pool: it tries again until its time is over, and then only says that it is.
    let first = tokio::time::timeout(ACQUIRE_TIMEOUT, PgConnection::connect_with(&options)).await;
    let first = first.map_err(|_elapsed| sqlx::Error::PoolTimedOut).flatten();
    first
        .map_err(|source| open(&options, source))?
        .close()
        .await
        .map_err(|source| open(&options, source))?;
    let pool = PgPoolOptions::new()
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(is_alive)
        .after_release(is_settled);
    let requests = pool
        .clone()
        .max_connections(settings.max_connections)
        .connect_with(options.clone())
        .await
        .map_err(|source| open(&options, source))?;
    let single = pool.max_connections(1);
    Ok(Pools::Postgres {
        requests,
        probe: single.clone().connect_lazy_with(options.clone()),
        migrations: single.connect_lazy_with(options.disable_statement_logging()),
    })
}

/// Names the host, port and database, never the role's password.
fn open(options: &PgConnectOptions, source: sqlx::Error) -> ConnectError {
    let database = options.get_database().unwrap_or_default();
    let target = format!("{}:{}/{database}", options.get_host(), options.get_port());
    ConnectError::Open {
        engine: "postgres",
        target,
        source,
    }
}

/// False for a connection that broke while nobody used it.
fn is_alive(
    connection: &mut PgConnection,
    PoolConnectionMetadata { idle_for, .. }: PoolConnectionMetadata,
) -> BoxFuture<'_, Result<bool, sqlx::Error>> {
    Box::pin(async move { Ok(idle_for <= FRESH || answers(connection).await) })
}

/// False when a transaction that was given up cannot be rolled back in time: closing its connection does that, too.
fn is_settled(connection: &mut PgConnection, _: PoolConnectionMetadata) -> BoxFuture<'_, Result<bool, sqlx::Error>> {
    Box::pin(async move { Ok(!connection.should_flush() || answers(connection).await) })
}

async fn answers(connection: &mut PgConnection) -> bool {
    let answer = tokio::time::timeout(SIGN_OF_LIFE_TIMEOUT, connection.ping()).await;
    matches!(answer, Ok(Ok(())))
}
