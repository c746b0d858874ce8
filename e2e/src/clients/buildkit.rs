//! `BuildKit`: its own server and client. It has the transfer code of containerd 2.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use super::{
    Client,
    fixtures::{Layout, noise},
    matrix::{Cell, DONE},
    relay::Direction,
    site::{Daemon, Site},
};
use crate::tools::clients::{Program, Programs};

struct BuildKit {
    client: Program,
    socket: PathBuf,
    _daemon: Daemon,
}

pub(super) fn start(programs: &Programs, site: &Site<'_>) -> Result<Box<dyn Client>> {
    let (socket, configuration) = (site.path("buildkit.sock"), site.path("buildkitd.toml"));
    fs::write(&configuration, "")?;
    let mut daemon = site.daemon(&programs.buildkitd.path);
    daemon
        .arg("--config")
        .arg(&configuration)
        .arg("--root")
        .arg(site.path("root"));
    daemon.arg("--addr").arg(format!("unix://{}", socket.display()));
    daemon.args([
        "--containerd-worker=false",
        "--oci-worker-snapshotter=native",
        "--oci-worker-net=host",
    ]);
    let mut daemon = site.start(daemon)?;
    let client = programs.buildctl.clone();
    let answers = || buildctl(site, &client, &socket).args(["debug", "workers"]).output();
    daemon.ready("BuildKit answers", || answers().is_ok_and(|said| said.status.success()))?;
    Ok(Box::new(BuildKit {
        client,
        socket,
        _daemon: daemon,
    }))
}

fn buildctl(site: &Site<'_>, client: &Program, socket: &Path) -> Command {
    let mut command = site.command(&client.path);
    command.arg("--addr").arg(format!("unix://{}", socket.display()));
    command
}

/// What `output` pushes to `to`.
fn pushing(to: &str) -> String {
    format!("type=image,name={to},push=true,oci-mediatypes=true")
}

impl BuildKit {
    /// Builds `lines`, a Dockerfile, in a folder that holds a file `large`.
    fn build(&self, site: &Site<'_>, lines: &str, options: &[&str]) -> Result<String> {
        let folder = site.path("context");
        if !folder.exists() {
            fs::create_dir_all(&folder)?;
            fs::write(folder.join("large"), noise("buildkit large"))?;
        }
        fs::write(folder.join("Dockerfile"), lines)?;
        let mut command = buildctl(site, &self.client, &self.socket);
        command.args(["build", "--progress=plain", "--frontend=dockerfile.v0"]);
        for what in ["context", "dockerfile"] {
            command.arg("--local").arg(format!("{what}={}", folder.display()));
        }
        let said = crate::shell::outcome(command.args(options), std::time::Duration::from_mins(2))?;
        site.note(&said.stderr)?;
        ensure!(said.status.success(), "{}", crate::shell::last_lines(&said.stderr, 4));
        Ok(said.stderr)
    }

    /// Pushes an image as it is, out of a folder.
    fn push(&self, site: &Site<'_>, layout: &Layout, to: &str) -> Result<()> {
        let store = format!("store={}", layout.folder.display());
        let base = format!("context:base=oci-layout://store@{}", layout.archive.digest);
        let options = ["--oci-layout", &store, "--opt", &base, "--output", &pushing(to)];
        self.build(site, "FROM base\n", &options).map(drop)
    }

    /// Takes an image out of the registry into a folder; the large file of `seed` is in it.
    fn pulled(&self, site: &Site<'_>, from: &str, options: &[&str], seed: &str) -> Result<()> {
        let to = site.path("pulled");
        if to.exists() {
            fs::remove_dir_all(&to)?;
        }
        let output = format!("type=local,dest={}", to.display());
        self.build(
            site,
            &format!("FROM {from}\n"),
            &[&["--output", &output], options].concat(),
        )?;
        ensure!(
            fs::read(to.join("large"))? == noise(seed),
            "the large file of {from} is another one"
        );
        Ok(())
    }

    fn emptied(&self, site: &Site<'_>) -> Result<()> {
        site.run(buildctl(site, &self.client, &self.socket).args(["prune", "--all"]))
    }

