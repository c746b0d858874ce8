//! What can go wrong with the database, as far as a caller can act on it.

/// A statement, a transaction or a connection failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another transaction got in between; the same work can be tried again from its start.
    #[error("{statement} met a concurrent change")]
    Conflict {
        /// The statement that noticed.
        statement: &'static str,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
    /// The database cannot be reached, is full, read-only or out of connections.
    #[error("the database did not take {statement}")]
    Unavailable {
        /// The statement that was refused.
        statement: &'static str,
        /// What the database or the connection said.
        #[source]
        source: sqlx::Error,
    },
    /// The statement itself failed: a fault of ours or of the schema.
    #[error("{statement} failed")]
    Query {
        /// The statement.
        statement: &'static str,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
    /// A row holds something that no version of ours writes.
    #[error("column {column} of {statement} holds an impossible value")]
    Corrupt {
        /// The statement that read it.
        statement: &'static str,
        /// The place in its result, from 0.
        column: usize,
    },
}

/// SQLSTATE classes and codes after which the same work may be tried again from its start.
const CONFLICTS: &[&str] = &["23503", "23505", "40001", "40P01"];
/// The same for SQLite: constraints of a foreign key, a primary key, uniqueness and a row's number. The other
/// constraints (not null, check, type) are broken by the statement alone, however often it is tried.
const SQLITE_CONFLICTS: &[u32] = &[787, 1555, 2067, 2579];
/// SQLite's busy and locked.
const SQLITE_LOCKED: &[u32] = &[5, 6];

impl Error {
    /// Sorts an error of the driver by what the caller can do about it.
    pub(super) fn of(statement: &'static str, source: sqlx::Error) -> Self {
        match verdict(&source) {
            Verdict::Conflict => Self::Conflict { statement, source },
            Verdict::Unavailable => Self::Unavailable { statement, source },
            Verdict::Query => Self::Query { statement, source },
        }
    }

    /// A connection that could not be had, whatever the database said.
    pub(super) fn no_connection(source: sqlx::Error) -> Self {
        Self::Unavailable {
            statement: "connect",
            source,
        }
    }

    /// True when the whole transaction may be tried again.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. })
    }

    /// True when the database, not the request, is the trouble.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// True when a statement waited longer for a lock than it may.
    pub(super) fn is_lock_timeout(&self) -> bool {
        let (Self::Conflict { source, .. } | Self::Unavailable { source, .. } | Self::Query { source, .. }) = self
        else {
            return false;
        };
        let code = source.as_database_error().and_then(sqlx::error::DatabaseError::code);
        code.as_deref() == Some("55P03")
    }

    /// True when SQLite's file was locked by another connection for longer than we wait.
    pub(super) fn is_file_locked(&self) -> bool {
        let Self::Unavailable { source, .. } = self else {
            return false;
        };
        let code = source.as_database_error().and_then(sqlx::error::DatabaseError::code);
        code.as_deref()
            .and_then(sqlite_code)
            .is_some_and(|code| SQLITE_LOCKED.contains(&(code & 0xff)))
    }
}

/// PostgreSQL says five characters, SQLite its extended result code as a number.
fn sqlite_code(code: &str) -> Option<u32> {
    code.parse().ok().filter(|_| code.len() < 5)
}

enum Verdict {
    Conflict,
    Unavailable,
    Query,
}

fn verdict(source: &sqlx::Error) -> Verdict {
    if let Some(database) = source.as_database_error() {
        return code_verdict(&database.code().unwrap_or_default());
    }
    let lost = matches!(
        source,
        sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
    );
    if lost { Verdict::Unavailable } else { Verdict::Query }
}

fn code_verdict(code: &str) -> Verdict {
    if CONFLICTS.contains(&code) {
        return Verdict::Conflict;
    }
    if let Some(sqlite) = sqlite_code(code) {
        return match sqlite & 0xff {
            // busy, locked, read-only, i/o error, full, cannot open, a race for the log's lock
            5 | 6 | 8 | 10 | 13..=15 => Verdict::Unavailable,
            _ if SQLITE_CONFLICTS.contains(&sqlite) => Verdict::Conflict,
            _ => Verdict::Query,
        };
    }
    // connection, insufficient resources, operator intervention, system error
    let unavailable = ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class));
    // read-only transaction, idle in a transaction for too long, lock timeout
    if unavailable || ["25006", "25P03", "55P03"].contains(&code) {
        Verdict::Unavailable
    } else {
        Verdict::Query
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_key_violation_may_be_tried_again_on_either_engine() {
        assert!(matches!(code_verdict("23503"), Verdict::Conflict));
        assert!(matches!(code_verdict("787"), Verdict::Conflict));
    }

    #[test]
    fn of_sqlites_constraints_only_those_on_other_rows_may_be_tried_again() {
        for code in ["787", "1555", "2067", "2579"] {
            assert!(matches!(code_verdict(code), Verdict::Conflict), "{code}");
        }
        // any, check, not null, trigger, data type
        for code in ["19", "275", "1299", "1811", "3091"] {
            assert!(matches!(code_verdict(code), Verdict::Query), "{code}");
        }
    }

    #[test]
    fn what_waited_too_long_for_a_lock_is_unavailable() {
        for code in ["55P03", "57014", "25P03", "517"] {
            assert!(matches!(code_verdict(code), Verdict::Unavailable), "{code}");
        }
    }

    #[test]
    fn a_full_or_read_only_database_is_unavailable_on_either_engine() {
        for code in ["53100", "25006", "57P01", "13", "8", "5"] {
            assert!(matches!(code_verdict(code), Verdict::Unavailable), "{code}");
        }
    }

    #[test]
    fn a_missing_table_is_a_fault_of_the_query() {
        assert!(matches!(code_verdict("42P01"), Verdict::Query));
        assert!(matches!(code_verdict("1"), Verdict::Query));
    }
}
