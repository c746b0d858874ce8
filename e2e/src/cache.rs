//! The folder outside the tree that keeps what was installed or built.
//!
//! It is `$BERTH_CACHE`, or `berth` in the user's cache directory. Everything in it can be made again, so it may be
//! deleted whenever no cluster is up.

use std::{
    env,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};

use crate::wait;

/// Longer than the longest build, so that a second run waits for the first one's result.
const LOCK_WAIT: Duration = Duration::from_mins(45);

/// The cache folder.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

/// A lock that is held until this value is dropped, by this machine's runs of this program.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Cache {
    /// The cache that the environment names, made when it is not there.
    ///
    /// # Errors
    /// When neither `BERTH_CACHE` nor `HOME` is set, or the folder cannot be made.
    pub fn open() -> Result<Self> {
        let below = |variable: &str, folder: &str| env::var_os(variable).map(|path| Path::new(&path).join(folder));
        let root = below("BERTH_CACHE", "")
            .or_else(|| below("XDG_CACHE_HOME", "berth"))
            .or_else(|| below("HOME", ".cache/berth"))
            .context("neither BERTH_CACHE nor HOME says where to keep what is built")?;
        let root = std::path::absolute(root)?;
        fs::create_dir_all(&root).with_context(|| format!("make the cache folder {}", root.display()))?;
        Ok(Self { root })
    }

    /// A path in the cache; nothing is made.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A folder in the cache, made when it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.path(name);
        fs::create_dir_all(&path).with_context(|| format!("make the folder {}", path.display()))?;
        Ok(path)
    }

    /// Waits until no other run holds the lock `name`, and takes it.
    ///
    /// # Errors
    /// When another run still holds it after 45 minutes.
    pub fn lock(&self, name: &str) -> Result<Lock> {
        let path = self.folder("locks")?.join(name);
        let file = File::create(&path).with_context(|| format!("open the lock {}", path.display()))?;
        wait::until(
            &format!("another run lets go of {}", path.display()),
            LOCK_WAIT,
            || match file.try_lock() {
                Ok(()) => Ok(Some(())),
                Err(TryLockError::WouldBlock) => Ok(None),
                Err(TryLockError::Error(error)) => Err(error.into()),
            },
        )?;
        Ok(Lock { _file: file })
    }

    /// The folder `key`, filled by `make` the first time; it is there whole or not at all.
    ///
    /// # Errors
    /// What `make` fails with, or what the file system says.
    pub fn entry(&self, key: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let finished = self.path(key);
        if finished.exists() {
            return Ok(finished);
        }
        let _lock = self.lock(key)?;
        if finished.exists() {
            return Ok(finished);
        }
        let partial = self.path(&format!("{key}.partial"));
        if partial.exists() {
            fs::remove_dir_all(&partial)?;
        }
        fs::create_dir_all(&partial)?;
        make(&partial)?;
        fs::rename(&partial, &finished).with_context(|| format!("keep {}", finished.display()))?;
        Ok(finished)
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    fn scratch() -> (tempfile::TempDir, Cache) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_owned();
        (folder, Cache { root })
    }

    #[test]
    fn an_entry_is_made_once() {
        let (_folder, cache) = scratch();
        let path = cache
            .entry("tool-1", |path| Ok(fs::write(path.join("tool"), "made")?))
            .unwrap();

        let again = cache.entry("tool-1", |_| bail!("made twice")).unwrap();

        assert_eq!(path, again);
        assert_eq!(fs::read_to_string(path.join("tool")).unwrap(), "made");
    }

    #[test]
    fn a_failed_entry_leaves_nothing_that_looks_finished() {
        let (_folder, cache) = scratch();

        let failed = cache.entry("tool-1", |path| {
            fs::write(path.join("half"), "")?;
            bail!("no network")
        });

        assert!(failed.is_err());
        assert!(!cache.path("tool-1").exists());
        let made = cache
            .entry("tool-1", |path| Ok(fs::write(path.join("tool"), "")?))
            .unwrap();
        assert!(!made.join("half").exists(), "what a failed run left is not kept");
    }

    #[test]
    fn two_runs_at_once_make_an_entry_once() {
        let (_folder, cache) = scratch();
        let made = std::sync::atomic::AtomicUsize::new(0);

        let build = |_: &Path| {
            made.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Ok(())
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| cache.entry("tool-1", build));
            }
        });

        assert_eq!(made.into_inner(), 1);
    }
}
