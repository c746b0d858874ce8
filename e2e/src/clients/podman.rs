//! Podman: containers/image with a store of its own.

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

struct Podman;

/// Says that the registry speaks plain HTTP: its option for that is not meant for the list of tags.
pub(super) fn start(_: &Programs, site: &Site<'_>) -> Result<Box<dyn Client>> {
    let plain = format!("[[registry]]\nlocation = \"{}\"\ninsecure = true\n", site.host());
    fs::write(site.path("registries.conf"), plain)?;
    Ok(Box::new(Podman))
}

fn podman(site: &Site<'_>, arguments: &[&str]) -> Result<Command> {
    let mut command = site.confined("podman", &PLACES)?;
    command.env("CONTAINERS_REGISTRIES_CONF", site.path("registries.conf"));
    command.args([
        "--storage-driver",
        "vfs",
        "--runtime",
        "runc",
        "--cgroup-manager",
        "cgroupfs",
    ]);
    command
        .arg("--events-backend=none")
        .arg("--tmpdir")
        .arg(site.path("run"))
        .args(arguments);
    Ok(command)
}

fn run(site: &Site<'_>, arguments: &[&str]) -> Result<()> {
    site.run(&mut podman(site, arguments)?)
}

/// Brings an image into the store; gives its id.
fn loaded(site: &Site<'_>, layout: &Layout) -> Result<String> {
    let from = format!("oci-archive:{}", layout.archive.path.display());
    let said = site.read(&mut podman(site, &["pull", "--quiet", &from])?)?;
    Ok(said.trim().to_owned())
}

fn push(site: &Site<'_>, image: &str, to: &str) -> Result<()> {
    run(site, &["push", "--tls-verify=false", image, &format!("docker://{to}")])
}

/// Pulls an image that the store does not have; checks its layers.
fn pulled(site: &Site<'_>, from: &str, layout: &Layout) -> Result<()> {
    run(site, &["pull", "--tls-verify=false", from])?;
    let said = site.read(&mut podman(site, &["image", "inspect", from])?)?;
    let said: Value = serde_json::from_str(&said)?;
    let layers = texts(&said[0]["RootFS"]["Layers"]);
    ensure!(layers == layout.diff_ids, "it pulled the layers {layers:?}");
    Ok(())
}

fn emptied(site: &Site<'_>) -> Result<()> {
    run(site, &["rmi", "--all", "--force"])
}

impl Client for Podman {
    fn version(&self, site: &Site<'_>) -> Result<String> {
        let said = site.read(site.command("podman").arg("--version"))?;
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

    fn list(&self, site: &Site<'_>) -> Result<Cell> {
        let repository = site.at("app");
        let list = ["search", "--tls-verify=false", "--list-tags", &repository];
        let said = site.read(&mut podman(site, &list)?)?;
        let found = said
            .lines()
            .filter_map(|line| line.strip_prefix(repository.as_str())?.split_whitespace().next());
        ensure!(found.eq(["v1"]), "it lists {said}");
        DONE
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
        let said = site.read(&mut podman(
            site,
            &["image", "inspect", "--format", "{{.Architecture}}", &from],
        )?)?;
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

    /// Docker's manifests, and every tag at once.
    fn habits(&self, site: &Site<'_>) -> Result<Cell> {
        let from = site.through_relay("app:v1");
        for format in ["v2s2", "oci"] {
            let to = format!("docker://{}", site.at(&format!("habits:{format}")));
            run(site, &["push", "--tls-verify=false", "--format", format, &from, &to])?;
            site.pushed(("habits", format), &site.images.image)?;
        }
        emptied(site)?;
        run(site, &["pull", "--tls-verify=false", "--all-tags", &site.at("habits")])?;
        let said = site.read(&mut podman(site, &["images", "--format", "{{.Tag}}"])?)?;
        ensure!(["v2s2", "oci"].iter().all(|tag| said.contains(tag)), "it pulled {said}");
        DONE
    }

    fn delete(&self, _: &Site<'_>) -> Result<Cell> {
        Ok(Cell::Cannot("it deletes in its own store only"))
    }
}