    /// Exports the cache of a build as `form` says, forgets the build, and builds from the cache.
    fn cached(&self, site: &Site<'_>, name: &str, form: &str) -> Result<()> {
        let lines = format!("FROM scratch\nCOPY large /{name}\n");
        let cache = site.at(&format!("cache:{name}"));
        let export = format!("type=registry,ref={cache},mode=max,oci-mediatypes=true,{form}");
        self.build(site, &lines, &["--export-cache", &export])?;
        site.remote.whole(&site.repository("cache"), name)?;
        self.emptied(site)?;
        let import = format!("type=registry,ref={cache}");
        let to = pushing(&site.at(&format!("cached:{name}")));
        let said = self.build(site, &lines, &["--import-cache", &import, "--output", &to])?;
        ensure!(said.contains("CACHED"), "the cache {name} was not used");
        site.remote.whole(&site.repository("cached"), name)?;
        Ok(())
    }
}

impl Client for BuildKit {
    fn version(&self, _: &Site<'_>) -> Result<String> {
        Ok(self.client.version.clone())
    }

    fn push(&self, site: &Site<'_>) -> Result<Cell> {
        self.push(site, &site.images.image, &site.at("app:v1"))?;
        site.pushed(("app", "v1"), &site.images.image)?;
        DONE
    }

    fn pull(&self, site: &Site<'_>) -> Result<Cell> {
        self.emptied(site)?;
        self.pulled(site, &site.at("app:v1"), &[], "buildkit image")?;
        DONE
    }

    fn list(&self, _: &Site<'_>) -> Result<Cell> {
        Ok(Cell::Cannot("it builds, pulls and pushes only"))
    }

    /// Builds on a base of the same registry. It knows what to mount once it has pushed the base's layers anywhere there.
    fn copy(&self, site: &Site<'_>) -> Result<Cell> {
        let base = site.at("app:v1");
        let (larger, same) = (
            format!("FROM {base}\nCOPY large /more\n"),
            format!("FROM {base}\nLABEL of=this\n"),
        );
        self.build(site, &larger, &["--output", &pushing(&site.at("derived:v1"))])?;
        let mark = site.mark()?;
        self.build(site, &same, &["--output", &pushing(&site.at("copied:v1"))])?;
        site.pushed(("copied", "v1"), &site.images.image)?;
        site.mounted(mark, "copied", 3)?;
        Ok(Cell::Done("mount"))
    }

    /// With a provenance for each image, which is a manifest of the index too.
    fn index(&self, site: &Site<'_>) -> Result<Cell> {
        let there = site.at("index:v1");
        let platforms = "platform=linux/amd64,linux/arm64";
        let provenance = "attest:provenance=mode=max";
        let options = ["--opt", platforms, "--opt", provenance, "--output", &pushing(&there)];
        self.build(
            site,
            "FROM scratch\nARG TARGETARCH\nCOPY large /large\nENV BUILT_FOR=$TARGETARCH\n",
            &options,
        )?;
        let index = site.index_pushed("index", "v1")?;
        let entries = index.body["manifests"].as_array().context("an index has manifests")?;
        ensure!(
            entries.len() == 4,
            "it has {} entries, not two images and two provenances",
            entries.len()
        );
        self.emptied(site)?;
        self.pulled(site, &there, &["--opt", "platform=linux/arm64"], "buildkit large")?;
        DONE
    }

    fn cut_push(&self, site: &Site<'_>) -> Result<Cell> {
        let to = site.through_relay("cut:v1");
        let after = site.cut(Direction::Up, || self.push(site, &site.images.second, &to))?;
        site.pushed(("cut", "v1"), &site.images.second)?;
        Ok(after.into())
    }

    fn cut_pull(&self, site: &Site<'_>) -> Result<Cell> {
        self.emptied(site)?;
        let from = site.through_relay("app:v1");
        let after = site.cut(Direction::Down, || self.pulled(site, &from, &[], "buildkit image"))?;
        Ok(after.into())
    }

    /// The cache as an image and as an index of blobs; attestations as referrers of their image.
    fn habits(&self, site: &Site<'_>) -> Result<Cell> {
        self.cached(site, "image", "image-manifest=true")?;
        self.cached(site, "blobs", "image-manifest=false")?;
        DONE
    }

    fn delete(&self, _: &Site<'_>) -> Result<Cell> {
        Ok(Cell::Cannot("it deletes in its own store only"))
    }
}
