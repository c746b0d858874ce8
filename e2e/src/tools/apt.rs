//! Debian packages: installed only when what they bring is missing.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, bail};

use crate::{cache::Cache, shell, shell::Log};

const UPDATE_LIMIT: Duration = Duration::from_mins(5);
const INSTALL_LIMIT: Duration = Duration::from_mins(15);

/// A Debian package, and the file that shows that it is there.
#[derive(Debug, Clone, Copy)]
pub struct Package {
    name: &'static str,
    proof: &'static str,
}

impl Package {
    /// True for the package of this name.
    pub fn is(&self, name: &str) -> bool {
        self.name == name
    }
}

const fn package(name: &'static str, proof: &'static str) -> Package {
    Package { name, proof }
}

/// The client that pushes and pulls.
pub const SKOPEO: Package = package("skopeo", "/usr/bin/skopeo");
/// The oldest PostgreSQL that Berth supports; it also brings the user `postgres`.
pub const POSTGRESQL: Package = package("postgresql-15", "/usr/lib/postgresql/15/bin/postgres");
/// The server that measures.
pub const PROMETHEUS: Package = package("prometheus", "/usr/bin/prometheus");
/// What makes system calls fail, and disks in a name space of their own.
pub const DISKS: [Package; 3] = [
    package("strace", "/usr/bin/strace"),
    package("mount", "/bin/mount"),
    package("util-linux", "/usr/bin/unshare"),
];
/// pip, which fetches what the Python index has.
pub const PIP: Package = package("python3-pip", "/usr/bin/pip3");
/// What runs the programs of the npm registry, and what fetches them.
pub const NPM: [Package; 2] = [package("nodejs", "/usr/bin/node"), package("npm", "/usr/bin/npm")];
/// The shell of the images; static, because an image has no C library.
pub const BUSYBOX: Package = package("busybox-static", "/usr/share/doc/busybox-static/copyright");
/// The certificates that the images trust.
pub const CERTIFICATES: Package = package("ca-certificates", "/etc/ssl/certs/ca-certificates.crt");
/// The container engines that push and pull, and what they stand on.
pub const ENGINES: [Package; 8] = [
    package("containerd", "/usr/bin/containerd"),
    package("runc", "/usr/sbin/runc"),
    package("docker.io", "/usr/sbin/dockerd"),
    package("podman", "/usr/bin/podman"),
    package("buildah", "/usr/bin/buildah"),
    package("openssl", "/usr/bin/openssl"),
    package("mount", "/bin/mount"),
    package("util-linux", "/usr/bin/unshare"),
];
/// What a Kubernetes node needs beside Kubernetes.
pub const NODE: [Package; 8] = [
    package("containerd", "/usr/bin/containerd"),
    package("runc", "/usr/sbin/runc"),
    package("containernetworking-plugins", "/usr/lib/cni/bridge"),
    package("nftables", "/usr/sbin/nft"),
    package("iproute2", "/bin/ip"),
    package("openssl", "/usr/bin/openssl"),
    package("mount", "/bin/mount"),
    package("util-linux", "/usr/bin/nsenter"),
];

/// Installs those of `packages` whose files are missing.
///
/// # Errors
/// When something is missing and this is not a Debian system, or not root, or the packages cannot be had.
pub fn ensure(packages: &[Package], cache: &Cache, log: &Log) -> Result<()> {
    if missing(packages).is_empty() {
        return Ok(());
    }
    let _lock = cache.lock("apt")?;
    let names = missing(packages);
    if names.is_empty() {
        return Ok(());
    }
    if shell::which("apt-get").is_none() {
        bail!(
            "missing on this machine, which has no apt-get to install it with: {}",
            names.join(" ")
        );
    }
    if !shell::is_root() {
        bail!(
            "missing, and only root may install it: apt-get install --no-install-recommends {}",
            names.join(" ")
        );
    }
    let why = || format!("install the Debian packages {}", names.join(" "));
    shell::run(apt_get().arg("update"), log, UPDATE_LIMIT).with_context(why)?;
    // Whoever has another package for the same job (Docker's own containerd) must not lose it.
    let install = ["install", "--yes", "--no-remove", "--no-install-recommends"];
    shell::run(apt_get().args(install).args(&names), log, INSTALL_LIMIT).with_context(why)?;
    let still = missing(packages);
    if !still.is_empty() {
        bail!(
            "installed, but their files are not where they belong: {}",
            still.join(" ")
        );
    }
    Ok(())
}

fn missing(packages: &[Package]) -> Vec<&'static str> {
    let absent = packages.iter().filter(|package| !is_there(package.proof));
    absent.map(|package| package.name).collect()
}

/// True for the file, or for a program of its name that another package brought.
fn is_there(proof: &str) -> bool {
    let path = Path::new(proof);
    let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
    let program = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_program = ["bin", "sbin"].iter().any(|name| folder == *name) && !proof.starts_with("/usr/lib/");
    path.exists() || (is_program && shell::which(program).is_some())
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["--quiet", "-o", "DPkg::Lock::Timeout=300"]);
    command
}
