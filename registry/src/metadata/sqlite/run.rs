//! Running one statement on a connection.

use super::super::session::Decoder;
use super::super::statement::{Row, Statement, Value, json};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Rows, ToSql};
use sqlx::error::{DatabaseError, ErrorKind};
use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

/// At most one row, or `None`.
pub(in crate::metadata) fn one<T>(
    connection: &Connection,
    statement: &'static Statement,
    values: &[Value<'_>],
    decode: Decoder<T>,
) -> Result<Option<T>, sqlx::Error> {
    with_rows(connection, statement, values, |rows| {
        let row = rows.next().map_err(failure)?;
        row.map(|row| decode(&Row::Sqlite(row))).transpose()
    })
}

/// Every row.
pub(in crate::metadata) fn all<T>(
    connection: &Connection,
    statement: &'static Statement,
    values: &[Value<'_>],
    decode: Decoder<T>,
) -> Result<Vec<T>, sqlx::Error> {
    with_rows(connection, statement, values, |rows| {
        let mut decoded = Vec::new();
        while let Some(row) = rows.next().map_err(failure)? {
            decoded.push(decode(&Row::Sqlite(row))?);
        }
        Ok(decoded)
    })
}

/// The number of rows that the statement changed.
pub(in crate::metadata) fn execute(
    connection: &Connection,
    statement: &'static Statement,
    values: &[Value<'_>],
) -> Result<u64, sqlx::Error> {
    with_rows(connection, statement, values, |rows| {
        while rows.next().map_err(failure)?.is_some() {}
        Ok(())
    })?;
    Ok(connection.changes())
}

/// Parses and plans a statement.
pub(in crate::metadata) fn prepare(connection: &Connection, statement: &'static Statement) -> Result<(), sqlx::Error> {
    connection.prepare_cached(statement.sqlite).map(drop).map_err(failure)
}

/// Runs several statements without parameters.
pub(in crate::metadata) fn script(connection: &Connection, sql: &str) -> Result<(), sqlx::Error> {
    connection.execute_batch(sql).map_err(failure)
}

fn with_rows<T>(
    connection: &Connection,
    statement: &'static Statement,
    values: &[Value<'_>],
    read: impl FnOnce(&mut Rows<'_>) -> Result<T, sqlx::Error>,
) -> Result<T, sqlx::Error> {
    let mut prepared = connection.prepare_cached(statement.sqlite).map_err(failure)?;
    for index in 1..=prepared.parameter_count() {
        // `$2` is a name to SQLite, whose own numbers follow the order of first mention.
        let number: Option<usize> = prepared
            .parameter_name(index)
            .and_then(|name| name.strip_prefix('$')?.parse().ok());
        let value = number.and_then(|number| values.get(number.checked_sub(1)?));
        let value = value.ok_or_else(|| sqlx::Error::Encode("a placeholder has no value".into()))?;
        prepared.raw_bind_parameter(index, value).map_err(failure)?;
    }
    read(&mut prepared.raw_query())
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let text = |v: String| ToSqlOutput::Owned(rusqlite::types::Value::Text(v));
        let borrowed = ToSqlOutput::Borrowed;
        Ok(match *self {
            Value::Int(v) => borrowed(ValueRef::Integer(v)),
            Value::OptionalInt(v) => borrowed(v.map_or(ValueRef::Null, ValueRef::Integer)),
            Value::Text(v) => borrowed(ValueRef::Text(v.as_bytes())),
            Value::OptionalText(v) => borrowed(v.map_or(ValueRef::Null, |v| ValueRef::Text(v.as_bytes()))),
            Value::Bytes(v) => borrowed(ValueRef::Blob(v)),
            Value::OptionalBytes(v) => borrowed(v.map_or(ValueRef::Null, ValueRef::Blob)),
            Value::BytesArray(v) => text(json(&v.iter().map(hex::encode).collect::<Vec<_>>())),
            Value::IntArray(v) => text(json(v)),
            Value::TextArray(v) => text(json(v)),
            Value::Items(v) => text(v.json()),
            Value::Filled => borrowed(ValueRef::Null),
        })
    }
}

/// What SQLite said, in the terms of the other engine's driver: callers sort one kind of error.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    code: i32,
    message: String,
}

impl Failure {
    fn new(error: rusqlite::ffi::Error, message: Option<String>) -> Self {
        Self {
            code: error.extended_code,
            message: message.unwrap_or_else(|| error.to_string()),
        }
    }

    /// SQLite gave the whole transaction up, after an error that named its cause.
    pub(super) fn rolled_back() -> Self {
        Self {
            code: rusqlite::ffi::SQLITE_IOERR,
            message: "the transaction was rolled back by a failure before".to_owned(),
        }
    }

    /// No commit is tried after one whose sync failed.
    pub(super) fn unsynced() -> Self {
        Self {
            code: rusqlite::ffi::SQLITE_IOERR_FSYNC,
            message: "a commit before could not be made durable".to_owned(),
        }
    }

    pub(super) fn of(error: &sqlx::Error) -> Self {
        let found = error.as_database_error().and_then(|e| e.try_downcast_ref::<Self>());
        found.cloned().unwrap_or_else(|| Self {
            code: rusqlite::ffi::SQLITE_IOERR,
            message: error.to_string(),
        })
    }

    /// The log, or its name, was not synced.
    pub(super) fn is_of_a_sync(&self) -> bool {
        matches!(
            self.code,
            rusqlite::ffi::SQLITE_IOERR_FSYNC | rusqlite::ffi::SQLITE_IOERR_DIR_FSYNC
        )
    }

    /// Another connection holds the lock.
    pub(super) fn is_busy(&self) -> bool {
        matches!(
            self.code & 0xff,
            rusqlite::ffi::SQLITE_BUSY | rusqlite::ffi::SQLITE_LOCKED
        )
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(code {}) {}", self.code, self.message)
    }
}

impl StdError for Failure {}

impl DatabaseError for Failure {
    fn message(&self) -> &str {
        &self.message
    }

    /// The extended result code.
    fn code(&self) -> Option<Cow<'_, str>> {
        Some(self.code.to_string().into())
    }

    fn as_error(&self) -> &(dyn StdError + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn StdError + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn StdError + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

pub(super) fn failure(error: rusqlite::Error) -> sqlx::Error {
    let text = error.to_string();
    if let rusqlite::Error::SqlInputError { error, msg, .. } = error {
        return Failure::new(error, Some(msg)).into();
    }
    if let rusqlite::Error::SqliteFailure(code, message) = error {
        return Failure::new(code, message).into();
    }
    sqlx::Error::Protocol(text)
}
