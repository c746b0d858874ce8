//! containerd, through `ctr`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};

use super::{
    Client,
    fixtures::Layout,
    matrix::{Cell, DONE},
    relay::Direction,
    site::{Daemon, Site},
};
use crate::tools::clients::Programs;

struct Containerd {
    ctr: PathBuf,
    socket: PathBuf,
    _daemon: Daemon,
}

/// Of the first major version: what most nodes have.
const FIRST: &str = r#"version = 2
disabled_plugins = ["io.containerd.grpc.v1.cri"]
"#;

/// Of the second: it takes a layer in several ranges at once, each of a megabyte.
const SECOND: &str = r#"version = 3
disabled_plugins = ["io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri"]
[plugins."io.containerd.transfer.v1.local"]
concurrent_layer_fetch_buffer = 1048576
unpack_config = [{platform = "linux/amd64", snapshotter = "native", differ = "walking"}]
"#;

/// Debian's.
pub(super) fn start(_: &Programs, site: &Site<'_>) -> Result<Box<dyn Client>> {
    begin(site, (Path::new("containerd"), Path::new("ctr")), FIRST)
}

/// The newest.
pub(super) fn start_second(programs: &Programs, site: &Site<'_>) -> Result<Box<dyn Client>> {
    begin(site, (&programs.containerd, &programs.ctr), SECOND)
}

/// Starts it with everything in the client's folder, and without what pods need.
fn begin(site: &Site<'_>, (daemon, ctr): (&Path, &Path), configuration: &str) -> Result<Box<dyn Client>> {
    let (socket, file) = (site.path("containerd.sock"), site.path("containerd.toml"));
    let quoted = |name: &str| format!("\"{}\"", site.path(name).display());
    let places = format!(
        "root = {}\nstate = {}\n{configuration}[grpc]\naddress = {}\n[plugins.\"io.containerd.internal.v1.opt\"]\npath = {}\n",
        quoted("root"),
        quoted("state"),
        quoted("containerd.sock"),
        quoted("opt")
    );
    fs::write(&file, places)?;
    let mut command = site.daemon(daemon);
    command.arg("--config").arg(&file);
    let mut daemon = site.start(command)?;
    let answers = || ctr_at(site, ctr, &socket).arg("version").output();
    daemon.ready("containerd answers", || {
        answers().is_ok_and(|said| said.status.success())
    })?;
    Ok(Box::new(Containerd {
        ctr: ctr.to_owned(),
        socket,
        _daemon: daemon,
    }))
}

fn ctr_at(site: &Site<'_>, ctr: &Path, socket: &Path) -> Command {
    let mut command = site.command(ctr);
    command.arg("--address").arg(socket);
    command
}

impl Containerd {
    fn run(&self, site: &Site<'_>, arguments: &[&str]) -> Result<()> {
        site.run(ctr_at(site, &self.ctr, &self.socket).args(arguments))
    }

    fn read(&self, site: &Site<'_>, arguments: &[&str]) -> Result<String> {
        site.read(ctr_at(site, &self.ctr, &self.socket).args(arguments))
    }

    /// Brings an image into the content store; gives its name.
    fn imported(&self, site: &Site<'_>, layout: &Layout) -> Result<String> {
        let archive = layout.archive.path.display().to_string();
        self.run(site, &["images", "import", "--no-unpack", "--all-platforms", &archive])?;
        Ok(format!("docker.io/{}", layout.archive.reference))
    }

    fn push(&self, site: &Site<'_>, to: &str, image: &str) -> Result<()> {
        self.run(site, &["images", "push", "--plain-http", to, image])
    }

    /// Pulls an image; it is the one of `digest` and all of it is there.
    fn pulled(&self, site: &Site<'_>, options: &[&str], from: &str, digest: &str) -> Result<()> {
        let pull = [
            &["images", "pull", "--plain-http", "--snapshotter", "native"],
            options,
            &[from],
        ];
        self.run(site, &pull.concat())?;
        let check = ["images", "check", "--snapshotter", "native"];
        let said = self.read(site, &check)?;
        let line = said.lines().find(|line| line.starts_with(from)).unwrap_or_default();
        ensure!(
            line.contains(digest) && line.contains("complete"),
            "of {from} it has: {line}"
        );
        Ok(())
    }

    /// Removes every image, and waits until their content is gone.
    fn emptied(&self, site: &Site<'_>) -> Result<()> {
        let names = self.read(site, &["images", "ls", "--quiet"])?;
        for name in names.lines() {
            self.run(site, &["images", "rm", "--sync", name])?;
        }
        Ok(())
    }
}

