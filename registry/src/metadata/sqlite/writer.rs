//! The one connection that writes, and commits that many writers share.
//!
//! A caller's transaction is a savepoint within the file's transaction. When it commits, whoever waits for the
//! connection gets it at once, and the file's transaction is committed, with one fsync, when all who waited at that
//! time have had their turn; only then any of them is told. A commit that fails, fails for all of them.

use super::super::standing::Commits;
use super::fold::Folding;
use super::run::{Failure, failure};
use super::{fold, log, open_to_write};
use crate::syncs::Syncs;
use rusqlite::Connection;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

/// How long the lock of another process (a `migrate` beside a server) is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
const BUSY_POLL: Duration = Duration::from_millis(10);

/// Lends the connection to one transaction after the other, first come, first served.
#[derive(Clone)]
pub(in crate::metadata) struct Writer {
    state: Arc<Mutex<State>>,
    commits: Arc<Commits>,
    committing: TaskTracker,
    syncs: Syncs,
    folding: Arc<Folding>,
}

struct State {
    connection: Option<Connection>,
    commits: Arc<Commits>,
    syncs: Syncs,
    /// Those whose turn is over and whose commit is due; absent outside the file's transaction.
    group: Option<Group>,
}

struct Group {
    outcome: watch::Sender<Option<Result<(), Failure>>>,
    /// Somebody's turn in it is over.
    joined: bool,
    /// A task waits for its turn to commit the file's transaction.
    committing: bool,
    /// A task does so in a while, unless another was quicker.
    due: bool,
}

/// How long a lazy commit may wait for others.
const LAZY: Duration = Duration::from_millis(20);

impl Writer {
    pub(in crate::metadata) fn open(path: &Path) -> Result<Self, sqlx::Error> {
        let (commits, syncs) = (Arc::<Commits>::default(), Syncs::default());
        let connection = open_to_write(path)?;
        fold::count_pages(&connection);
        let state = State {
            connection: Some(connection),
            commits: Arc::clone(&commits),
            syncs: syncs.clone(),
            group: None,
        };
        Ok(Self {
            state: Arc::new(Mutex::new(state)),
            commits,
            committing: TaskTracker::new(),
            folding: Arc::new(Folding::new(path.to_path_buf(), syncs.clone())),
            syncs,
        })
    }

    /// Counts every commit to the file.
    pub(in crate::metadata) fn commits(&self) -> Arc<Commits> {
        Arc::clone(&self.commits)
    }

    /// What became of the commits' syncs.
    pub(in crate::metadata) fn syncs(&self) -> &Syncs {
        &self.syncs
    }

    /// Makes what an earlier process left in the log durable, perhaps after a sync that failed: only then may anything be
    /// built on it.
    pub(in crate::metadata) async fn renew_log(&self) -> Result<(), sqlx::Error> {
        let state = Arc::clone(&self.state).lock_owned().await;
        let renewed = tokio::task::spawn_blocking(move || log::write_anew(state.connection()?)).await;
        renewed.unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }

    pub(in crate::metadata) async fn begin(&self, patience: Duration) -> Result<Turn, sqlx::Error> {
        let waiting = Arc::clone(&self.state).lock_owned();
        let mut state = timeout(patience, waiting)
            .await
            .map_err(|_elapsed| sqlx::Error::PoolTimedOut)?;
        if state.connection()?.is_autocommit() {
            // A group whose transaction SQLite gave up has nothing left to commit.
            state.end_group(Err(Failure::rolled_back()));
            state.begin().await?;
        }
        state.run("SAVEPOINT turn")?;
        Ok(Turn {
            state,
            writer: self.clone(),
            open: true,
        })
    }

    /// Closes the connection, and so folds the write-ahead log into the file.
    pub(in crate::metadata) async fn close(&self) {
        self.committing.close();
        self.committing.wait().await;
        self.folding.close();
        let mut state = self.state.lock().await;
        drop(state.connection.take());
    }

