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

impl Error {
    /// Sorts an error of the driver by what the caller can do about it.
    pub(super) fn of(statement: &'static str, source: sqlx::Error) -> Self {
        match verdict(&source) {
            Verdict::Conflict => Self::Conflict { statement, source },
            Verdict::Unavailable => Self::Unavailable { statement, source },
            Verdict::Query => Self::Query { statement, source },
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

/// PostgreSQL says five characters, SQLite its extended result code as a number.
fn code_verdict(code: &str) -> Verdict {
    if CONFLICTS.contains(&code) {
        return Verdict::Conflict;
    }
    if let Ok(sqlite) = code.parse::<u32>()
        && code.len() < 5
    {
        return match sqlite & 0xff {
            // busy, locked, read-only, i/o error, full, cannot open
            5 | 6 | 8 | 10 | 13 | 14 => Verdict::Unavailable,
            // constraint: foreign key, unique, primary key
            19 => Verdict::Conflict,
            _ => Verdict::Query,
        };
    }
    // connection, insufficient resources, operator intervention, system error, read-only transaction, lock timeout
    let unavailable = ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class));
    if unavailable || code == "25006" || code == "55P03" {
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
        assert!(matches!(code_verdict("1555"), Verdict::Conflict));
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