impl Client for Containerd {
    fn version(&self, site: &Site<'_>) -> Result<String> {
        let said = self.read(site, &["version"])?;
        let version = said.lines().rev().find_map(|line| line.trim().strip_prefix("Version:"));
        let version = version.unwrap_or_default().trim().trim_start_matches('v');
        Ok(version.split(['~', '+']).next().unwrap_or_default().to_owned())
    }

    fn push(&self, site: &Site<'_>) -> Result<Cell> {
        let image = self.imported(site, &site.images.image)?;
        self.push(site, &site.at("app:v1"), &image)?;
        let manifest = site.pushed(("app", "v1"), &site.images.image)?;
        ensure!(
            manifest.digest == site.images.image.archive.digest,
            "it pushed {}",
            manifest.digest
        );
        DONE
    }

    fn pull(&self, site: &Site<'_>) -> Result<Cell> {
        self.emptied(site)?;
        self.pulled(site, &[], &site.at("app:v1"), &site.images.image.archive.digest)?;
        DONE
    }

    fn list(&self, _: &Site<'_>) -> Result<Cell> {
        Ok(Cell::Cannot("it lists its own content only"))
    }

    /// It remembers where it pulled a layer from, and asks for a mount from there.
    fn copy(&self, site: &Site<'_>) -> Result<Cell> {
        let mark = site.mark()?;
        self.push(site, &site.at("copied:v1"), &site.at("app:v1"))?;
        site.pushed(("copied", "v1"), &site.images.image)?;
        site.mounted(mark, "copied", 3)?;
        Ok(Cell::Done("mount"))
    }

    fn index(&self, site: &Site<'_>) -> Result<Cell> {
        let index = &site.images.index;
        let (image, there) = (self.imported(site, index)?, site.at("index:v1"));
        self.push(site, &there, &image)?;
        ensure!(
            site.index_pushed("index", "v1")?.digest == index.archive.digest,
            "another index"
        );
        self.emptied(site)?;
        self.pulled(site, &["--all-platforms"], &there, &index.archive.digest)?;
        self.emptied(site)?;
        let pull = [
            "images",
            "pull",
            "--plain-http",
            "--snapshotter",
            "native",
            "--platform",
            "linux/arm64",
            &there,
        ];
        self.run(site, &pull)?;
        // It keeps what describes the other images too, but not their layers.
        let (has, entries) = (
            self.read(site, &["content", "ls", "--quiet"])?,
            index.json(&index.archive.digest)?,
        );
        let mut there = Vec::new();
        for entry in entries["manifests"].as_array().into_iter().flatten() {
            let image = index.json(entry["digest"].as_str().unwrap_or_default())?;
            there.push(has.contains(image["layers"][1]["digest"].as_str().unwrap_or("none")));
        }
        ensure!(
            there == [false, true],
            "of the images for amd64 and arm64 it has {there:?}"
        );
        DONE
    }

    fn cut_push(&self, site: &Site<'_>) -> Result<Cell> {
        let image = self.imported(site, &site.images.second)?;
        let to = site.through_relay("cut:v1");
        let after = site.cut(Direction::Up, || self.push(site, &to, &image))?;
        site.pushed(("cut", "v1"), &site.images.second)?;
        Ok(after.into())
    }

    fn cut_pull(&self, site: &Site<'_>) -> Result<Cell> {
        self.emptied(site)?;
        let (from, digest) = (site.through_relay("app:v1"), &site.images.image.archive.digest);
        let after = site.cut(Direction::Down, || self.pulled(site, &[], &from, digest))?;
        Ok(after.into())
    }

    /// A mount that the registry cannot do must become an upload: any other answer than 201 and 202 ends its push.
    fn habits(&self, site: &Site<'_>) -> Result<Cell> {
        let layout = &site.images.third;
        let image = self.imported(site, layout)?;
        let source = format!(
            "containerd.io/distribution.source.{}={}",
            site.host(),
            site.repository("never")
        );
        let manifest = layout.json(&layout.archive.digest)?;
        for layer in manifest["layers"].as_array().into_iter().flatten() {
            let digest = layer["digest"].as_str().unwrap_or_default();
            self.run(site, &["content", "label", digest, &source])?;
        }
        let mark = site.mark()?;
        self.push(site, &site.at("habits:v1"), &image)?;
        site.pushed(("habits", "v1"), layout)?;
        site.logged(mark, 4, "an upload in place of a mount", |line| {
            line.endpoint == "start_upload" && line.status == 202
        })?;
        let by_digest = site.at(&format!("habits@{}", layout.archive.digest));
        self.emptied(site)?;
        self.pulled(site, &[], &by_digest, &layout.archive.digest)?;
        DONE
    }

    fn delete(&self, _: &Site<'_>) -> Result<Cell> {
        Ok(Cell::Cannot("it deletes its own content only"))
    }
}