    /// Commits the group when those who wait already have had their turn.
    async fn commit_group(self) {
        let mut state = Arc::clone(&self.state).lock_owned().await;
        // The disk may take its time.
        let committing = tokio::task::spawn_blocking(move || {
            state.commit();
            fold::pages()
        });
        match committing.await {
            Ok(pages) if self.folding.begins(pages) => {
                let tasks = self.committing.clone();
                tasks.spawn(self.fold());
            }
            Ok(_) => {}
            Err(panicked) => tracing::error!(error = &panicked as &dyn std::error::Error, "commit not finished"),
        }
    }

    /// Folds the log into the file; what a long one has left, while nobody writes.
    async fn fold(self) {
        let folding = Arc::clone(&self.folding);
        let folded = tokio::task::spawn_blocking(move || folding.beside()).await;
        if !folded.unwrap_or_else(|error| panicked(&error)) {
            return;
        }
        let mut state = self.state.lock_owned().await;
        let folding = self.folding;
        let rest = tokio::task::spawn_blocking(move || {
            state.commit();
            if let Ok(connection) = state.connection() {
                folding.rest(connection);
            }
        });
        rest.await.unwrap_or_else(|error| panicked(&error));
    }
}

impl State {
    fn connection(&self) -> Result<&Connection, sqlx::Error> {
        self.connection.as_ref().ok_or(sqlx::Error::PoolClosed)
    }

    fn run(&self, sql: &'static str) -> Result<(), sqlx::Error> {
        let mut statement = self.connection()?.prepare_cached(sql).map_err(failure)?;
        statement.raw_execute().map(drop).map_err(failure)
    }

    /// Begins the file's transaction, with the file's lock.
    async fn begin(&mut self) -> Result<(), sqlx::Error> {
        let deadline = Instant::now() + BUSY_TIMEOUT;
        while let Err(error) = self.run("BEGIN IMMEDIATE") {
            if !Failure::of(&error).is_busy() || Instant::now() >= deadline {
                return Err(error);
            }
            tokio::time::sleep(BUSY_POLL).await;
        }
        self.group = Some(Group {
            outcome: watch::Sender::new(None),
            joined: false,
            committing: false,
            due: false,
        });
        Ok(())
    }

    fn commit(&mut self) {
        // Another task was quicker.
        if self.group.is_none() {
            return;
        }
        // SQLite gave the transaction up, after an error that a later turn met.
        if self.connection().is_ok_and(Connection::is_autocommit) {
            return self.end_group(Err(Failure::rolled_back()));
        }
        let under_way = self.commits.begin();
        let committed = self.commit_file();
        drop(under_way);
        if committed.is_err() && self.connection().is_ok_and(|connection| !connection.is_autocommit()) {
            drop(self.run("ROLLBACK"));
        }
        self.end_group(committed);
    }

    fn commit_file(&self) -> Result<(), Failure> {
        self.syncs.check().map_err(|_earlier| Failure::unsynced())?;
        self.run("COMMIT").map_err(|error| {
            // SQLite tells that a sync failed, and leaves why where the system left it.
            let why = std::io::Error::last_os_error();
            let failure = Failure::of(&error);
            if failure.is_of_a_sync() {
                self.syncs.learn("the database's log", &why);
            }
            failure
        })
    }

    fn end_group(&mut self, outcome: Result<(), Failure>) {
        if let Some(group) = self.group.take() {
            group.outcome.send_replace(Some(outcome));
        }
    }
}

fn panicked<T: Default>(error: &tokio::task::JoinError) -> T {
    tracing::error!(
        error = error as &dyn std::error::Error,
        "the database's log was not folded"
    );
    T::default()
}

/// A transaction's turn with the connection. Dropped without [`Turn::commit`], nothing of it remains.
pub(in crate::metadata) struct Turn {
    state: OwnedMutexGuard<State>,
    writer: Writer,
    open: bool,
}

