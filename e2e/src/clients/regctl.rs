//! regctl, of regclient: uploads in chunks, and everything else the specification offers.

use std::{fs, path::Path, process::Command};

use anyhow::{Result, ensure};

use super::{
    Client,
    matrix::{Cell, DONE},
    relay::Direction,
    site::Site,
};
use crate::tools::clients::{Program, Programs};

struct Regctl(Program);

/// A chunk; the large layer has several.
const CHUNK: &str = "1048576";

/// Tells it that both addresses speak plain HTTP.
pub(super) fn start(programs: &Programs, site: &Site<'_>) -> Result<Box<dyn Client>> {
    let regctl = Regctl(programs.regctl.clone());
    for host in [site.host(), site.relay()] {
        let plain = ["registry", "set", &host, "--tls", "disabled", "--skip-check"];
        regctl.run(site, &plain)?;
    }
    Ok(Box::new(regctl))
}

impl Regctl {
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

    fn copy(&self, site: &Site<'_>, from: &str, to: &str) -> Result<()> {
        self.run(site, &["image", "copy", from, to])
    }

    fn digest(&self, site: &Site<'_>, of: &str) -> Result<String> {
        self.read(site, &["image", "digest", of])
    }
}

fn layout(folder: &Path) -> String {
    format!("ocidir://{}:v1", folder.display())
}

impl Client for Regctl {
    fn version(&self, _: &Site<'_>) -> Result<String> {
        Ok(self.0.version.clone())
    }

    fn push(&self, site: &Site<'_>) -> Result<Cell> {
        let image = &site.images.image;
        self.copy(site, &layout(&image.folder), &site.at("app:v1"))?;
        let manifest = site.pushed(("app", "v1"), image)?;
        ensure!(manifest.digest == image.archive.digest, "it pushed {}", manifest.digest);
        DONE
    }

    fn pull(&self, site: &Site<'_>) -> Result<Cell> {
        let to = layout(&site.path("pulled"));
        self.copy(site, &site.at("app:v1"), &to)?;
        ensure!(
            self.digest(site, &to)? == site.images.image.archive.digest,
            "another image came"
        );
        DONE
    }

    fn list(&self, site: &Site<'_>) -> Result<Cell> {
        let tags = self.read(site, &["tag", "ls", &site.at("app")])?;
        ensure!(tags == "v1", "it lists {tags}");
        let (repositories, own) = (self.read(site, &["repo", "ls", &site.host()])?, site.repository("app"));
        ensure!(
            repositories.lines().any(|line| line == own),
            "no {own} in {repositories}"
        );
        DONE
    }

    fn copy(&self, site: &Site<'_>) -> Result<Cell> {
        let mark = site.mark()?;
        self.copy(site, &site.at("app:v1"), &site.at("copied:v1"))?;
        site.pushed(("copied", "v1"), &site.images.image)?;
        site.mounted(mark, "copied", 3)?;
        Ok(Cell::Done("mount"))
    }

    fn index(&self, site: &Site<'_>) -> Result<Cell> {
        let (index, there) = (&site.images.index, site.at("index:v1"));
        self.copy(site, &layout(&index.folder), &there)?;
        ensure!(
            site.index_pushed("index", "v1")?.digest == index.archive.digest,
            "another index"
        );
        let of_arm = self.read(site, &["manifest", "head", "--platform", "linux/arm64", &there])?;
        let entries = index.json(&index.archive.digest)?;
        ensure!(
            entries["manifests"][1]["digest"] == of_arm.as_str(),
            "{of_arm} for arm64"
        );
        let back = layout(&site.path("both"));
        self.copy(site, &there, &back)?;
        ensure!(
            self.digest(site, &back)? == index.archive.digest,
            "another index came back"
        );
        DONE
    }

    fn cut_push(&self, site: &Site<'_>) -> Result<Cell> {
        let (from, to) = (layout(&site.images.second.folder), site.through_relay("cut:v1"));
        let after = site.cut(Direction::Up, || self.copy(site, &from, &to))?;
        site.pushed(("cut", "v1"), &site.images.second)?;
        Ok(after.into())
    }

    fn cut_pull(&self, site: &Site<'_>) -> Result<Cell> {
        let (from, to) = (site.through_relay("app:v1"), layout(&site.path("cut")));
        let after = site.cut(Direction::Down, || self.copy(site, &from, &to))?;
        ensure!(
            self.digest(site, &to)? == site.images.image.archive.digest,
            "another image came"
        );
        Ok(after.into())
    }

    /// Layers in chunks, also through a cut; artifacts with a subject, found again.
    fn habits(&self, site: &Site<'_>) -> Result<Cell> {
        for host in [site.host(), site.relay()] {
            let chunks = [
                "registry",
                "set",
                &host,
                "--skip-check",
                "--blob-chunk",
                CHUNK,
                "--blob-max",
                CHUNK,
            ];
            self.run(site, &chunks)?;
        }
        let third = &site.images.third;
        let mark = site.mark()?;
        let to = site.through_relay("chunked:v1");
        site.cut(Direction::Up, || self.copy(site, &layout(&third.folder), &to))?;
        site.pushed(("chunked", "v1"), third)?;
        site.logged(mark, 6, "a chunk", |line| {
            line.endpoint == "append_upload" && line.status == 202
        })?;
        let (app, file) = (site.at("app:v1"), site.path("note.txt"));
        fs::write(&file, "a note\n")?;
        let put = [
            "artifact",
            "put",
            "--artifact-type",
            "application/vnd.example.note",
            "--subject",
            &app,
        ];
        self.run(site, &[&put[..], &["--file", &file.display().to_string()]].concat())?;
        let list = ["artifact", "list", "--format", "{{len .Descriptors}}"];
        let filter = ["--filter-artifact-type", "application/vnd.example.note", &app];
        let found = self.read(site, &[&list[..], &filter].concat())?;
        ensure!(found == "1", "it finds {found} notes");
        self.run(site, &["image", "copy", "--referrers", &app, &site.at("with-notes:v1")])?;
        let copied = site
            .remote
            .referrers(&site.repository("with-notes"), &site.images.image.archive.digest)?;
        ensure!(copied.len() == 1, "{} referrers were copied", copied.len());
        DONE
    }

    /// A tag without its manifest, a manifest with its tags, and a blob.
    fn delete(&self, site: &Site<'_>) -> Result<Cell> {
        let (repository, digest) = (site.repository("copied"), &site.images.image.archive.digest);
        self.run(site, &["image", "copy", &site.at("copied:v1"), &site.at("copied:also")])?;
        self.run(site, &["tag", "delete", &site.at("copied:also")])?;
        site.remote.gone(&repository, "also")?;
        let image = site.remote.whole(&repository, "v1")?;
        self.run(site, &["manifest", "delete", &site.at(&format!("copied@{digest}"))])?;
        site.remote.gone(&repository, "v1")?;
        let layer = image.body["layers"][0]["digest"].as_str().unwrap_or_default();
        self.run(site, &["blob", "delete", &site.at("copied"), layer])?;
        let left = site
            .remote
            .ask("HEAD", &format!("/v2/{repository}/blobs/{layer}"))?
            .status;
        ensure!(left == 404, "HEAD of the deleted layer gives {left}");
        DONE
    }
}
