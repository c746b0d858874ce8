//! A sync that failed is never repeated.
//!
//! When the disk does not take a page, Linux says so to one sync and keeps the page as if it had been written: the next
//! sync of the same file succeeds, and the bytes are gone with the next loss of power. Nothing that this process believes
//! to be on the disk can be relied on from then on. So the first such failure is final: every later sync fails as well, and
//! who watches ends the process. Its next start reads what is there.
//!
//! A disk that is full, a call that was interrupted and a file server that is away are no such failure: what was not
//! acknowledged is written again.

use rustix::io::Errno;
use std::fmt::Display;
use std::io;
use std::sync::{Arc, OnceLock};
use tokio_util::sync::CancellationToken;

/// What is over when room is made, the call is made again, or the file server is back; all else is final.
const PASSING: [Errno; 4] = [Errno::NOSPC, Errno::DQUOT, Errno::INTR, Errno::STALE];

/// What became of the syncs of one store. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Syncs(Arc<State>);

#[derive(Debug, Default)]
struct State {
    first: OnceLock<SyncFailed>,
    failed: CancellationToken,
}

/// The disk did not keep what it was told to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "could not make {what} durable: {told}; what is written after a failed sync may be lost though the system says that \
     it is not, so the server ends: look at the disk and the kernel's log, then start it again"
)]
pub struct SyncFailed {
    /// The file or folder.
    pub what: String,
    /// What the system said.
    pub told: String,
}

impl Syncs {
    /// Runs one sync of `what`, unless one failed before. One that ends after another failed is not believed either.
    ///
    /// # Errors
    /// What the sync said, or that an earlier one failed.
    pub fn run(&self, what: impl Display, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        self.check()?;
        if let Err(failed) = sync() {
            self.learn(what, &failed);
            return Err(failed);
        }
        self.check()
    }

    /// Takes note of a sync that failed, when its failure is final.
    pub fn learn(&self, what: impl Display, failed: &io::Error) {
        let passing = PASSING
            .iter()
            .any(|errno| failed.raw_os_error() == Some(errno.raw_os_error()));
        if passing {
            return;
        }
        let first = SyncFailed {
            what: what.to_string(),
            told: failed.to_string(),
        };
        if self.0.first.set(first).is_ok() {
            self.0.failed.cancel();
        }
    }

    /// Fails when a sync has failed.
    ///
    /// # Errors
    /// As the system says it of the sync itself.
    pub fn check(&self) -> io::Result<()> {
        match self.0.first.get() {
            None => Ok(()),
            Some(_) => Err(Errno::IO.into()),
        }
    }

    /// Waits for a failure, which need not come.
    pub async fn failed(&self) -> SyncFailed {
        loop {
            self.0.failed.cancelled().await;
            if let Some(first) = self.0.first.get() {
                return first.clone();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing(error: Errno) -> impl FnOnce() -> io::Result<()> {
        move || Err(error.into())
    }

    #[tokio::test]
    async fn after_a_sync_that_the_disk_refused_none_is_made_and_the_first_is_told() {
        let syncs = Syncs::default();

        assert!(syncs.run("one", failing(Errno::IO)).is_err());
        let later = syncs.clone().run("another", || panic!("it would be believed"));

        assert_eq!(later.unwrap_err().raw_os_error(), Some(Errno::IO.raw_os_error()));
        assert_eq!(syncs.failed().await.what, "one");
    }

    #[test]
    fn a_sync_during_which_another_failed_is_not_believed() {
        let syncs = Syncs::default();
        let other = syncs.clone();

        let ours = syncs.run("ours", || {
            drop(other.run("other", failing(Errno::IO)));
            Ok(())
        });

        assert!(ours.is_err());
    }

    #[test]
    fn full_disks_interruptions_and_lost_file_servers_are_not_final() {
        let syncs = Syncs::default();
        for passing in PASSING {
            assert!(syncs.run("one", failing(passing)).is_err());
        }

        assert!(syncs.run("one", || Ok(())).is_ok());
    }
}