impl Turn {
    /// The connection, unless SQLite gave the transaction up: the next statement would be one of its own.
    pub(in crate::metadata) fn connection(&self) -> Result<&Connection, sqlx::Error> {
        let connection = self.state.connection()?;
        if connection.is_autocommit() {
            return Err(Failure::rolled_back().into());
        }
        Ok(connection)
    }

    /// Ends the turn; what it did is seen by the next.
    fn join(&mut self) -> Result<&mut Group, sqlx::Error> {
        self.connection()?;
        self.state.run("RELEASE turn")?;
        self.open = false;
        let group = self.state.group.as_mut().ok_or_else(Failure::rolled_back)?;
        group.joined = true;
        Ok(group)
    }

    /// Lets the transaction be committed with the next one, or soon. The next one to write sees what it did, readers
    /// do so later; a crash may undo it, together with all that was written after it.
    pub(in crate::metadata) fn commit_lazily(mut self) -> Result<(), sqlx::Error> {
        let group = self.join()?;
        if !group.committing && !std::mem::replace(&mut group.due, true) {
            let writer = self.writer.clone();
            self.writer.committing.spawn(async move {
                tokio::time::sleep(LAZY).await;
                writer.commit_group().await;
            });
        }
        Ok(())
    }

    /// On return everything of the transaction is on the disk.
    pub(in crate::metadata) async fn commit(mut self) -> Result<(), sqlx::Error> {
        let group = self.join()?;
        let first = !std::mem::replace(&mut group.committing, true);
        let mut outcome = group.outcome.subscribe();
        if first {
            // A task of its own: the request may be dropped, and others may rely on this commit.
            self.writer.committing.spawn(self.writer.clone().commit_group());
        }
        drop(self);
        let told = outcome.wait_for(Option::is_some).await;
        let told = told.map(|told| told.clone().unwrap_or(Ok(())));
        told.unwrap_or_else(|_gone| Err(Failure::rolled_back()))
            .map_err(sqlx::Error::from)
    }
}

