//! A connection to read with and a transaction to write with, alike on both engines.
//!
//! [`Tx`] dereferences to [`Reader`]: what reads can be used inside a transaction, what writes cannot be used outside.

use super::error::Error;
use super::statement::{Engine, Row, Statement, Value, bind_postgres, bind_sqlite};
use sqlx::pool::PoolConnection;
use sqlx::{
    Executor, PgConnection, PgPool, Postgres, SqlSafeStr, SqlStr, Sqlite, SqliteConnection, SqlitePool, Transaction,
};
use std::ops::{Deref, DerefMut};
use std::time::Duration;

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
    Sqlite(PoolConnection<Sqlite>),
    Postgres(Lent),
    SqliteTx(Transaction<'static, Sqlite>),
    PostgresTx(Transaction<'static, Postgres>),
}

/// A connection that does not return to its pool while an answer is due, because it is lost or the statement was given
/// up: the pool would wait for that answer without a bound.
struct Lent {
    connection: PoolConnection<Postgres>,
    busy: bool,
}

impl Drop for Lent {
    fn drop(&mut self) {
        if self.busy {
            self.connection.close_on_drop();
        }
    }
}

enum Raw<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

type Decoder<T> = fn(&Row<'_>) -> Result<T, sqlx::Error>;

impl Reader {
    pub(super) async fn sqlite(pool: &SqlitePool) -> Result<Self, Error> {
        // Boxed, here and below: the future of a pool has room for a whole connection set-up.
        let acquired = Box::pin(pool.acquire()).await;
        acquired
            .map(|connection| Self(Link::Sqlite(connection)))
            .map_err(|source| Error::of("connect", source))
    }

    pub(super) async fn postgres(pool: &PgPool) -> Result<Self, Error> {
        let acquired = Box::pin(pool.acquire()).await;
        acquired
            .map(|connection| {
                Self(Link::Postgres(Lent {
                    connection,
                    busy: false,
                }))
            })
            .map_err(|source| Error::of("connect", source))
    }

    pub(super) fn engine(&self) -> Engine {
        match self.0 {
            Link::Sqlite(_) | Link::SqliteTx(_) => Engine::Sqlite,
            Link::Postgres(_) | Link::PostgresTx(_) => Engine::Postgres,
        }
    }

    fn raw(&mut self) -> Raw<'_> {
        match &mut self.0 {
            Link::Sqlite(c) => Raw::Sqlite(c),
            Link::Postgres(lent) => {
                lent.busy = true;
                Raw::Postgres(&mut lent.connection)
            }
            Link::SqliteTx(c) => Raw::Sqlite(c),
            Link::PostgresTx(c) => Raw::Postgres(c),
        }
    }

    /// Names the statement in an error.
    fn settle<T>(&mut self, statement: &'static str, done: Result<T, sqlx::Error>) -> Result<T, Error> {
        if let Link::Postgres(lent) = &mut self.0 {
            lent.busy = matches!(done, Err(sqlx::Error::Io(_)));
        }
        done.map_err(|source| failure(statement, source))
    }

    /// At most one row, or `None`.
    pub(super) async fn one<T>(
        &mut self,
        statement: &'static Statement,
        values: &[Value<'_>],
        decode: Decoder<T>,
    ) -> Result<Option<T>, Error> {
        let name = statement.name;
        let decoded = match self.raw() {
            Raw::Sqlite(c) => {
                let query = sqlx::query_with(statement.sqlite, bind_sqlite(name, values)?);
                bounded(query.fetch_optional(c))
                    .await
                    .and_then(|row| row.map(|row| decode(&Row::Sqlite(&row))).transpose())
            }
            Raw::Postgres(c) => {
                let query = sqlx::query_with(statement.postgres, bind_postgres(name, values)?);
                bounded(query.fetch_optional(c))
                    .await
                    .and_then(|row| row.map(|row| decode(&Row::Postgres(&row))).transpose())
            }
        };
        self.settle(name, decoded)
    }

    /// Every row.
    pub(super) async fn all<T>(
        &mut self,
        statement: &'static Statement,
        values: &[Value<'_>],
        decode: Decoder<T>,
    ) -> Result<Vec<T>, Error> {
        let name = statement.name;
        let decoded: Result<Vec<T>, sqlx::Error> = match self.raw() {
            Raw::Sqlite(c) => {
                let query = sqlx::query_with(statement.sqlite, bind_sqlite(name, values)?);
                bounded(query.fetch_all(c))
                    .await
                    .and_then(|rows| rows.iter().map(|row| decode(&Row::Sqlite(row))).collect())
            }
            Raw::Postgres(c) => {
                let query = sqlx::query_with(statement.postgres, bind_postgres(name, values)?);
                bounded(query.fetch_all(c))
                    .await
                    .and_then(|rows| rows.iter().map(|row| decode(&Row::Postgres(row))).collect())
            }
        };
        self.settle(name, decoded)
    }

    /// Asks the engine to parse and plan a statement without running it.
    pub(super) async fn prepare(&mut self, statement: &'static Statement) -> Result<(), Error> {
        let prepared = match self.raw() {
            Raw::Sqlite(c) => bounded(c.prepare(statement.sqlite.into_sql_str())).await.map(drop),
            Raw::Postgres(c) => bounded(c.prepare(statement.postgres.into_sql_str())).await.map(drop),
        };
        self.settle(statement.name, prepared)
    }
}

/// A transaction. Dropped without [`Tx::commit`], nothing of it remains.
#[derive(Debug)]
pub struct Tx(Reader);

impl Deref for Tx {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        &self.0
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Reader {
        &mut self.0
    }
}

impl Tx {
    pub(super) async fn sqlite(pool: &SqlitePool, sql: &'static str) -> Result<Self, Error> {
        let begun = Box::pin(bounded(pool.begin_with(sql))).await;
        begun
            .map(|tx| Self(Reader(Link::SqliteTx(tx))))
            .map_err(|source| Error::of("begin", source))
    }

    pub(super) async fn postgres(pool: &PgPool, sql: &'static str) -> Result<Self, Error> {
        let begun = Box::pin(bounded(pool.begin_with(sql))).await;
        begun
            .map(|tx| Self(Reader(Link::PostgresTx(tx))))
            .map_err(|source| Error::of("begin", source))
    }

    /// The number of rows that the statement changed.
    pub(super) async fn execute(&mut self, statement: &'static Statement, values: &[Value<'_>]) -> Result<u64, Error> {
        let name = statement.name;
        let done = match self.raw() {
            Raw::Sqlite(c) => {
                let query = sqlx::query_with(statement.sqlite, bind_sqlite(name, values)?);
                bounded(query.execute(c)).await.map(|done| done.rows_affected())
            }
            Raw::Postgres(c) => {
                let query = sqlx::query_with(statement.postgres, bind_postgres(name, values)?);
                bounded(query.execute(c)).await.map(|done| done.rows_affected())
            }
        };
        self.settle(name, done)
    }

    /// Runs the statements of a migration, however long they take.
    pub(super) async fn run_script(&mut self, script: SqlStr) -> Result<(), Error> {
        let script = sqlx::raw_sql(script);
        let done = match self.raw() {
            Raw::Sqlite(c) => c.execute(script).await.map(drop),
            Raw::Postgres(c) => c.execute(script).await.map(drop),
        };
        self.settle("script", done)
    }

    /// Makes everything since `begin` durable: on return it survives a crash of process and machine.
    ///
    /// # Errors
    /// `Conflict` when the whole transaction should be tried again; after any other error the outcome may be unknown.
    pub async fn commit(self) -> Result<(), Error> {
        let done = match self.0.0 {
            Link::SqliteTx(tx) => bounded(tx.commit()).await,
            Link::PostgresTx(tx) => bounded(tx.commit()).await,
            Link::Sqlite(_) | Link::Postgres(_) => Ok(()),
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
