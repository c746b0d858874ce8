//! The embedded engine: one file, one process, one writer at a time and readers that never wait for it.
//!
//! Statements run where they are called, on the caller's thread: one costs microseconds, and handing it to a thread of
//! its own costs several times that. What can wait for a disk, the commit, does not run there.

mod fold;
mod log;
mod readers;
mod run;
mod writer;

pub(super) use readers::{Lent, Readers};
pub(super) use run::{all, execute, one, prepare, script};
pub(super) use writer::{Turn, Writer};

use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::time::Duration;

const STATEMENTS: usize = 256;
/// Another process (a `migrate` beside a server) may recover the log, or fold it into the file, for a moment.
const READ_BUSY: Duration = Duration::from_secs(1);

/// Opens the file to read from it.
fn open_to_read(path: &Path) -> Result<Connection, sqlx::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(READ_BUSY)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(connection)
    };
    open().map_err(run::failure)
}

/// Opens the file to write to it, and makes it when there is none.
fn open_to_write(path: &Path) -> Result<Connection, sqlx::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(READ_BUSY)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        // FULL: an acknowledged commit has been fsynced. Foreign keys are off in SQLite unless asked for. The one writer
        // keeps what it works on in memory (16 MiB), and what it may have to undo.
        connection.execute_batch(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             PRAGMA foreign_keys = ON;
             PRAGMA cache_size = -16384;
             PRAGMA temp_store = MEMORY",
        )?;
        // From here on a lock is waited for where nobody is held up: in `Writer::begin`.
        connection.busy_timeout(Duration::ZERO)?;
        Ok(connection)
    };
    open().map_err(run::failure)
}
