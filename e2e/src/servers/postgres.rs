//! A PostgreSQL server with an empty database, for as long as the value lives.

use std::{
    fs::{self, File},
    net::IpAddr,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::free_port;
use crate::{
    cache::Cache,
    shell,
    shell::Log,
    tools::{apt, wheels},
    wait,
};

const START_LIMIT: Duration = Duration::from_mins(1);
const STOP_LIMIT: Duration = Duration::from_secs(10);
const DEBIAN: &str = "/usr/lib/postgresql/15/bin";

/// Which PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// The oldest that Berth supports.
    Oldest,
    /// The newest there is.
    Newest,
}

/// A running server. Anyone who reaches it is trusted, and a crash of the machine loses its data: it is for tests.
#[derive(Debug)]
pub struct Postgres {
    child: Child,
    folder: TempDir,
    programs: PathBuf,
    address: IpAddr,
    port: u16,
}

/// Who owns the server: it refuses to be root.
#[derive(Debug, Clone, Copy)]
struct Owner {
    user: u32,
    group: u32,
}

impl Postgres {
    /// Starts a server at a free port of `address`.
    ///
    /// # Errors
    /// When the programs cannot be had or the server does not serve within a minute.
    pub fn start(cache: &Cache, release: Release, address: IpAddr, log: &Log) -> Result<Self> {
        apt::ensure(&[apt::POSTGRESQL], cache, log)?;
        // Not in the cache: it may be below a home that only root may enter.
        let folder = tempfile::Builder::new().prefix("berth-postgres-").tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let programs = match release {
            Release::Oldest => PathBuf::from(DEBIAN),
            Release::Newest => unpacked(&wheels::postgresql(cache, log)?, folder.path(), log)?,
        };
        let owner = server_owner()?;
        let data = folder.path().join("data");
        fs::create_dir(&data)?;
        if let Some(owner) = owner {
            std::os::unix::fs::chown(&data, Some(owner.user), Some(owner.group))?;
        }
        let mut initdb = as_owner(&programs.join("initdb"), owner);
        initdb.arg("--pgdata").arg(&data).args([
            "--username",
            "postgres",
            "--auth",
            "trust",
            "--no-sync",
            "--encoding",
            "UTF8",
        ]);
        shell::run(initdb.args(["--locale", "C"]), log, START_LIMIT)?;
        // The file that initdb writes lets only this machine in; pods come from elsewhere.
        fs::write(
            data.join("pg_hba.conf"),
            "local all all trust\nhost all all all trust\n",
        )?;
        let port = free_port(address)?;
        let child = server(&programs, &data, owner)
            .args(settings(address, port))
            .stderr(log.handle()?)
            .spawn()?;
        let mut started = Self {
            child,
            folder,
            programs,
            address,
            port,
        };
        started.wait_until_ready()?;
        Ok(started)
    }

    /// The address of the superuser's database.
    pub fn url(&self) -> String {
        format!("postgres://postgres@{}:{}/postgres", self.address, self.port)
    }

    /// The port it listens at.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Carries out SQL as the superuser in `database`, and gives the unadorned answer.
    ///
    /// # Errors
    /// What the server says.
    pub fn sql(&self, database: &str, statement: &str) -> Result<String> {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.env("PGCONNECT_TIMEOUT", "5")
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"]);
        psql.args([
            "--set",
            "ON_ERROR_STOP=1",
            "--username",
            "postgres",
            "--dbname",
            database,
            "--command",
            statement,
        ]);
        psql.args(["--host", &self.address.to_string(), "--port", &self.port.to_string()]);
        shell::read(&mut psql, START_LIMIT)
    }

    /// Sends a signal to the server and to every process that serves for it.
    ///
    /// # Errors
    /// When `kill` cannot be started.
    pub fn signal_all(&self, signal: &str) -> Result<()> {
        let first = self.child.id();
        let serving = children_of(first)?;
        [first]
            .into_iter()
            .chain(serving)
            .try_for_each(|pid| shell::send(signal, pid))
    }

