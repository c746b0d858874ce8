//! The Docker engine, with its classic image store.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{
    Client,
    fixtures::{Layout, texts},
    matrix::{Cell, DONE},
    relay::Direction,
    site::{Daemon, Site},
};
use crate::tools::clients::Programs;

/// Debian's; another docker in PATH may want plugins that are not there.
const DOCKER: &str = "/usr/bin/docker";
const ENGINE: &str = "/usr/sbin/dockerd";

struct Docker {
    socket: PathBuf,
    _engine: Daemon,
}

/// Starts the engine without a network of its own: there are no containers.
pub(super) fn start(_: &Programs, site: &Site<'_>) -> Result<Box<dyn Client>> {
    let socket = site.path("docker.sock");
    let mut engine = site.daemon(Path::new(ENGINE));
    engine.args([
        "--iptables=false",
        "--ip-forward=false",
        "--bridge=none",
        "--storage-driver=vfs",
    ]);
    for (option, name) in [
        ("--data-root", "data"),
        ("--exec-root", "exec"),
        ("--pidfile", "docker.pid"),
    ] {
        engine.arg(option).arg(site.path(name));
    }
    engine.arg("--host").arg(format!("unix://{}", socket.display()));
    let mut engine = site.start(engine)?;
    let ask = |site: &Site<'_>| docker_at(site, &socket).arg("version").output();
    engine.ready("the Docker engine answers", || {
        ask(site).is_ok_and(|said| said.status.success())
    })?;
    Ok(Box::new(Docker {
        socket,
        _engine: engine,
    }))
}

fn docker_at(site: &Site<'_>, socket: &Path) -> Command {
    let mut command = site.command(DOCKER);
    command.arg("--host").arg(format!("unix://{}", socket.display()));
    command
}

impl Docker {
    fn command(&self, site: &Site<'_>, arguments: &[&str]) -> Command {
        let mut command = docker_at(site, &self.socket);
        command.args(arguments);
        command
    }

    fn run(&self, site: &Site<'_>, arguments: &[&str]) -> Result<()> {
        site.run(&mut self.command(site, arguments))
    }

    /// Loads an image and gives it the name `to`.
    fn loaded(&self, site: &Site<'_>, layout: &Layout, to: &str) -> Result<()> {
        self.run(site, &["load", "--input", &layout.archive.path.display().to_string()])?;
        self.run(site, &["tag", &layout.archive.reference, to])
    }

    fn push(&self, site: &Site<'_>, layout: &Layout, to: &str) -> Result<()> {
        self.loaded(site, layout, to)?;
        self.run(site, &["push", to])
    }

    /// Pulls an image that the engine does not have; checks its layers.
    fn pulled(&self, site: &Site<'_>, from: &str, layout: &Layout) -> Result<()> {
        self.run(site, &["pull", from])?;
        let said = site.read(&mut self.command(site, &["image", "inspect", from]))?;
        let said: Value = serde_json::from_str(&said)?;
        let layers = texts(&said[0]["RootFS"]["Layers"]);
        ensure!(layers == layout.diff_ids, "it pulled the layers {layers:?}");
        Ok(())
    }

    fn emptied(&self, site: &Site<'_>) -> Result<()> {
        self.run(site, &["image", "prune", "--all", "--force"])
    }

    fn build(&self, site: &Site<'_>, arguments: &[&str], folder: &Path) -> Result<()> {
        let mut build = self.command(site, &["build", "--progress=plain"]);
        site.run(build.env("DOCKER_BUILDKIT", "1").args(arguments).arg(folder))
    }
}

impl Client for Docker {
    fn version(&self, site: &Site<'_>) -> Result<String> {
        let said = site.read(&mut self.command(site, &["version", "--format", "{{.Server.Version}}"]))?;
        Ok(said.split('+').next().unwrap_or_default().trim().to_owned())
    }

