//! Buildah: containers/image, and images built without a server.

use std::{fs, process::Command};

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{
    Client,
    fixtures::{Layout, texts},
    matrix::{Cell, DONE},
    relay::Direction,
    site::Site,
};
use crate::tools::clients::Programs;

/// What it keeps on the machine.
const PLACES: [&str; 2] = ["/var/lib/containers", "/run/containers"];

struct Buildah;

#[expect(clippy::unnecessary_wraps, reason = "other clients start a server")]
pub(super) fn start(_: &Programs, _: &Site<'_>) -> Result<Box<dyn Client>> {
    Ok(Box::new(Buildah))
}

fn buildah(site: &Site<'_>, arguments: &[&str]) -> Result<Command> {
    let mut command = site.confined("buildah", &PLACES)?;
    command.args(["--storage-driver", "vfs"]).args(arguments);
    Ok(command)
}

fn run(site: &Site<'_>, arguments: &[&str]) -> Result<()> {
    site.run(&mut buildah(site, arguments)?)
}

/// Brings an image into the store; gives its id.
fn loaded(site: &Site<'_>, layout: &Layout) -> Result<String> {
    let from = format!("oci-archive:{}", layout.archive.path.display());
    let said = site.read(&mut buildah(site, &["pull", "--quiet", &from])?)?;
    Ok(said.trim().to_owned())
}

fn push(site: &Site<'_>, image: &str, to: &str) -> Result<()> {
    run(site, &["push", "--tls-verify=false", image, &format!("docker://{to}")])
}

/// Pulls an image that the store does not have; checks its layers.
fn pulled(site: &Site<'_>, from: &str, layout: &Layout) -> Result<()> {
    run(site, &["pull", "--tls-verify=false", from])?;
    let said = site.read(&mut buildah(site, &["inspect", "--type", "image", from])?)?;
    let said: Value = serde_json::from_str(&said)?;
    let layers = texts(&said["OCIv1"]["rootfs"]["diff_ids"]);
    ensure!(layers == layout.diff_ids, "it pulled the layers {layers:?}");
    Ok(())
}

fn emptied(site: &Site<'_>) -> Result<()> {
    run(site, &["rmi", "--all", "--force"])
}

impl Client for Buildah {
    fn version(&self, site: &Site<'_>) -> Result<String> {
        let said = site.read(site.command("buildah").arg("--version"))?;
        Ok(said.split_whitespace().nth(2).unwrap_or_default().to_owned())
    }

    fn push(&self, site: &Site<'_>) -> Result<Cell> {
        let id = loaded(site, &site.images.image)?;
        push(site, &id, &site.at("app:v1"))?;
        site.pushed(("app", "v1"), &site.images.image)?;
        DONE
    }

    fn pull(&self, site: &Site<'_>) -> Result<Cell> {
        emptied(site)?;
        pulled(site, &site.at("app:v1"), &site.images.image)?;
        DONE
    }

    fn list(&self, _: &Site<'_>) -> Result<Cell> {
        Ok(Cell::Cannot("it has no listing of a registry"))
    }

    fn copy(&self, site: &Site<'_>) -> Result<Cell> {
        let mark = site.mark()?;
        push(site, &site.at("app:v1"), &site.at("copied:v1"))?;
        site.pushed(("copied", "v1"), &site.images.image)?;
        site.mounted(mark, "copied", 3)?;
        Ok(Cell::Done("mount"))
    }

    fn index(&self, site: &Site<'_>) -> Result<Cell> {
        let folder = format!("oci:{}:v1", site.images.index.folder.display());
        run(site, &["manifest", "create", "--all", "both", &folder])?;
        let to = format!("docker://{}", site.at("index:v1"));
        run(site, &["manifest", "push", "--all", "--tls-verify=false", "both", &to])?;
        site.index_pushed("index", "v1")?;
        emptied(site)?;
        let from = site.at("index:v1");
        run(site, &["pull", "--tls-verify=false", "--arch", "arm64", &from])?;
        let what = [
            "inspect",
            "--type",
            "image",
            "--format",
            "{{.OCIv1.Architecture}}",
            &from,
        ];
        let said = site.read(&mut buildah(site, &what)?)?;
        ensure!(said.trim() == "arm64", "it pulled the image for {said}");
        DONE
    }

    fn cut_push(&self, site: &Site<'_>) -> Result<Cell> {
        let id = loaded(site, &site.images.second)?;
        let after = site.cut(Direction::Up, || push(site, &id, &site.through_relay("cut:v1")))?;
        site.pushed(("cut", "v1"), &site.images.second)?;
        Ok(after.into())
    }

    fn cut_pull(&self, site: &Site<'_>) -> Result<Cell> {
        emptied(site)?;
        let from = site.through_relay("app:v1");
        let after = site.cut(Direction::Down, || pulled(site, &from, &site.images.image))?;
        Ok(after.into())
    }

    /// A build whose base comes from the registry and whose layers go back to it.
    fn habits(&self, site: &Site<'_>) -> Result<Cell> {
        let folder = site.path("build");
        fs::create_dir_all(&folder)?;
        fs::write(
            folder.join("Dockerfile"),
            format!("FROM {}\nCOPY own /own\n", site.at("app:v1")),
        )?;
        fs::write(folder.join("own"), "of this build\n")?;
        emptied(site)?;
        let context = folder.display().to_string();
        let mark = site.mark()?;
        run(
            site,
            &[
                "bud",
                "--isolation",
                "chroot",
                "--tls-verify=false",
                "--tag",
                "built",
                &context,
            ],
        )?;
        for format in ["v2s2", "oci"] {
            let to = format!("docker://{}", site.at(&format!("habits:{format}")));
            run(site, &["push", "--tls-verify=false", "--format", format, "built", &to])?;
            let image = site.remote.whole(&site.repository("habits"), format)?;
            let layers = site.remote.diff_ids(&site.repository("habits"), &image)?;
            ensure!(
                layers.starts_with(&site.images.image.diff_ids),
                "not on its base: {layers:?}"
            );
        }
        site.mounted(mark, "habits", 3)?;
        DONE
    }

    fn delete(&self, _: &Site<'_>) -> Result<Cell> {
        Ok(Cell::Cannot("it deletes in its own store only"))
    }
}
