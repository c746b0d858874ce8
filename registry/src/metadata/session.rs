//! A connection to read with and a transaction to write with, alike on both engines.
//!
//! [`Tx`] dereferences to [`Reader`]: what reads can be used inside a transaction, what writes cannot be used outside.

use super::error::Error;
use super::statement::{Engine, Row, Statement, Value, bind_postgres, bind_sqlite};
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres, Sqlite, SqliteConnection, Transaction};
use std::ops::{Deref, DerefMut};

/// One connection, held until dropped: several reads cost one acquire.
pub struct Reader(Link);

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Reader").field(&self.engine()).finish()
    }
}

enum Link {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
    SqliteTx(Transaction<'static, Sqlite>),
    PostgresTx(Transaction<'static, Postgres>),
}

enum Raw<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

type Decoder<T> = fn(&Row<'_>) -> Result<T, sqlx::Error>;

impl Reader {
    pub(super) fn sqlite(connection: PoolConnection<Sqlite>) -> Self {
        Self(Link::Sqlite(connection))
    }

    pub(super) fn postgres(connection: PoolConnection<Postgres>) -> Self {
        Self(Link::Postgres(connection))
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
            Link::Postgres(c) => Raw::Postgres(c),
            Link::SqliteTx(c) => Raw::Sqlite(c),
            Link::PostgresTx(c) => Raw::Postgres(c),
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
        let decoded = match self.raw() {
            Raw::Sqlite(c) => {
                let query = sqlx::query_with(statement.sqlite, bind_sqlite(name, values)?);
                query
                    .fetch_optional(c)
                    .await
                    .and_then(|row| row.map(|row| decode(&Row::Sqlite(&row))).transpose())
            }
            Raw::Postgres(c) => {
                let query = sqlx::query_with(statement.postgres, bind_postgres(name, values)?);
                query
                    .fetch_optional(c)
                    .await
                    .and_then(|row| row.map(|row| decode(&Row::Postgres(&row))).transpose())
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
        let decoded: Result<Vec<T>, sqlx::Error> = match self.raw() {
            Raw::Sqlite(c) => {
                let query = sqlx::query_with(statement.sqlite, bind_sqlite(name, values)?);
                query
                    .fetch_all(c)
                    .await
                    .and_then(|rows| rows.iter().map(|row| decode(&Row::Sqlite(row))).collect())
            }
            Raw::Postgres(c) => {
                let query = sqlx::query_with(statement.postgres, bind_postgres(name, values)?);
                query
                    .fetch_all(c)
                    .await
                    .and_then(|rows| rows.iter().map(|row| decode(&Row::Postgres(row))).collect())
            }
        };
        decoded.map_err(|source| failure(name, source))
    }

    /// Asks the engine to parse and plan a statement without running it.
    pub(super) async fn prepare(&mut self, statement: &'static Statement) -> Result<(), Error> {
        use sqlx::{Executor, SqlSafeStr};
        let prepared = match self.raw() {
            Raw::Sqlite(c) => c.prepare(statement.sqlite.into_sql_str()).await.map(drop),
            Raw::Postgres(c) => c.prepare(statement.postgres.into_sql_str()).await.map(drop),
        };
        prepared.map_err(|source| Error::of(statement.name, source))
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
    pub(super) fn sqlite(transaction: Transaction<'static, Sqlite>) -> Self {
        Self(Reader(Link::SqliteTx(transaction)))
    }

    pub(super) fn postgres(transaction: Transaction<'static, Postgres>) -> Self {
        Self(Reader(Link::PostgresTx(transaction)))
    }

    /// The number of rows that the statement changed.
    pub(super) async fn execute(&mut self, statement: &'static Statement, values: &[Value<'_>]) -> Result<u64, Error> {
        let name = statement.name;
        let done = match self.raw() {
            Raw::Sqlite(c) => {
                let query = sqlx::query_with(statement.sqlite, bind_sqlite(name, values)?);
                query.execute(c).await.map(|done| done.rows_affected())
            }
            Raw::Postgres(c) => {
                let query = sqlx::query_with(statement.postgres, bind_postgres(name, values)?);
                query.execute(c).await.map(|done| done.rows_affected())
            }
        };
        done.map_err(|source| Error::of(name, source))
    }

    /// Makes everything since `begin` durable: on return it survives a crash of process and machine.
    ///
    /// # Errors
    /// `Conflict` when the whole transaction should be tried again; after any other error the outcome may be unknown.
    pub async fn commit(self) -> Result<(), Error> {
        let done = match self.0.0 {
            Link::SqliteTx(tx) => tx.commit().await,
            Link::PostgresTx(tx) => tx.commit().await,
            Link::Sqlite(_) | Link::Postgres(_) => Ok(()),
        };
        done.map_err(|source| Error::of("commit", source))
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
