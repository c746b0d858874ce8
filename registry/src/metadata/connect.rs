//! Opening the database, and handing out readers and transactions.

use super::blobs::Granted;
use super::error::Error;
use super::known::Known;
use super::manifests::StoredManifest;
use super::postgres::Pool;
use super::referrers::{Found, Wanted};
use super::repositories::{self, RepositoryKey};
use super::session::{Durability, Reader, Tx};
use super::snapshots::Snapshots;
use super::sqlite::{Readers, Writer};
use super::standing::{Clock, NamesPage, Standing};
use super::statement::Engine;
use crate::staging;
use crate::syncs::Syncs;
use oci::{Digest, Reference, RepositoryName};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection, PgConnection};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const SQLITE_READERS: usize = 4;
const STATEMENT_CACHE: usize = 256;

/// Bounds that hold for one transaction only: a session's settings get lost, or leak, behind PgBouncer.
const BEGIN_POSTGRES: &str = "BEGIN ISOLATION LEVEL READ COMMITTED;
    SET LOCAL lock_timeout = '5s';
    SET LOCAL statement_timeout = '30s';
    SET LOCAL idle_in_transaction_session_timeout = '60s'";
/// Each migration is told its own bounds for locks and statements. A server that can see that the client has gone ends its statement, and lets
/// go of the lock, soon after a Job was cut off; not every platform of a server can.
const BEGIN_POSTGRES_MIGRATION: &str = "BEGIN ISOLATION LEVEL READ COMMITTED;
    SET LOCAL lock_timeout = '5s';
    SET LOCAL statement_timeout = 0;
    SET LOCAL idle_in_transaction_session_timeout = '60s';
    DO $$ BEGIN
        PERFORM set_config('client_connection_check_interval', '1s', true);
    EXCEPTION WHEN OTHERS THEN NULL; END $$";

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
    /// The most connections that requests get. One more is for probes, one for the question whether anything was committed,
    /// and one for migrations while they run.
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
    known: Arc<Known>,
    standing: Arc<Standing>,
}

