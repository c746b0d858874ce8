//! Skopeo: an independent client of registries.

use std::{fs, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::{
    Client,
    fixtures::texts,
    matrix::{Cell, DONE},
    relay::Direction,
    remote::sum,
    site::Site,
};
use crate::{image::Archive, shell, shell::Log, tools::clients::Programs};

const LIMIT: Duration = Duration::from_mins(2);

/// Pushes an image to `to` (`HOST:PORT/NAME:TAG`) over plain HTTP; `skopeo` is the command that starts skopeo.
///
/// # Errors
/// What skopeo says; all of it is in `log`.
pub fn push(mut skopeo: Command, image: &Archive, to: &str, log: &Log) -> Result<()> {
    skopeo.args(["--insecure-policy", "copy", "--dest-tls-verify=false"]);
    skopeo.args([
        format!("oci-archive:{}", image.path.display()),
        format!("docker://{to}"),
    ]);
    shell::run(&mut skopeo, log, LIMIT).with_context(|| format!("push {to}: {}", shell::last_lines(&log.tail(3), 3)))
}

/// An image that was pulled, for as long as the value lives.
#[derive(Debug)]
pub struct PulledImage {
    _folder: TempDir,
    /// The digest of the manifest that came.
    pub digest: String,
}

/// Pulls all of an image from `from` (`HOST:PORT/NAME:TAG`) over plain HTTP; skopeo compares every blob with its digest.
///
/// # Errors
/// What skopeo says; all of it is in `log`.
pub fn pull(mut skopeo: Command, from: &str, log: &Log) -> Result<PulledImage> {
    let folder = tempfile::tempdir()?;
    skopeo.args([
        "--insecure-policy",
        "copy",
        "--src-tls-verify=false",
        &format!("docker://{from}"),
    ]);
    skopeo.arg(format!("dir:{}", folder.path().display()));
    shell::run(&mut skopeo, log, LIMIT)
        .with_context(|| format!("pull {from}: {}", shell::last_lines(&log.tail(3), 3)))?;
    let manifest = fs::read(folder.path().join("manifest.json"))?;
    Ok(PulledImage {
        digest: sum(&manifest),
        _folder: folder,
    })
}

/// What it keeps on the machine: where it saw which blob, from which it knows what to mount.
const PLACES: [&str; 1] = ["/var/lib/containers"];

struct Skopeo;

#[expect(clippy::unnecessary_wraps, reason = "other clients start a server")]
pub(super) fn start(_: &Programs, _: &Site<'_>) -> Result<Box<dyn Client>> {
    Ok(Box::new(Skopeo))
}

fn skopeo(site: &Site<'_>, arguments: &[&str]) -> Result<Command> {
    let mut command = site.confined("skopeo", &PLACES)?;
    command.arg("--insecure-policy").args(arguments);
    Ok(command)
}

/// A copy over plain HTTP.
fn copy(site: &Site<'_>, options: &[&str], from: &str, to: &str) -> Result<()> {
    let mut command = skopeo(site, &["copy"])?;
    command.args(options);
    for (plain, place) in [("--src-tls-verify=false", from), ("--dest-tls-verify=false", to)] {
        if place.starts_with("docker://") {
            command.arg(plain);
        }
    }
    site.run(command.args([from, to]))
}

fn layout(folder: &std::path::Path) -> String {
    format!("oci:{}:v1", folder.display())
}

/// There and back over TLS, with an authority that the machine does not know.
fn over_tls(site: &Site<'_>) -> Result<()> {
    let (image, there) = (&site.images.image, format!("docker://{}", site.secure_at("app:v1")));
    let folder = site.secure().certificates.display().to_string();
    let (from, back) = (
        layout(&image.folder),
        format!("dir:{}", site.path("over-tls").display()),
    );
    for (option, from, to) in [("--dest-cert-dir", &from, &there), ("--src-cert-dir", &there, &back)] {
        site.run(&mut skopeo(
            site,
            &["copy", "--preserve-digests", option, &folder, from, to],
        )?)?;
    }
    ensure!(
        pulled(site, "over-tls")? == image.archive.digest,
        "another image came over TLS"
    );
    ensure!(
        site.run(&mut skopeo(site, &["inspect", &there])?).is_err(),
        "an authority that nobody named was trusted"
    );
    Ok(())
}

/// The digest of the image in a folder that was copied to.
fn pulled(site: &Site<'_>, name: &str) -> Result<String> {
    Ok(sum(&fs::read(site.path(name).join("manifest.json"))?))
}

impl Client for Skopeo {
    fn version(&self, site: &Site<'_>) -> Result<String> {
        let said = site.read(site.command("skopeo").arg("--version"))?;
        Ok(said.split_whitespace().nth(2).unwrap_or_default().to_owned())
    }

    fn push(&self, site: &Site<'_>) -> Result<Cell> {
        let image = &site.images.image;
        let to = format!("docker://{}", site.at("app:v1"));
        copy(site, &["--preserve-digests"], &layout(&image.folder), &to)?;
        let manifest = site.pushed(("app", "v1"), image)?;
        ensure!(manifest.digest == image.archive.digest, "it pushed {}", manifest.digest);
        DONE
    }

    fn pull(&self, site: &Site<'_>) -> Result<Cell> {
        let to = format!("dir:{}", site.path("pulled").display());
        copy(site, &[], &format!("docker://{}", site.at("app:v1")), &to)?;
        let digest = pulled(site, "pulled")?;
        ensure!(digest == site.images.image.archive.digest, "it pulled {digest}");
        DONE
    }

    fn list(&self, site: &Site<'_>) -> Result<Cell> {
        let repository = format!("docker://{}", site.at("app"));
        let said = site.read(&mut skopeo(site, &["list-tags", "--tls-verify=false", &repository])?)?;
        let said: serde_json::Value = serde_json::from_str(&said)?;
        ensure!(texts(&said["Tags"]) == ["v1"], "it lists {said}");
        DONE
    }

    fn copy(&self, site: &Site<'_>) -> Result<Cell> {
        let mark = site.mark()?;
        let (from, to) = (site.at("app:v1"), site.at("copied:v1"));
        copy(site, &[], &format!("docker://{from}"), &format!("docker://{to}"))?;
        site.pushed(("copied", "v1"), &site.images.image)?;
        site.mounted(mark, "copied", 3)?;
        Ok(Cell::Done("mount"))
    }

    fn index(&self, site: &Site<'_>) -> Result<Cell> {
        let index = &site.images.index;
        let there = format!("docker://{}", site.at("index:v1"));
        copy(site, &["--all", "--preserve-digests"], &layout(&index.folder), &there)?;
        ensure!(
            site.index_pushed("index", "v1")?.digest == index.archive.digest,
            "another index"
        );
        copy(site, &["--all"], &there, &format!("dir:{}", site.path("all").display()))?;
        ensure!(pulled(site, "all")? == index.archive.digest, "another index came back");
        let mut inspect = skopeo(
            site,
            &["--override-arch", "arm64", "inspect", "--tls-verify=false", &there],
        )?;
        ensure!(
            site.read(&mut inspect)?.contains("\"Architecture\": \"arm64\""),
            "not the image for arm64"
        );
        DONE
    }

    fn cut_push(&self, site: &Site<'_>) -> Result<Cell> {
        let to = format!("docker://{}", site.through_relay("cut:v1"));
        let from = layout(&site.images.second.folder);
        let after = site.cut(Direction::Up, || copy(site, &["--retry-times=2"], &from, &to))?;
        site.pushed(("cut", "v1"), &site.images.second)?;
        Ok(after.into())
    }

    fn cut_pull(&self, site: &Site<'_>) -> Result<Cell> {
        let from = format!("docker://{}", site.through_relay("app:v1"));
        let to = format!("dir:{}", site.path("cut").display());
        let after = site.cut(Direction::Down, || copy(site, &[], &from, &to))?;
        ensure!(
            pulled(site, "cut")? == site.images.image.archive.digest,
            "another image came"
        );
        Ok(after.into())
    }

    /// Docker's manifests, other compressions, whole repositories at once, and TLS.
    fn habits(&self, site: &Site<'_>) -> Result<Cell> {
        let from = layout(&site.images.image.folder);
        for (tag, options) in [
            ("v2s2", ["--format", "v2s2"]),
            ("zstd", ["--dest-compress-format", "zstd"]),
        ] {
            let to = format!("docker://{}", site.at(&format!("habits:{tag}")));
            copy(site, &options, &from, &to)?;
            site.pushed(("habits", tag), &site.images.image)?;
        }
        let mut sync = skopeo(site, &["sync", "--src", "docker", "--dest", "docker", "--all"])?;
        sync.args(["--src-tls-verify=false", "--dest-tls-verify=false"]);
        site.run(sync.args([site.at("habits"), site.at("synced")]))?;
        for tag in ["v2s2", "zstd"] {
            site.pushed(("synced/habits", tag), &site.images.image)?;
        }
        over_tls(site)?;
        DONE
    }

    /// It asks for the tag's digest and deletes that.
    fn delete(&self, site: &Site<'_>) -> Result<Cell> {
        let tag = format!("docker://{}", site.at("copied:v1"));
        site.run(&mut skopeo(site, &["delete", "--tls-verify=false", &tag])?)?;
        site.remote.gone(&site.repository("copied"), "v1")?;
        site.remote
            .gone(&site.repository("copied"), &site.images.image.archive.digest)?;
        DONE
    }
}