    /// Ends every process of it at once, as the kernel does when memory is short. What was committed is on disk.
    ///
    /// # Errors
    /// When a process is still there after ten seconds.
    pub fn kill(&mut self) -> Result<()> {
        let serving = children_of(self.child.id())?;
        self.child.kill()?;
        self.child.wait()?;
        serving.iter().try_for_each(|pid| shell::send("KILL", *pid))?;
        wait::until("PostgreSQL's processes are gone", STOP_LIMIT, || {
            let gone = |pid: &u32| !Path::new(&format!("/proc/{pid}")).exists();
            Ok(serving.iter().all(gone).then_some(()))
        })
    }

    /// Starts it again after [`Postgres::kill`], with the same data at the same port.
    ///
    /// # Errors
    /// When it does not serve within a minute.
    pub fn start_again(&mut self, log: &Log) -> Result<()> {
        let data = self.folder.path().join("data");
        self.child = server(&self.programs, &data, server_owner()?)
            .args(settings(self.address, self.port))
            .stderr(log.handle()?)
            .spawn()?;
        self.wait_until_ready()
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        wait::until("PostgreSQL serves", START_LIMIT, || {
            if let Some(status) = self.child.try_wait()? {
                bail!("PostgreSQL ended ({status}); its words are in the log");
            }
            Ok(self.sql("postgres", "SELECT 1").ok())
        })?;
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGQUIT: at once, but its shared memory is given back, which SIGKILL would leave.
        shell::stop(&mut self.child, "QUIT", STOP_LIMIT).ok();
    }
}

fn unpacked(packed: &Path, folder: &Path, log: &Log) -> Result<PathBuf> {
    let target = folder.join("programs");
    fs::create_dir(&target)?;
    let mut tar = Command::new("tar");
    tar.arg("-xzf")
        .arg(packed)
        .arg("-C")
        .arg(&target)
        .args(["--strip-components", "1", "--no-same-owner"]);
    shell::run(&mut tar, log, START_LIMIT)?;
    Ok(target.join("bin"))
}

fn server(programs: &Path, data: &Path, owner: Option<Owner>) -> Command {
    let mut command = as_owner(&programs.join("postgres"), owner);
    command.arg("-D").arg(data).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn settings(address: IpAddr, port: u16) -> Vec<String> {
    let set = [
        format!("listen_addresses={address}"),
        format!("port={port}"),
        "unix_socket_directories=".to_owned(),
        "max_connections=300".to_owned(),
        "fsync=off".to_owned(),
        "full_page_writes=off".to_owned(),
    ];
    set.into_iter().flat_map(|setting| ["-c".to_owned(), setting]).collect()
}

fn as_owner(program: &Path, owner: Option<Owner>) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/");
    if let Some(owner) = owner {
        command.uid(owner.user).gid(owner.group);
    }
    command
}

/// None for the user who runs this.
fn server_owner() -> Result<Option<Owner>> {
    shell::is_root().then(|| owner("postgres")).transpose()
}

/// The processes that this one has started.
fn children_of(pid: u32) -> Result<Vec<u32>> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc").context("list the processes")? {
        let name = entry?.file_name();
        let Some(child) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // One that has ended meanwhile is nobody's child.
        let status = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        let after_name = status.rsplit(')').next().unwrap_or_default();
        if after_name.split_whitespace().nth(1) == Some(pid.to_string().as_str()) {
            children.push(child);
        }
    }
    Ok(children)
}

fn owner(user: &str) -> Result<Owner> {
    let accounts = File::open("/etc/passwd")
        .and_then(std::io::read_to_string)
        .context("read /etc/passwd")?;
    let line = accounts.lines().find(|line| line.split(':').next() == Some(user));
    let fields: Vec<&str> = line
        .with_context(|| format!("there is no user {user}"))?
        .split(':')
        .collect();
    match fields[..] {
        [_, _, user, group, ..] => Ok(Owner {
            user: user.parse()?,
            group: group.parse()?,
        }),
        _ => bail!("/etc/passwd has a line without a group"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_user_is_found() {
        let root = owner("root").unwrap();

        assert_eq!((root.user, root.group), (0, 0));
    }

    #[test]
    fn a_process_knows_its_children() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();

        let children = children_of(std::process::id()).unwrap();

        child.kill().unwrap();
        child.wait().unwrap();
        assert!(children.contains(&child.id()));
    }
}
