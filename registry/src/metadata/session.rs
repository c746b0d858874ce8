//! A connection to read with and a transaction to write with, alike on both engines.
//!
//! [`Tx`] dereferences to [`Reader`]: what reads can be used inside a transaction, what writes cannot be used outside.

use super::error::Error;
use super::postgres::{self, Pool, State};
use super::sqlite::{self, Readers, Turn, Writer};
use super::statement::{Engine, Row, Statement, Value, bind_postgres};
use rusqlite::Connection;
use sqlx::{Executor, PgConnection, SqlSafeStr, SqlStr};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

/// How long a connection is waited for.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// The bound of every statement: a server that went away without a word must not hold a request for ever.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);

/// One connection, held until dropped: several reads cost one acquire.
pub struct Reader(Link);

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Reader").field(&self.engine()).finish()
    }
}

enum Link {
    Sqlite(sqlite::Lent),
    SqliteTx(Turn),
    Postgres(postgres::Lent),
}

/// What a commit waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// The disk.
    Full,
    /// Nothing: the loss of the transaction in a crash harms nobody, and it is there for every writer at once.
    Lazy,
}

/// Reads a row.
pub(super) type Decoder<T> = fn(&Row<'_>) -> Result<T, sqlx::Error>;

impl Reader {
    pub(super) async fn sqlite(readers: &Arc<Readers>) -> Result<Self, Error> {
        let lent = readers.lend(ACQUIRE_TIMEOUT).await;
        lent.map(|lent| Self(Link::Sqlite(lent))).map_err(Error::no_connection)
    }

    pub(super) async fn postgres(pool: &Arc<Pool>) -> Result<Self, Error> {
        let lent = pool.lend(ACQUIRE_TIMEOUT).await;
        lent.map(|lent| Self(Link::Postgres(lent)))
            .map_err(Error::no_connection)
    }

    pub(super) fn engine(&self) -> Engine {
        match self.0 {
            Link::Sqlite(_) | Link::SqliteTx(_) => Engine::Sqlite,
            Link::Postgres(_) => Engine::Postgres,
        }
    }

    /// At most one row, or `None`.
    pub(super) async fn one<T>(
        &mut self,
        statement: &'static Statement,
        values: &[Value<'_>],
        decode: Decoder<T>,
    ) -> Result<Option<T>, Error> {
        let name = statement.name;
        let decoded = match &mut self.0 {
            Link::Sqlite(lent) => on(lent.connection(), |c| sqlite::one(c, statement, values, decode)),
            Link::SqliteTx(turn) => on(turn.connection(), |c| sqlite::one(c, statement, values, decode)),
            Link::Postgres(lent) => {
                let query = sqlx::query_with(statement.postgres, bind_postgres(name, values)?);
                let row = asked(lent, async |c| query.fetch_optional(c).await).await;
                row.and_then(|row| row.map(|row| decode(&Row::Postgres(&row))).transpose())
            }
        };
        decoded.map_err(|source| failure(name, source))
    }

    /// Every row.
    pub(super) async fn all<T>(
        &mut self,
        statement: &'static Statement,
        values: &[Value<'_>],
        decode: Decoder<T>,
    ) -> Result<Vec<T>, Error> {
        let name = statement.name;
        let decoded = match &mut self.0 {
            Link::Sqlite(lent) => on(lent.connection(), |c| sqlite::all(c, statement, values, decode)),
            Link::SqliteTx(turn) => on(turn.connection(), |c| sqlite::all(c, statement, values, decode)),
            Link::Postgres(lent) => {
                let query = sqlx::query_with(statement.postgres, bind_postgres(name, values)?);
                let rows = asked(lent, async |c| query.fetch_all(c).await).await;
                rows.and_then(|rows| rows.iter().map(|row| decode(&Row::Postgres(row))).collect())
            }
        };
        decoded.map_err(|source| failure(name, source))
    }

    /// Asks the engine to parse and plan a statement without running it.
    pub(super) async fn prepare(&mut self, statement: &'static Statement) -> Result<(), Error> {
        let prepared = match &mut self.0 {
            Link::Sqlite(lent) => on(lent.connection(), |c| sqlite::prepare(c, statement)),
            Link::SqliteTx(turn) => on(turn.connection(), |c| sqlite::prepare(c, statement)),
            Link::Postgres(lent) => {
                let sql = statement.postgres.into_sql_str();
                asked(lent, async |c| c.prepare(sql).await.map(drop)).await
            }
        };
        prepared.map_err(|source| failure(statement.name, source))
    }
}

fn on<T>(
    connection: Result<&Connection, sqlx::Error>,
    work: impl FnOnce(&Connection) -> Result<T, sqlx::Error>,
) -> Result<T, sqlx::Error> {
    work(connection?)
}

/// Runs one statement within the bound. A caller that is dropped meanwhile leaves the connection busy.
async fn asked<T>(
    lent: &mut postgres::Lent,
    ask: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
) -> Result<T, sqlx::Error> {
    let (connection, before) = lent.busy()?;
    let done = bounded(ask(connection)).await;
    lent.settle(before, &done);
    done
}

/// A transaction. Dropped without [`Tx::commit`], nothing of it remains.
#[derive(Debug)]
pub struct Tx {
    link: Reader,
    durability: Durability,
}

impl Deref for Tx {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        &self.link
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Reader {
        &mut self.link
    }
}

impl Tx {
    pub(super) async fn sqlite(writer: &Writer, durability: Durability) -> Result<Self, Error> {
        let turn = writer.begin(ACQUIRE_TIMEOUT).await;
        let link = turn.map(|turn| Reader(Link::SqliteTx(turn)));
        link.map(|link| Self { link, durability })
            .map_err(|source| Error::of("begin", source))
    }

    /// Of one statement, which PostgreSQL makes a transaction by itself.
    pub(super) async fn postgres_statement(pool: &Arc<Pool>) -> Result<Self, Error> {
        let link = Reader::postgres(pool).await?;
        Ok(Self {
            link,
            durability: Durability::Full,
        })
    }

    pub(super) async fn postgres(pool: &Arc<Pool>, sql: &'static str) -> Result<Self, Error> {
        let mut lent = pool.lend(ACQUIRE_TIMEOUT).await.map_err(Error::no_connection)?;
        let begun = async {
            let (connection, _) = lent.busy()?;
            let begun = bounded(connection.execute(sqlx::raw_sql(sql))).await;
            lent.settle(State::Begun, &begun);
            begun.map(|_| lent)
        };
        let begun = begun.await.map(|lent| Self {
            link: Reader(Link::Postgres(lent)),
            durability: Durability::Full,
        });
        begun.map_err(|source| Error::of("begin", source))
    }

    /// The number of rows that the statement changed.
    pub(super) async fn execute(&mut self, statement: &'static Statement, values: &[Value<'_>]) -> Result<u64, Error> {
        let name = statement.name;
        let done = match &mut self.link.0 {
            Link::Sqlite(_) => Err(sqlx::Error::Protocol("a reader does not write".to_owned())),
            Link::SqliteTx(turn) => on(turn.connection(), |c| sqlite::execute(c, statement, values)),
            Link::Postgres(lent) => {
                let query = sqlx::query_with(statement.postgres, bind_postgres(name, values)?);
                let done = asked(lent, async |c| query.execute(c).await).await;
                done.map(|done| done.rows_affected())
            }
        };
        done.map_err(|source| failure(name, source))
    }

    /// Runs the statements of a migration, however long they take.
    pub(super) async fn run_script(&mut self, script: SqlStr) -> Result<(), Error> {
        let done = match &mut self.link.0 {
            Link::Sqlite(_) => Err(sqlx::Error::Protocol("a reader does not write".to_owned())),
            Link::SqliteTx(turn) => on(turn.connection(), |c| sqlite::script(c, script.as_str())),
            Link::Postgres(lent) => {
                let (connection, before) = lent.busy().map_err(|source| failure("script", source))?;
                let done = connection.execute(sqlx::raw_sql(script)).await.map(drop);
                lent.settle(before, &done);
                done
            }
        };
        done.map_err(|source| failure("script", source))
    }

    /// Takes everything back, and on return nothing of it is locked any more. Dropping a transaction does the same, a little
    /// later.
    pub async fn roll_back(self) {
        if let Link::Postgres(mut lent) = self.link.0
            && lent.state() == State::Begun
            && let Ok((connection, _)) = lent.busy()
        {
            let done = bounded(connection.execute("ROLLBACK")).await.map(drop);
            // One that failed leaves the connection busy: nobody gets it again.
            if done.is_ok() {
                lent.settle(State::Clean, &done);
            }
        }
    }

    /// Makes everything since `begin` durable: on return it survives a crash of process and machine, unless the
    /// transaction was begun as one that need not.
    ///
    /// # Errors
    /// `Conflict` when the whole transaction should be tried again; after any other error the outcome may be unknown.
    pub async fn commit(self) -> Result<(), Error> {
        let done = match self.link.0 {
            Link::Sqlite(_) => Ok(()),
            Link::SqliteTx(turn) if self.durability == Durability::Lazy => turn.commit_lazily(),
            Link::SqliteTx(turn) => turn.commit().await,
            Link::Postgres(lent) if lent.state() == State::Clean => Ok(()),
            Link::Postgres(mut lent) => {
                let (connection, _) = lent.busy().map_err(|source| Error::of("commit", source))?;
                let done = bounded(connection.execute("COMMIT")).await.map(drop);
                // After a refused commit there is no transaction either.
                lent.settle(State::Clean, &done);
                done
            }
        };
        done.map_err(|source| Error::of("commit", source))
    }
}

async fn bounded<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    match tokio::time::timeout(STATEMENT_TIMEOUT, work).await {
        Ok(done) => done,
        Err(_) => Err(sqlx::Error::Io(std::io::Error::new(
            std::io::ErrorKind::TimedOut,
            "no answer from the database in time",
        ))),
    }
}

fn failure(statement: &'static str, source: sqlx::Error) -> Error {
    if let sqlx::Error::ColumnDecode { index, .. } = &source {
        return Error::Corrupt {
            statement,
            column: index.parse().unwrap_or_default(),
        };
    }
    Error::of(statement, source)
}
