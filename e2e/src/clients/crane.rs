//! Crane: go-containerregistry, which ko, kaniko, cosign and flux use too.

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::{Result, ensure};

use super::{
    Client,
    matrix::{Cell, DONE},
    relay::Direction,
    remote::sum,
    site::Site,
};
use crate::{
    image::Layer,
    shell,
    tools::clients::{Program, Programs},
};

const LIMIT: Duration = Duration::from_mins(1);

struct Crane(Program);

#[expect(clippy::unnecessary_wraps, reason = "other clients start a server")]
pub(super) fn start(programs: &Programs, _: &Site<'_>) -> Result<Box<dyn Client>> {
    Ok(Box::new(Crane(programs.crane.clone())))
}

impl Crane {
    fn command(&self, site: &Site<'_>, arguments: &[&str]) -> Command {
        let mut command = site.command(&self.0.path);
        command.args(arguments);
        command
    }

    fn run(&self, site: &Site<'_>, arguments: &[&str]) -> Result<()> {
        site.run(&mut self.command(site, arguments))
    }

    fn read(&self, site: &Site<'_>, arguments: &[&str]) -> Result<String> {
        Ok(site.read(&mut self.command(site, arguments))?.trim().to_owned())
    }

    /// Pulls into a new folder; gives what `crane digest` says of it.
    fn pulled(&self, site: &Site<'_>, from: &str, folder: &str) -> Result<PathBuf> {
        let to = site.path(folder);
        if to.exists() {
            std::fs::remove_dir_all(&to)?;
        }
        self.run(site, &["pull", "--format", "oci", from, &to.display().to_string()])?;
        Ok(to)
    }
}

impl Crane {
    /// There and back over TLS and HTTP/2, with an authority that the machine does not know.
    fn over_tls(&self, site: &Site<'_>) -> Result<()> {
        let (image, there) = (&site.images.image, site.secure_at("app:v1"));
        let to = site.path("over-tls");
        let (from, back) = (image.folder.display().to_string(), to.display().to_string());
        let steps: [&[&str]; 2] = [&["push", &from, &there], &["pull", "--format", "oci", &there, &back]];
        let authority = site.secure().certificates.join("ca.crt");
        for step in steps {
            site.run(self.command(site, step).env("SSL_CERT_FILE", &authority))?;
        }
        ensure!(entry(&to)? == image.archive.digest, "another image came over TLS");
        let mut wire = self.command(site, &["digest", "--verbose", &there]);
        let said = shell::outcome(wire.env("SSL_CERT_FILE", &authority), LIMIT)?;
        ensure!(said.stderr.contains("HTTP/2.0 200"), "not over HTTP/2: {}", said.stderr);
        Ok(())
    }
}

/// The digest that the one entry of an OCI layout has.
fn entry(folder: &std::path::Path) -> Result<String> {
    let index: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("index.json"))?)?;
    Ok(index["manifests"][0]["digest"].as_str().unwrap_or_default().to_owned())
}

impl Client for Crane {
    fn version(&self, _: &Site<'_>) -> Result<String> {
        Ok(self.0.version.clone())
    }

    fn push(&self, site: &Site<'_>) -> Result<Cell> {
        let image = &site.images.image;
        self.run(site, &["push", &image.folder.display().to_string(), &site.at("app:v1")])?;
        let manifest = site.pushed(("app", "v1"), image)?;
        ensure!(manifest.digest == image.archive.digest, "it pushed {}", manifest.digest);
        DONE
    }

    fn pull(&self, site: &Site<'_>) -> Result<Cell> {
        let digest = entry(&self.pulled(site, &site.at("app:v1"), "pulled")?)?;
        ensure!(digest == site.images.image.archive.digest, "it pulled {digest}");
        self.run(site, &["validate", "--remote", &site.at("app:v1")])?;
        DONE
    }

    fn list(&self, site: &Site<'_>) -> Result<Cell> {
        let tags = self.read(site, &["ls", &site.at("app")])?;
        ensure!(tags == "v1", "it lists {tags}");
        let repositories = self.read(site, &["catalog", &site.host()])?;
        let own = site.repository("app");
        ensure!(
            repositories.lines().any(|line| line == own),
            "no {own} in {repositories}"
        );
        DONE
    }