    fn push(&self, site: &Site<'_>) -> Result<Cell> {
        self.push(site, &site.images.image, &site.at("app:v1"))?;
        site.pushed(("app", "v1"), &site.images.image)?;
        DONE
    }

    fn pull(&self, site: &Site<'_>) -> Result<Cell> {
        self.emptied(site)?;
        self.pulled(site, &site.at("app:v1"), &site.images.image)?;
        DONE
    }

    fn list(&self, _: &Site<'_>) -> Result<Cell> {
        Ok(Cell::Cannot("it lists what the engine has only"))
    }

    fn copy(&self, site: &Site<'_>) -> Result<Cell> {
        let (mark, to) = (site.mark()?, site.at("copied:v1"));
        self.run(site, &["tag", &site.at("app:v1"), &to])?;
        self.run(site, &["push", &to])?;
        site.pushed(("copied", "v1"), &site.images.image)?;
        site.mounted(mark, "copied", 3)?;
        Ok(Cell::Done("mount"))
    }

    /// Its own way: a list of images that are in the registry, whose blobs it mounts beside the list.
    fn index(&self, site: &Site<'_>) -> Result<Cell> {
        let (list, app, second) = (site.at("index:v1"), site.at("app:v1"), site.at("second:v1"));
        self.push(site, &site.images.second, &second)?;
        self.run(site, &["manifest", "create", "--insecure", &list, &app, &second])?;
        self.run(site, &["manifest", "annotate", "--arch", "arm64", &list, &second])?;
        let mark = site.mark()?;
        self.run(site, &["manifest", "push", "--insecure", &list])?;
        site.index_pushed("index", "v1")?;
        site.mounted(mark, "index", 6)?;
        self.emptied(site)?;
        self.pulled(site, &list, &site.images.image)?;
        DONE
    }

    fn cut_push(&self, site: &Site<'_>) -> Result<Cell> {
        let to = site.through_relay("cut:v1");
        // What the engine pushed before it would mount.
        let layout = &site.images.third;
        let after = site.cut(Direction::Up, || self.push(site, layout, &to))?;
        site.pushed(("cut", "v1"), layout)?;
        Ok(after.into())
    }

    fn cut_pull(&self, site: &Site<'_>) -> Result<Cell> {
        self.emptied(site)?;
        let from = site.through_relay("app:v1");
        let after = site.cut(Direction::Down, || self.pulled(site, &from, &site.images.image))?;
        Ok(after.into())
    }

    /// Pull by digest, every tag at once, and builds of the engine's `BuildKit` with the cache in the image.
    fn habits(&self, site: &Site<'_>) -> Result<Cell> {
        self.emptied(site)?;
        let digest = site.remote.manifest(&site.repository("app"), "v1")?.digest;
        let by_digest = site.at(&format!("app@{digest}"));
        self.pulled(site, &by_digest, &site.images.image)?;
        for tag in ["habits:one", "habits:two"] {
            self.run(site, &["tag", &by_digest, &site.at(tag)])?;
        }
        self.run(site, &["push", "--all-tags", &site.at("habits")])?;
        for tag in ["one", "two"] {
            site.pushed(("habits", tag), &site.images.image)?;
        }
        let folder = site.path("build");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("own"), "of this build\n")?;
        fs::write(
            folder.join("Dockerfile"),
            format!("FROM {}\nCOPY own /own\n", site.at("app:v1")),
        )?;
        let built = site.at("built:v1");
        let inline = ["--build-arg", "BUILDKIT_INLINE_CACHE=1", "--tag", &built];
        self.build(site, &inline, &folder)?;
        self.run(site, &["push", &built])?;
        site.remote.whole(&site.repository("built"), "v1")?;
        self.emptied(site)?;
        self.run(site, &["builder", "prune", "--all", "--force"])?;
        self.build(site, &["--cache-from", &built, "--tag", "again"], &folder)?;
        DONE
    }

    fn delete(&self, _: &Site<'_>) -> Result<Cell> {
        Ok(Cell::Cannot("it deletes what the engine has only"))
    }
}
