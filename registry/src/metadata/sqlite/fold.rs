//! Folding the write-ahead log into the file, while others write.
//!
//! Left to itself SQLite folds within a commit, and whoever waits for that commit waits for another sync as well. Here a
//! connection of its own folds what is committed, piece by piece, beside the writer. The log is begun anew only when
//! all of it is folded and nobody writes: once it is long, its last few pages are folded in the writer's turn. It keeps
//! its length then, so that the syncs of commits have no new length of a file to write down.

use super::run::{Failure, failure};
use super::{Connection, open_to_write};
use crate::syncs::Syncs;
use std::cell::Cell;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Pages that are folded at one time: 8 MiB. A fold costs syncs of its own, so not fewer.
const PIECE: u32 = 2000;
/// Pages after which the log is begun anew.
const LONG: u32 = PIECE;
/// How long a fold that failed is not tried again.
const REST: Duration = Duration::from_secs(1);

thread_local! {
    /// The log's pages after this thread's last commit.
    static PAGES: Cell<u32> = const { Cell::new(0) };
}

/// Lets a connection that writes say how long the log is, and fold nothing by itself.
pub(super) fn count_pages(connection: &Connection) {
    connection.wal_hook(Some(|_, pages| {
        PAGES.set(u32::try_from(pages).unwrap_or_default());
        Ok(())
    }));
}

/// The log's pages after the commit that this thread has made; zero when it made none.
pub(super) fn pages() -> u32 {
    PAGES.take()
}

/// How far the log is folded, and by whom.
pub(super) struct Folding {
    path: PathBuf,
    syncs: Syncs,
    progress: Mutex<Progress>,
    /// Opened when it is first needed.
    connection: Mutex<Option<Connection>>,
}

#[derive(Debug, Default)]
struct Progress {
    folded: u32,
    under_way: bool,
    failed_at: Option<Instant>,
}

impl Progress {
    /// True when enough was written since; then it is under way.
    fn begins(&mut self, pages: u32, now: Instant) -> bool {
        if pages < self.folded {
            // The log was begun anew.
            self.folded = 0;
        }
        let rests = self.failed_at.is_some_and(|at| now.duration_since(at) < REST);
        let due = !self.under_way && !rests && pages - self.folded >= PIECE;
        self.under_way |= due;
        due
    }

    fn ends(&mut self, folded: Option<u32>, now: Instant) {
        self.under_way = false;
        self.failed_at = folded.is_none().then_some(now);
        self.folded = folded.unwrap_or(self.folded);
    }
}

/// What a fold came to, in pages.
#[derive(Debug, Clone, Copy)]
struct Folded {
    log: u32,
    folded: u32,
}

impl Folding {
    pub(super) fn new(path: PathBuf, syncs: Syncs) -> Self {
        Self {
            path,
            syncs,
            progress: Mutex::default(),
            connection: Mutex::default(),
        }
    }

    /// True when the caller is to fold now, and to say when that is over.
    pub(super) fn begins(&self, pages: u32) -> bool {
        self.progress().begins(pages, Instant::now())
    }

    fn progress(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Folds what is committed, beside the writer. True when the log is so long that it should be begun anew: then the fold
    /// is not over.
    pub(super) fn beside(&self) -> bool {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if connection.is_none() {
            *connection = open_to_write(&self.path).inspect_err(told).ok();
        }
        let folded = connection.as_ref().and_then(|connection| self.fold(connection));
        let is_long = folded.is_some_and(|folded| folded.log >= LONG);
        if !is_long {
            self.ends(folded);
        }
        is_long
    }

    /// Folds the rest in the writer's turn.
    pub(super) fn rest(&self, writer: &Connection) {
        self.ends(self.fold(writer));
    }

    fn ends(&self, folded: Option<Folded>) {
        let folded = folded.map(|folded| folded.folded);
        self.progress().ends(folded, Instant::now());
    }

    /// `None`: it failed, and that was told.
    fn fold(&self, connection: &Connection) -> Option<Folded> {
        self.syncs.check().ok()?;
        let folded = connection
            .prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")
            .and_then(|mut fold| {
                fold.query_row([], |row| {
                    Ok(Folded {
                        log: row.get(1)?,
                        folded: row.get(2)?,
                    })
                })
            });
        let why = std::io::Error::last_os_error();
        let folded = folded.map_err(failure);
        if let Err(failed) = &folded {
            if Failure::of(failed).is_of_a_sync() {
                self.syncs.learn("the database's file", &why);
            }
            told(failed);
        }
        folded.ok()
    }

    /// Whoever closes the last connection folds everything: that is to be the writer.
    pub(super) fn close(&self) {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        drop(connection.take());
    }
}

fn told(failed: &sqlx::Error) {
    let error = failed as &dyn std::error::Error;
    tracing::warn!(
        error,
        "the database's log is not folded into its file; it grows until it can be"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fold_is_due_after_so_many_pages_and_alone_and_not_soon_after_one_that_failed() {
        let (mut progress, now) = (Progress::default(), Instant::now());

        assert!(!progress.begins(PIECE - 1, now));
        assert!(progress.begins(PIECE, now));
        assert!(!progress.begins(PIECE * 9, now), "it is under way");
        progress.ends(Some(PIECE), now);
        assert!(!progress.begins(2 * PIECE - 1, now));
        assert!(progress.begins(2 * PIECE, now));
        progress.ends(None, now);
        assert!(!progress.begins(2 * PIECE, now), "it failed just now");
        assert!(progress.begins(2 * PIECE, now + REST));
        progress.ends(Some(2 * PIECE), now);
        assert!(!progress.begins(1, now), "begun anew");
        assert!(progress.begins(PIECE, now));
    }
}
