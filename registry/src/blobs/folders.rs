//! Making the names of new files durable, for all who wait at one time at once.

use crate::syncs::Syncs;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};

/// The rounds of syncing one folder after the other; few folders are in use at one time.
#[derive(Debug, Default)]
pub(super) struct Folders {
    rounds: Mutex<std::collections::HashMap<PathBuf, Rounds>>,
    ended: Condvar,
    syncs: Syncs,
}

#[derive(Debug, Default)]
struct Rounds {
    begun: u64,
    ended: u64,
    running: bool,
    /// The last round that failed, and how.
    failed: Option<(u64, io::ErrorKind)>,
}

impl Folders {
    /// What became of the syncs of files and folders.
    pub(super) fn syncs(&self) -> &Syncs {
        &self.syncs
    }

    /// On return every file that had a name in the folder before the call has it after a crash.
    pub(super) fn sync(&self, path: &Path) -> io::Result<()> {
        self.sync_with(path, || {
            let folder = File::open(path)?;
            self.syncs.run(path.display(), || folder.sync_all())
        })
    }

    fn sync_with(&self, path: &Path, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut all = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        // One that runs may have looked at the folder before our file was in it: only the next round counts.
        let ours = all.entry(path.to_path_buf()).or_default().begun + 1;
        loop {
            let rounds = all.entry(path.to_path_buf()).or_default();
            if rounds.ended >= ours {
                return match rounds.failed {
                    Some((round, kind)) if round >= ours => Err(kind.into()),
                    _ => Ok(()),
                };
            }
            if !rounds.running {
                rounds.running = true;
                rounds.begun += 1;
                break;
            }
            all = self.ended.wait(all).unwrap_or_else(PoisonError::into_inner);
        }
        drop(all);
        let synced = sync();
        let mut all = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        let rounds = all.entry(path.to_path_buf()).or_default();
        rounds.running = false;
        rounds.ended = rounds.begun;
        if let Err(error) = &synced {
            rounds.failed = Some((rounds.begun, error.kind()));
        }
        drop(all);
        self.ended.notify_all();
        synced
    }
}

pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc;
    use std::thread;

    #[test]
    fn those_who_come_during_a_round_share_the_next_one() {
        let (folders, syncs) = (Folders::default(), AtomicU32::new(0));
        let (begun, is_begun) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel();
        let path = Path::new("folder");
        thread::scope(|scope| {
            let (folders, syncs) = (&folders, &syncs);
            scope.spawn(move || {
                folders.sync_with(path, || {
                    begun.send(()).unwrap();
                    may_go_on.recv().unwrap();
                    Ok(())
                })
            });
            is_begun.recv().unwrap();
            let counted = move || {
                syncs.fetch_add(1, Ordering::SeqCst);
                Ok(())
            };
            let join = move || folders.sync_with(path, counted);
            let others: Vec<_> = (0..8).map(|_| scope.spawn(join)).collect();
            // Nobody of them is told before a round that began after they came.
            assert!(others.iter().all(|other| !other.is_finished()));
            go_on.send(()).unwrap();
            for other in others {
                other.join().unwrap().unwrap();
            }
        });
        // One that comes when the second round has begun needs a third.
        assert!((1..=8).contains(&syncs.load(Ordering::SeqCst)));
    }

    #[test]
    fn a_round_that_fails_is_nobodys_success() {
        let folders = Folders::default();
        let path = Path::new("folder");

        let failed = folders.sync_with(path, || Err(io::ErrorKind::StorageFull.into()));
        let later = folders.sync_with(path, || Ok(()));

        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(later.is_ok());
    }
}
