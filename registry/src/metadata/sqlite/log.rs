//! The write-ahead log that another process left.

use super::run::{Failure, failure};
use rusqlite::Connection;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;

const PIECE: usize = 1024 * 1024;

/// Writes the log over itself and syncs it. A process whose sync failed leaves pages that the system takes for written and
/// that are not on the disk; a commit behind them, or a file into which they were folded, would be lost with them when the
/// power fails. Until this is done nothing rests on them: the lock keeps every other writer out.
pub(super) fn write_anew(connection: &Connection) -> Result<(), sqlx::Error> {
    // As SQLite names it.
    let name = format!("{}-wal", connection.path().unwrap_or_default());
    let log = match OpenOptions::new().read(true).write(true).open(&name) {
        Ok(log) => log,
        Err(missing) if missing.kind() == ErrorKind::NotFound => return Ok(()),
        Err(refused) => return Err(sqlx::Error::Io(refused)),
    };
    if let Err(error) = connection.execute_batch("BEGIN IMMEDIATE").map_err(failure) {
        // Whoever writes now has done this when it began.
        let busy = Failure::of(&error).is_busy();
        return if busy { Ok(()) } else { Err(error) };
    }
    let written = overwrite(&log).map_err(sqlx::Error::Io);
    let given_back = connection.execute_batch("ROLLBACK").map_err(failure);
    written.and(given_back)
}

fn overwrite(log: &File) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    let mut at = 0;
    loop {
        let read = match log.read_at(&mut piece, at) {
            Err(interrupted) if interrupted.kind() == ErrorKind::Interrupted => continue,
            read => read?,
        };
        if read == 0 {
            break;
        }
        log.write_all_at(&piece[..read], at)?;
        at += read as u64;
    }
    if at == 0 { Ok(()) } else { log.sync_data() }
}