/// Besides those for requests, each engine has a connection for probes, so that a busy server does not look dead, and
/// PostgreSQL one for the question whether anything was committed and one for migrations. All are opened when they are
/// needed.
#[derive(Clone)]
enum Pools {
    /// One writer, so that nobody waits inside SQLite's lock, and readers that never wait for it.
    Sqlite {
        writer: Writer,
        readers: Arc<Readers>,
        probe: Arc<Readers>,
    },
    Postgres {
        requests: Arc<Pool>,
        snapshots: Arc<Pool>,
        probe: Arc<Pool>,
        migrations: Arc<Pool>,
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
            Target::Sqlite(path) => connect_sqlite(path)?,
            Target::Postgres(options) => connect_postgres(options).await?,
        };
        let clock = match &pools {
            Pools::Sqlite { writer, .. } => Clock::Counted(writer.commits()),
            Pools::Postgres { snapshots, .. } => Clock::Asked(Snapshots::of(Arc::clone(snapshots))),
        };
        Ok(Self {
            pools,
            known: Arc::default(),
            standing: Arc::new(Standing::new(clock)),
        })
    }

    /// The engine that is connected.
    pub fn engine(&self) -> Engine {
        match self.pools {
            Pools::Sqlite { .. } => Engine::Sqlite,
            Pools::Postgres { .. } => Engine::Postgres,
        }
    }

    /// What became of the syncs of its commits; `None` where another process makes them.
    pub fn syncs(&self) -> Option<&Syncs> {
        match &self.pools {
            Pools::Sqlite { writer, .. } => Some(writer.syncs()),
            Pools::Postgres { .. } => None,
        }
    }

    /// On SQLite, makes what an earlier process left in the write-ahead log durable.
    ///
    /// # Errors
    /// As any statement.
    pub async fn renew_log(&self) -> Result<(), Error> {
        match &self.pools {
            Pools::Sqlite { writer, .. } => {
                let renewed = writer.renew_log().await;
                renewed.map_err(|source| Error::of("write the log of the file anew", source))
            }
            Pools::Postgres { .. } => Ok(()),
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

    /// The key that a repository had when it was last looked for: a hint, for statements that look whether it still
    /// has it.
    pub fn key_hint(&self, name: &RepositoryName) -> Option<RepositoryKey> {
        self.known.key(name)
    }

    /// The repository at a path, unless it is unknown or deleted; its key is a hint from now on.
    ///
    /// # Errors
    /// As any statement.
    pub async fn look_up(&self, reader: &mut Reader, name: &RepositoryName) -> Result<Option<RepositoryKey>, Error> {
        let found = repositories::find(reader, name).await?;
        if let Some(key) = found {
            self.known.learn(name, key);
        }
        Ok(found)
    }

    /// What `ask` says of the manifest that a reference names, or what it said before when nothing was committed since.
    ///
    /// # Errors
    /// Those of `ask`.
    pub async fn manifest_or<E>(
        &self,
        key: (&RepositoryName, &Reference),
        ask: impl Future<Output = Result<Arc<StoredManifest>, E>> + Send,
    ) -> Result<Arc<StoredManifest>, E> {
        self.standing.manifest((key.0.clone(), key.1.clone()), ask).await
    }

    /// The same for a repository's blob.
    ///
    /// # Errors
    /// Those of `ask`.
    pub async fn linked_or<E>(
        &self,
        key: (&RepositoryName, &Digest),
        ask: impl Future<Output = Result<Granted, E>> + Send,
    ) -> Result<Granted, E> {
        self.standing.linked((key.0.clone(), *key.1), ask).await
    }

    /// The same for a page of names.
    ///
    /// # Errors
    /// Those of `ask`.
    pub async fn names_or<E>(
        &self,
        page: NamesPage,
        ask: impl Future<Output = Result<Arc<Vec<String>>, E>> + Send,
    ) -> Result<Arc<Vec<String>>, E> {
        self.standing.names(page, ask).await
    }

    /// The same for a page of a subject's referrers.
    ///
    /// # Errors
    /// Those of `ask`.
    pub async fn referrers_or<E>(
        &self,
        repository: &RepositoryName,
        wanted: Wanted<'_>,
        ask: impl Future<Output = Result<Arc<Found>, E>> + Send,
    ) -> Result<Arc<Found>, E> {
        self.standing.referrers(repository, wanted, ask).await
    }

    /// Begins a transaction that may write. No call to storage or to another host while it is open.
    ///
    /// # Errors
    /// `Unavailable` when no connection comes free in time.
    pub async fn begin(&self) -> Result<Tx, Error> {
        staging::point("transaction.begins").await;
        match &self.pools {
            Pools::Sqlite { writer, .. } => Tx::sqlite(writer, Durability::Full).await,
            Pools::Postgres { requests, .. } => Tx::postgres(requests, BEGIN_POSTGRES).await,
        }
    }

    /// Begins a transaction of one statement. As [`Self::begin`], and cheaper.
    ///
    /// # Errors
    /// `Unavailable` when no connection comes free in time.
    pub async fn begin_statement(&self) -> Result<Tx, Error> {
        staging::point("transaction.begins").await;
        match &self.pools {
            Pools::Sqlite { writer, .. } => Tx::sqlite(writer, Durability::Full).await,
            Pools::Postgres { requests, .. } => Tx::postgres_statement(requests).await,
        }
    }

    /// Begins a transaction of one statement whose loss in a crash harms nobody, such as the claim of a request that
    /// the crash ends, too. When it has committed, every later transaction sees it; a reader may do so a little later.
    ///
    /// # Errors
    /// `Unavailable` when no connection comes free in time.
    pub async fn begin_claim(&self) -> Result<Tx, Error> {
        staging::point("transaction.begins").await;
        match &self.pools {
            Pools::Sqlite { writer, .. } => Tx::sqlite(writer, Durability::Lazy).await,
            Pools::Postgres { requests, .. } => Tx::postgres_statement(requests).await,
        }
    }

    /// Begins a transaction for statements that may take long and need not be logged for it.
    pub(super) async fn begin_migration(&self) -> Result<Tx, Error> {
        match &self.pools {
            Pools::Sqlite { writer, .. } => Tx::sqlite(writer, Durability::Full).await,
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
        repositories::ping(&mut reader).await
    }

    /// Closes every connection, and on SQLite folds the write-ahead log into the file.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Sqlite { writer, readers, probe } => {
                // The last to close does the folding: it must be one that may write.
                probe.close();
                readers.close();
                writer.close().await;
            }
            Pools::Postgres {
                requests,
                snapshots,
                probe,
                migrations,
            } => {
                for pool in [probe, migrations, snapshots, requests] {
                    pool.close().await;
                }
            }
        }
    }
}

fn connect_sqlite(path: &Path) -> Result<Pools, ConnectError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|source| ConnectError::Folder {
            path: folder.to_path_buf(),
            source,
        })?;
    }
    let writer = Writer::open(path).map_err(|source| ConnectError::Open {
        engine: "sqlite",
        target: path.display().to_string(),
        source,
    })?;
    Ok(Pools::Sqlite {
        writer,
        readers: Readers::new(path, SQLITE_READERS),
        probe: Readers::new(path, 1),
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
    let first = tokio::time::timeout(CONNECT_TIMEOUT, PgConnection::connect_with(&options)).await;
    let first = first.map_err(|_elapsed| sqlx::Error::PoolTimedOut).flatten();
    first
        .map_err(|source| open(&options, source))?
        .close()
        .await
        .map_err(|source| open(&options, source))?;
    let most = usize::try_from(settings.max_connections).unwrap_or(usize::MAX);
    Ok(Pools::Postgres {
        requests: Pool::new(options.clone(), most),
        snapshots: Pool::new(options.clone(), 1),
        probe: Pool::new(options.clone(), 1),
        migrations: Pool::new(options.disable_statement_logging(), 1),
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
