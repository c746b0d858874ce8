//! The control groups of a cluster's pods: one place of its own, so that two clusters leave each other's alone.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};

use crate::wait;

const MOUNTED: &str = "/sys/fs/cgroup";
const REMOVE_LIMIT: Duration = Duration::from_secs(20);

/// Makes `name` in every hierarchy.
///
/// # Errors
/// When this machine does not let us.
pub(super) fn make(name: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        let path = hierarchy.join(name);
        fs::create_dir_all(&path).with_context(|| format!("make the control group {}", path.display()))?;
        for place in [&hierarchy, &path] {
            delegate(place);
        }
    }
    Ok(())
}

/// Those that are there.
///
/// # Errors
/// When the hierarchies cannot be listed.
pub(super) fn present(name: &str) -> Result<Vec<PathBuf>> {
    Ok(hierarchies()?
        .into_iter()
        .map(|hierarchy| hierarchy.join(name))
        .filter(|path| path.exists())
        .collect())
}

/// Removes `name` everywhere; the programs in it have ended or are about to.
///
/// # Errors
/// When one is still in use after 20 seconds.
pub(super) fn remove(name: &str) -> Result<()> {
    for path in present(name)? {
        let what = format!("the control group {} is empty", path.display());
        wait::until_ok(&what, REMOVE_LIMIT, || Ok(remove_below(&path)?))?;
    }
    Ok(())
}

/// On cgroup v2 a group hands controllers to those below it only when told; on v1 there is no such file.
fn delegate(place: &Path) {
    for controller in ["cpu", "cpuset", "memory", "pids", "io", "hugetlb"] {
        let file = place.join("cgroup.subtree_control");
        if file.exists() {
            // One that this kernel lacks is refused; the kubelet names those that it misses.
            fs::write(&file, format!("+{controller}")).ok();
        }
    }
}

fn hierarchies() -> Result<Vec<PathBuf>> {
    let mounted = Path::new(MOUNTED);
    if mounted.join("cgroup.controllers").exists() {
        return Ok(vec![mounted.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(mounted).context("list the control groups")? {
        let path = entry?.path();
        // cpu and cpuacct are names for one hierarchy.
        if !path.is_symlink() && path.join("cgroup.procs").exists() {
            found.push(path);
        }
    }
    Ok(found)
}

/// Control groups have no files to delete: only empty folders go, the deepest first.
fn remove_below(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_below(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}