impl State {
    /// Takes back what an open turn did, and if that cannot be done alone, everything that is not committed.
    fn undo_turn(&mut self) -> Result<(), sqlx::Error> {
        let joined = self.group.as_ref().is_some_and(|group| group.joined);
        if joined {
            let undone = self.run("ROLLBACK TO turn").and_then(|()| self.run("RELEASE turn"));
            let Err(error) = undone else {
                return Ok(());
            };
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "transaction not rolled back alone"
            );
        }
        self.end_group(Err(Failure::rolled_back()));
        self.run("ROLLBACK")
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let ended = self.state.connection().is_ok_and(Connection::is_autocommit);
        if self.open
            && !ended
            && let Err(error) = self.state.undo_turn()
        {
            tracing::error!(error = &error as &dyn std::error::Error, "transaction not rolled back");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::join_all;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn writer() -> (Writer, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::open(&folder.path().join("file")).unwrap();
        (writer, folder)
    }

    async fn write(writer: &Writer, sql: &str) -> Result<(), sqlx::Error> {
        let turn = writer.begin(PATIENCE).await?;
        turn.connection()?.execute_batch(sql).map_err(failure)?;
        turn.commit().await
    }

    fn rows(folder: &tempfile::TempDir) -> i64 {
        let reader = Connection::open(folder.path().join("file")).unwrap();
        reader
            .query_row("SELECT count(*) FROM t", [], |row| row.get(0))
            .unwrap()
    }

    #[tokio::test]
    async fn those_who_wait_at_one_time_share_a_commit() {
        let (writer, folder) = writer();
        write(&writer, "CREATE TABLE t (n INTEGER)").await.unwrap();
        let first = writer.begin(PATIENCE).await.unwrap();
        let others = (0..20).map(async |_| {
            let turn = writer.begin(PATIENCE).await?;
            turn.connection()?
                .execute_batch("INSERT INTO t VALUES (1)")
                .map_err(failure)?;
            // The first has released its rows before this turn began; they wait for the commit of all.
            let seen = rows(&folder);
            turn.commit().await.map(|()| seen)
        });
        let (seen, committed) = tokio::join!(join_all(others), first.commit());

        committed.unwrap();
        let seen: Result<Vec<i64>, sqlx::Error> = seen.into_iter().collect();
        assert_eq!(seen.unwrap(), [0; 20]);
        assert_eq!(rows(&folder), 20);
    }

    #[tokio::test]
    async fn a_turn_that_is_given_up_takes_only_its_own_rows_back() {
        let (writer, folder) = writer();
        write(&writer, "CREATE TABLE t (n INTEGER)").await.unwrap();
        let given_up = writer.begin(PATIENCE).await.unwrap();
        let (kept, (), also_kept) = tokio::join!(
            write(&writer, "INSERT INTO t VALUES (1)"),
            async {
                given_up
                    .connection()
                    .unwrap()
                    .execute_batch("INSERT INTO t VALUES (2)")
                    .unwrap();
                drop(given_up);
            },
            write(&writer, "INSERT INTO t VALUES (3)")
        );

        assert!(kept.is_ok() && also_kept.is_ok());
        assert_eq!(rows(&folder), 2);
    }

    #[tokio::test]
    async fn a_commit_whose_caller_went_away_is_made_all_the_same() {
        let (writer, folder) = writer();
        write(&writer, "CREATE TABLE t (n INTEGER)").await.unwrap();
        let turn = writer.begin(PATIENCE).await.unwrap();
        turn.connection()
            .unwrap()
            .execute_batch("INSERT INTO t VALUES (1)")
            .unwrap();
        let mut committing = Box::pin(turn.commit());
        assert!(futures::poll!(&mut committing).is_pending());
        drop(committing);

        writer.close().await;

        assert_eq!(rows(&folder), 1);
    }

    #[tokio::test]
    async fn the_log_is_folded_and_begun_anew_while_rows_come_and_are_read() {
        let (writer, folder) = writer();
        write(&writer, "CREATE TABLE t (n BLOB)").await.unwrap();
        // 60 MB of pages, in all.
        for _ in 0..150 {
            let several = (0..4).map(|_| write(&writer, "INSERT INTO t VALUES (zeroblob(100000))"));
            for written in join_all(several).await {
                written.unwrap();
            }
            rows(&folder);
        }

        let length = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().len();
        assert!(length("file-wal") < 30_000_000, "{}", length("file-wal"));
        assert!(length("file") > 30_000_000, "{}", length("file"));
        assert_eq!(rows(&folder), 600);
        writer.close().await;
        assert!(length("file") > 60_000_000, "{}", length("file"));
        assert_eq!(rows(&folder), 600);
    }

    #[tokio::test]
    async fn nobody_is_told_of_success_when_the_shared_commit_fails() {
        let (writer, folder) = writer();
        write(
            &writer,
            "CREATE TABLE t (n INTEGER PRIMARY KEY);
             CREATE TABLE child (n INTEGER REFERENCES t (n) DEFERRABLE INITIALLY DEFERRED)",
        )
        .await
        .unwrap();
        // A deferred key is looked at by the commit alone: it makes that fail, as a full disk would.
        let first = writer.begin(PATIENCE).await.unwrap();
        let (told, dangling) = tokio::join!(write(&writer, "INSERT INTO t VALUES (1)"), async {
            first
                .connection()
                .unwrap()
                .execute_batch("INSERT INTO child VALUES (7)")
                .unwrap();
            first.commit().await
        });

        assert!(told.is_err() && dangling.is_err());
        assert_eq!(rows(&folder), 0);
        write(&writer, "INSERT INTO t VALUES (2)").await.unwrap();
        assert_eq!(rows(&folder), 1);
    }
}
