//! A statement's text for both engines, what is bound to it and what it gives back.

use super::collect::Items;
use super::error::Error;
use rusqlite::types::FromSql;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{Arguments, Decode, Postgres, Row as _, Type};

/// Which database engine holds the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// The embedded default: one process, one file.
    Sqlite,
    /// For more than one replica.
    Postgres,
}

impl Engine {
    /// The word used in answers and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// One statement. Its name says `table.verb` in errors and metrics.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) name: &'static str,
    pub(super) sqlite: &'static str,
    pub(super) postgres: &'static str,
}

impl Statement {
    /// The same text serves both engines.
    pub(super) const fn both(name: &'static str, sql: &'static str) -> Self {
        Self {
            name,
            sqlite: sql,
            postgres: sql,
        }
    }

    /// The engines differ, in locking clauses or in how an array is bound.
    pub(super) const fn each(name: &'static str, sqlite: &'static str, postgres: &'static str) -> Self {
        Self { name, sqlite, postgres }
    }
}

/// Declares a file's statements and the list of them, so that none escapes the test that prepares them all.
macro_rules! statements {
    ($($name:ident = $statement:expr;)+) => {
        $(const $name: crate::metadata::statement::Statement = $statement;)+
        pub(in crate::metadata) const ALL: &[&crate::metadata::statement::Statement] = &[$(&$name),+];
    };
}
pub(super) use statements;

/// What is bound to a placeholder.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    Int(i64),
    OptionalInt(Option<i64>),
    Text(&'a str),
    OptionalText(Option<&'a str>),
    Bytes(&'a [u8]),
    OptionalBytes(Option<&'a [u8]>),
    /// `bytea[]` on PostgreSQL; on SQLite a JSON array of hexadecimal text.
    BytesArray(&'a [Vec<u8>]),
    /// `bigint[]`, or a JSON array of numbers.
    IntArray(&'a [i64]),
    /// `text[]`, or a JSON array of text.
    TextArray(&'a [&'a str]),
    /// The places `$1` to `$3` of a statement: three arrays, or a JSON array of arrays in the first of them.
    Items(&'a Items),
    /// A place that [`Value::Items`] fills.
    Filled,
}

pub(super) fn bind_postgres(statement: &'static str, values: &[Value<'_>]) -> Result<PgArguments, Error> {
    let mut arguments = PgArguments::default();
    for value in values {
        let added = match *value {
            Value::Int(v) => arguments.add(v),
            Value::OptionalInt(v) => arguments.add(v),
            Value::Text(v) => arguments.add(v),
            Value::OptionalText(v) => arguments.add(v),
            Value::Bytes(v) => arguments.add(v),
            Value::OptionalBytes(v) => arguments.add(v),
            Value::BytesArray(v) => arguments.add(v),
            Value::IntArray(v) => arguments.add(v),
            Value::TextArray(v) => arguments.add(v),
            Value::Items(v) => v.bind(&mut arguments),
            Value::Filled => Ok(()),
        };
        added.map_err(|source| Error::of(statement, sqlx::Error::Encode(source)))?;
    }
    Ok(arguments)
}

pub(super) fn json<T: serde::Serialize + ?Sized>(values: &T) -> String {
    // Numbers and text always serialise.
    serde_json::to_string(values).unwrap_or_default()
}

/// A row of either engine.
#[derive(Clone, Copy)]
pub(super) enum Row<'r> {
    Sqlite(&'r rusqlite::Row<'r>),
    Postgres(&'r PgRow),
}

impl Row<'_> {
    fn get<T>(&self, column: usize) -> Result<T, sqlx::Error>
    where
        T: FromSql + for<'d> Decode<'d, Postgres> + Type<Postgres>,
    {
        match self {
            Row::Sqlite(row) => row.get(column).map_err(|source| impossible(column, source)),
            Row::Postgres(row) => row.try_get(column),
        }
    }

    pub(super) fn int(&self, column: usize) -> Result<i64, sqlx::Error> {
        self.get(column)
    }

    pub(super) fn optional_int(&self, column: usize) -> Result<Option<i64>, sqlx::Error> {
        self.get(column)
    }

    pub(super) fn text(&self, column: usize) -> Result<String, sqlx::Error> {
        self.get(column)
    }

    pub(super) fn optional_text(&self, column: usize) -> Result<Option<String>, sqlx::Error> {
        self.get(column)
    }

    pub(super) fn bytes(&self, column: usize) -> Result<Vec<u8>, sqlx::Error> {
        self.get(column)
    }

    pub(super) fn optional_bytes(&self, column: usize) -> Result<Option<Vec<u8>>, sqlx::Error> {
        self.get(column)
    }

    /// A length or a size, which the schema keeps as a signed number.
    pub(super) fn size(&self, column: usize) -> Result<u64, sqlx::Error> {
        unsigned(self.int(column)?, column)
    }

    /// The identifier of a session.
    pub(super) fn uuid(&self, column: usize) -> Result<uuid::Uuid, sqlx::Error> {
        uuid::Uuid::from_slice(&self.bytes(column)?).map_err(|source| impossible(column, source))
    }

    /// A digest in the schema's form.
    pub(super) fn digest(&self, column: usize) -> Result<oci::Digest, sqlx::Error> {
        oci::Digest::from_bytes(&self.bytes(column)?).map_err(|source| impossible(column, source))
    }

    /// A digest in the schema's form, or NULL.
    pub(super) fn optional_digest(&self, column: usize) -> Result<Option<oci::Digest>, sqlx::Error> {
        self.optional_bytes(column)?
            .map(|bytes| oci::Digest::from_bytes(&bytes).map_err(|source| impossible(column, source)))
            .transpose()
    }
}

fn unsigned(value: i64, column: usize) -> Result<u64, sqlx::Error> {
    u64::try_from(value).map_err(|source| impossible(column, source))
}

pub(super) fn impossible(column: usize, source: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::ColumnDecode {
        index: column.to_string(),
        source: Box::new(source),
    }
}

/// A size as the schema keeps it. No object is larger than 2^63 bytes.
pub(super) fn stored_size(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
