//! A small disk of its own, in memory, that can be filled. It is mounted in a namespace that ends with it.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::shell;

const STOP_LIMIT: Duration = Duration::from_secs(5);
const FILLING: &str = "filling";
const MIB: usize = 1024 * 1024;

/// The disk, for as long as the value lives; programs that use it must have ended before.
#[derive(Debug)]
pub(super) struct Disk {
    /// Keeps the namespace, and ends when nobody holds its standard input any more.
    holder: Child,
    mounted: TempDir,
}

impl Disk {
    /// An empty disk of so many MiB.
    ///
    /// # Errors
    /// When this user may not mount.
    pub(super) fn start(mebibytes: usize) -> Result<Self> {
        ensure!(
            shell::is_root(),
            "a disk that can be filled is a mount, for which the soak must be root"
        );
        let mounted = tempfile::Builder::new().prefix("berth-soak-").tempdir()?;
        let script = format!("mount -t tmpfs -o size={mebibytes}m berth-soak \"$0\" && echo ready && exec cat");
        let mut holder = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", &script])
            .arg(mounted.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start unshare")?;
        let mut line = String::new();
        if let Some(output) = holder.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        ensure!(line.trim() == "ready", "no disk in memory could be mounted");
        Ok(Self { holder, mounted })
    }

    /// Its folder, as the programs on it see it.
    pub(super) fn folder(&self) -> &Path {
        self.mounted.path()
    }

    /// The same folder from outside.
    pub(super) fn seen_from_outside(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        let inside = self.mounted.path().strip_prefix("/");
        root.join(inside.unwrap_or_else(|_| self.mounted.path()))
    }

    /// The program where it sees the disk; its process is the program's own.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.holder.id().to_string(), "--mount", "--"])
            .arg(program);
        command
    }

    /// Writes until there is no room left; gives the number of bytes.
    ///
    /// # Errors
    /// When it is another error than that.
    pub(super) fn fill(&self) -> Result<usize> {
        let mut file =
            File::create(self.seen_from_outside().join(FILLING)).context("make the file that fills the disk")?;
        let (block, mut written) = (vec![0; MIB], 0);
        // The last bytes too: in ever smaller pieces.
        for size in [MIB, 4096, 1] {
            while file.write_all(&block[..size]).is_ok() {
                written += size;
            }
        }
        Ok(written)
    }

    /// Makes room again.
    ///
    /// # Errors
    /// When the file that fills it cannot be removed.
    pub(super) fn empty(&self) -> Result<()> {
        fs::remove_file(self.seen_from_outside().join(FILLING)).context("make room on the disk")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        shell::stop(&mut self.holder, "KILL", STOP_LIMIT).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_is_full_takes_nothing_until_there_is_room() {
        let disk = Disk::start(2).unwrap();
        let write = || fs::write(disk.seen_from_outside().join("file"), vec![7; 100_000]);

        assert_eq!(disk.fill().unwrap(), 2 * MIB);
        assert!(write().is_err());

        disk.empty().unwrap();
        write().unwrap();
        let mut look = disk.command(Path::new("cat"));
        let seen = look.arg(disk.folder().join("file")).output().unwrap();
        assert_eq!(seen.stdout, vec![7; 100_000]);
        assert!(!disk.folder().join("file").exists(), "nobody else sees the disk");
    }
}
