//! Ending a cluster: its first program, and with it everything in its namespaces; then what the kernel and the file
//! system still hold.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};

use super::{cgroups, control_group, state_folder};
use crate::{cache::Cache, shell, wait};

/// Lists the folders that clusters made outside their own, for all clusters of the cache.
pub(super) const MADE_FOLDERS: &str = "clusters-made-folders";
const END_LIMIT: Duration = Duration::from_secs(30);

/// What tells a running cluster's programs from others that got their numbers later.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    unshare: u32,
    pub(super) init: u32,
    network: PathBuf,
}

impl Identity {
    pub(super) fn of(unshare: u32, init: u32) -> Result<Self> {
        let own = network_of("self").context("read the network namespace of this program")?;
        // Until unshare(2) has returned, the child shows its parent's namespace.
        let network = wait::until("the cluster has its own network", END_LIMIT, || {
            Ok(network_of(&init.to_string()).filter(|network| *network != own))
        })?;
        Ok(Self { unshare, init, network })
    }

    pub(super) fn write(&self, state: &Path) -> Result<()> {
        let text = format!("{}\n{}\n{}\n", self.unshare, self.init, self.network.display());
        Ok(fs::write(state.join("identity"), text)?)
    }

    pub(super) fn read(state: &Path) -> Result<Option<Self>> {
        let text = match fs::read_to_string(state.join("identity")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        let mut lines = text.lines();
        let mut next = || lines.next().context("the cluster's identity is cut short");
        Ok(Some(Self {
            unshare: next()?.parse()?,
            init: next()?.parse()?,
            network: next()?.into(),
        }))
    }

    pub(super) fn is_alive(&self) -> bool {
        network_of(&self.init.to_string()).as_ref() == Some(&self.network)
    }

    /// Every program in the cluster's network: its own, and those that were started beside them with `inside`.
    fn members(&self) -> Result<Vec<u32>> {
        let mut members = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(number) = name
                .to_str()
                .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
            else {
                continue;
            };
            if network_of(number).as_ref() == Some(&self.network) {
                members.push(number.parse()?);
            }
        }
        Ok(members)
    }
}

/// A program that has ended but is not yet collected has no namespace any more, unlike what `kill -0` says.
fn network_of(program: &str) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{program}/ns/net")).ok()
}

/// Ends the cluster `name` and removes everything it made. False when there was nothing.
///
/// # Errors
/// When a program or a control group does not go away.
pub fn down(cache: &Cache, name: &str) -> Result<bool> {
    let _lock = cache.lock(&format!("cluster-{name}"))?;
    clear(cache, name)
}

/// As [`down`], for one who holds the lock.
pub(super) fn clear(cache: &Cache, name: &str) -> Result<bool> {
    let state = state_folder(cache, name);
    if let Some(identity) = Identity::read(&state)? {
        end(&identity)?;
    }
    cgroups::remove(&control_group(&state))?;
    if !state.exists() {
        return Ok(false);
    }
    remove_made_folders(cache)?;
    fs::remove_dir_all(&state).with_context(|| format!("remove {}", state.display()))?;
    Ok(true)
}

fn end(identity: &Identity) -> Result<()> {
    if identity.is_alive() {
        // Its child, process 1 of the namespaces, is killed with it, and by that everything in them.
        shell::send("KILL", identity.unshare)?;
        shell::send("KILL", identity.init)?;
    }
    wait::until("every program of the cluster has ended", END_LIMIT, || {
        let members = identity.members()?;
        for member in &members {
            shell::send("KILL", *member)?;
        }
        Ok(members.is_empty().then_some(()))
    })
}

/// Folders that the machine did not have before, once no cluster mounts anything there. (Removing a folder that is
/// a mount point in another namespace would take the mount away from it.)
fn remove_made_folders(cache: &Cache) -> Result<()> {
    let record = cache.path(MADE_FOLDERS);
    let Ok(made) = fs::read_to_string(&record) else {
        return Ok(());
    };
    let used = mount_points()?;
    let (kept, unused): (Vec<&str>, Vec<&str>) = made.lines().partition(|folder| used.contains(*folder));
    for folder in unused {
        // One that holds something by now is not ours any more.
        fs::remove_dir(folder).ok();
    }
    if kept.is_empty() {
        return Ok(fs::remove_file(&record)?);
    }
    Ok(fs::write(&record, format!("{}\n", kept.join("\n")))?)
}

/// Every mount point of every namespace on the machine.
fn mount_points() -> Result<HashSet<String>> {
    let mut points = HashSet::new();
    for entry in fs::read_dir("/proc")? {
        let mounts = fs::read_to_string(entry?.path().join("mountinfo")).unwrap_or_default();
        points.extend(
            mounts
                .lines()
                .filter_map(|line| line.split(' ').nth(4))
                .map(str::to_owned),
        );
    }
    Ok(points)
}

/// What of the cluster `name` is still on the machine, in words.
///
/// # Errors
/// When the machine cannot be looked at.
pub fn leftovers(cache: &Cache, name: &str) -> Result<Vec<String>> {
    let state = state_folder(cache, name);
    let mut found = Vec::new();
    if let Some(identity) = Identity::read(&state)? {
        found.extend(
            identity
                .members()?
                .into_iter()
                .map(|member| format!("program {member}")),
        );
    }
    found.extend(
        cgroups::present(&control_group(&state))?
            .iter()
            .map(|path| format!("control group {}", path.display())),
    );
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let place = state.display().to_string();
    found.extend(
        mounts
            .lines()
            .filter(|line| line.contains(&place))
            .map(|line| format!("mount {line}")),
    );
    if state.exists() {
        found.push(format!("folder {}", state.display()));
    }
    Ok(found)
}