    /// With the parameter `origin` beside `mount` and `from`.
    fn copy(&self, site: &Site<'_>) -> Result<Cell> {
        let mark = site.mark()?;
        self.run(site, &["copy", &site.at("app:v1"), &site.at("copied:v1")])?;
        site.pushed(("copied", "v1"), &site.images.image)?;
        site.mounted(mark, "copied", 3)?;
        Ok(Cell::Done("mount"))
    }

    fn index(&self, site: &Site<'_>) -> Result<Cell> {
        let (index, there) = (&site.images.index, site.at("index:v1"));
        self.run(site, &["push", &index.folder.display().to_string(), &there])?;
        ensure!(
            site.index_pushed("index", "v1")?.digest == index.archive.digest,
            "another index"
        );
        let digest = self.read(site, &["digest", "--platform", "linux/arm64", &there])?;
        let entries = index.json(&index.archive.digest)?;
        ensure!(
            entries["manifests"][1]["digest"] == digest.as_str(),
            "{digest} for arm64"
        );
        let to = site.path("both").display().to_string();
        self.run(site, &["pull", "--format", "oci", &there, &to])?;
        ensure!(
            entry(&site.path("both"))? == index.archive.digest,
            "another index came back"
        );
        DONE
    }

    fn cut_push(&self, site: &Site<'_>) -> Result<Cell> {
        let second = &site.images.second;
        let (from, to) = (second.folder.display().to_string(), site.through_relay("cut:v1"));
        let after = site.cut(Direction::Up, || self.run(site, &["push", &from, &to]))?;
        site.pushed(("cut", "v1"), second)?;
        Ok(after.into())
    }

    fn cut_pull(&self, site: &Site<'_>) -> Result<Cell> {
        let from = site.through_relay("app:v1");
        let after = site.cut(Direction::Down, || self.pulled(site, &from, "cut").map(drop))?;
        ensure!(
            entry(&site.path("cut"))? == site.images.image.archive.digest,
            "another image came"
        );
        Ok(after.into())
    }

    /// Images changed where they are, tags without a transfer, single manifests, an index of what is there, TLS.
    fn habits(&self, site: &Site<'_>) -> Result<Cell> {
        let (app, changed) = (site.at("app:v1"), site.at("app:changed"));
        self.run(site, &["mutate", "--label", "changed=yes", "--tag", &changed, &app])?;
        site.pushed(("app", "changed"), &site.images.image)?;
        let layer = site.path("layer.tar");
        std::fs::write(&layer, Layer::new().file("own", 0o644, "own").tar()?)?;
        let (layer, appended) = (layer.display().to_string(), site.at("app:appended"));
        self.run(
            site,
            &["append", "--base", &app, "--new_layer", &layer, "--new_tag", &appended],
        )?;
        site.remote.whole(&site.repository("app"), "appended")?;
        self.run(site, &["tag", &app, "also"])?;
        ensure!(
            site.remote.tags(&site.repository("app"))?.contains(&"also".to_owned()),
            "no tag"
        );
        let manifest = self.read(site, &["manifest", &app])?;
        ensure!(
            sum(manifest.as_bytes()) == site.images.image.archive.digest,
            "another manifest"
        );
        let (there, new) = (site.at("index:v1"), site.at("index:more"));
        self.run(site, &["index", "append", &there, "--manifest", &app, "--tag", &new])?;
        site.index_pushed("index", "more")?;
        self.over_tls(site)?;
        DONE
    }

    fn delete(&self, site: &Site<'_>) -> Result<Cell> {
        let (repository, digest) = (site.repository("copied"), &site.images.image.archive.digest);
        self.run(site, &["tag", &site.at("copied:v1"), "also"])?;
        self.run(site, &["delete", &site.at("copied:also")])?;
        site.remote.gone(&repository, "also")?;
        site.remote.whole(&repository, "v1")?;
        self.run(site, &["delete", &site.at(&format!("copied@{digest}"))])?;
        site.remote.gone(&repository, "v1")?;
        DONE
    }
}
