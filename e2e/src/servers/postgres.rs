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
    _folder: TempDir,
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
        let owner = if shell::is_root() {
            Some(owner("postgres")?)
        } else {
            None
        };
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
            _folder: folder,
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
}
