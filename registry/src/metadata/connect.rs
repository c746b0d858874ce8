//! Opening the database, and handing out readers and transactions.

use super::error::Error;
use super::session::{Reader, Tx};
use super::statement::Engine;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{PgPool, SqlitePool};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long SQLite waits for another process (a `migrate` beside a server) before it says busy.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
const SQLITE_READERS: u32 = 4;
const STATEMENT_CACHE: usize = 256;

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
    /// The most connections that this process opens.
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

#[derive(Clone)]
enum Pools {
    /// One writer, so that nobody waits inside SQLite's lock, and readers that never wait for it.
    Sqlite { writer: SqlitePool, readers: SqlitePool },
    Postgres {
        pool: PgPool,
        options: Box<PgConnectOptions>,
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
        // Boxed, here and below: the future of a pool has room for a whole connection set-up.
        let acquired = match &self.pools {
            Pools::Sqlite { readers, .. } => Box::pin(readers.acquire()).await.map(Reader::sqlite),
            Pools::Postgres { pool, .. } => Box::pin(pool.acquire()).await.map(Reader::postgres),
        };
        acquired.map_err(|source| Error::of("connect", source))
    }

    /// Begins a transaction that may write. No call to storage or to another host while it is open.
    ///
    /// # Errors
    /// `Unavailable` when no connection comes free in time.
    pub async fn begin(&self) -> Result<Tx, Error> {
        let begun = match &self.pools {
            Pools::Sqlite { writer, .. } => Box::pin(writer.begin_with("BEGIN IMMEDIATE")).await.map(Tx::sqlite),
            Pools::Postgres { pool, .. } => Box::pin(pool.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED"))
                .await
                .map(Tx::postgres),
        };
        begun.map_err(|source| Error::of("begin", source))
    }

    /// Asks the database for a sign of life.
    ///
    /// # Errors
    /// As any statement.
    pub async fn ping(&self) -> Result<(), Error> {
        let mut reader = self.read().await?;
        super::repositories::ping(&mut reader).await
    }

    /// Closes every connection, and on SQLite folds the write-ahead log into the file.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Pools::Postgres { pool, .. } => pool.close().await,
        }
    }

    pub(super) fn sqlite_writer(&self) -> Option<&SqlitePool> {
        match &self.pools {
            Pools::Sqlite { writer, .. } => Some(writer),
            Pools::Postgres { .. } => None,
        }
    }

    /// How to open a session of one's own, outside the pool: session locks do not survive a pool.
    pub(super) fn postgres_options(&self) -> Option<&PgConnectOptions> {
        match &self.pools {
            Pools::Sqlite { .. } => None,
            Pools::Postgres { options, .. } => Some(options),
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
        .max_connections(SQLITE_READERS)
        .connect_with(options.read_only(true))
        .await
        .map_err(open)?;
    Ok(Pools::Sqlite { writer, readers })
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
    let target = format!(
        "{}:{}/{}",
        options.get_host(),
        options.get_port(),
        options.get_database().unwrap_or("")
    );
    let pool = PgPoolOptions::new()
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .max_connections(settings.max_connections)
        .connect_with(options.clone())
        .await
        .map_err(|source| ConnectError::Open {
            engine: "postgres",
            target,
            source,
        })?;
    Ok(Pools::Postgres {
        pool,
        options: Box::new(options),
    })
}
