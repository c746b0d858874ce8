//! Helm: charts as artifacts.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};

use super::{
    Client,
    fixtures::{LARGE_BYTES, noise},
    matrix::{Cell, DONE},
    relay::Direction,
    site::Site,
};
use crate::tools::clients::Programs;

/// A plus sign cannot be in a tag.
const VERSION: &str = "1.2.3+build.5";
const TAG: &str = "1.2.3_build.5";

/// The chart that is large enough to be cut off.
const LARGE: &str = "cut";

struct Helm(PathBuf);

#[expect(clippy::unnecessary_wraps, reason = "other clients start a server")]
pub(super) fn start(programs: &Programs, _: &Site<'_>) -> Result<Box<dyn Client>> {
    Ok(Box::new(Helm(programs.helm.clone())))
}

impl Helm {
    fn command(&self, site: &Site<'_>, arguments: &[&str]) -> Command {
        let mut command = site.command(&self.0);
        command.args(arguments);
        command
    }

    fn run(&self, site: &Site<'_>, arguments: &[&str]) -> Result<()> {
        site.run(&mut self.command(site, arguments))
    }

    fn read(&self, site: &Site<'_>, arguments: &[&str]) -> Result<String> {
        site.read(&mut self.command(site, arguments))
    }

    /// Packs a chart `name` of a version, with `dependency` lines of its Chart.yaml and large files if it is [`LARGE`].
    fn packed(&self, site: &Site<'_>, (name, version): (&str, &str), dependency: &str) -> Result<PathBuf> {
        let folder = site.path("charts").join(name);
        fs::create_dir_all(folder.join("templates"))?;
        let chart = format!("apiVersion: v2\nname: {name}\nversion: {version}\n{dependency}");
        fs::write(folder.join("Chart.yaml"), chart)?;
        let object = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: of-the-chart}\n";
        fs::write(folder.join("templates/map.yaml"), object)?;
        if name == LARGE {
            // Helm takes no file above five megabytes.
            for (part, bytes) in noise(name).chunks(LARGE_BYTES / 2).enumerate() {
                fs::write(folder.join(format!("large-{part}")), bytes)?;
            }
        }
        if !dependency.is_empty() {
            self.run(
                site,
                &["dependency", "update", "--plain-http", &folder.display().to_string()],
            )?;
        }
        let to = site.path("packed").display().to_string();
        self.run(site, &["package", "--destination", &to, &folder.display().to_string()])?;
        Ok(site.path("packed").join(format!("{name}-{version}.tgz")))
    }

    fn push(&self, site: &Site<'_>, chart: &Path, to: &str) -> Result<()> {
        self.run(
            site,
            &[
                "push",
                "--plain-http",
                &chart.display().to_string(),
                &format!("oci://{to}"),
            ],
        )
    }

    /// Pulls a chart; it is the one that was packed, byte for byte.
    fn pulled(&self, site: &Site<'_>, (from, version): (&str, &str), packed: &str) -> Result<()> {
        let (from, to) = (format!("oci://{from}"), site.path("pulled").display().to_string());
        fs::create_dir_all(&to)?;
        self.run(
            site,
            &[
                "pull",
                "--plain-http",
                "--destination",
                &to,
                "--version",
                version,
                &from,
            ],
        )?;
        let same = fs::read(site.path("pulled").join(packed))? == fs::read(site.path("packed").join(packed))?;
        ensure!(same, "{packed} came back with other bytes");
        Ok(())
    }
}

impl Client for Helm {
    fn version(&self, site: &Site<'_>) -> Result<String> {
        let said = self.read(site, &["version", "--template", "{{.Version}}"])?;
        Ok(said.trim_start_matches('v').to_owned())
    }

    fn push(&self, site: &Site<'_>) -> Result<Cell> {
        let chart = self.packed(site, ("app", VERSION), "")?;
        self.push(site, &chart, &format!("{}/helm", site.host()))?;
        site.remote.whole(&site.repository("app"), TAG)?;
        DONE
    }

    fn pull(&self, site: &Site<'_>) -> Result<Cell> {
        self.pulled(site, (&site.at("app"), VERSION), &format!("app-{VERSION}.tgz"))?;
        DONE
    }

    /// A range of versions is answered from the list of tags.
    fn list(&self, site: &Site<'_>) -> Result<Cell> {
        let chart = self.packed(site, ("app", "1.3.0"), "")?;
        self.push(site, &chart, &format!("{}/helm", site.host()))?;
        let there = format!("oci://{}", site.at("app"));
        for (range, version) in [("^1.2", "1.3.0"), ("~1.2", VERSION)] {
            let said = self.read(site, &["show", "chart", "--plain-http", "--version", range, &there])?;
            let found = said.lines().any(|line| line == format!("version: {version}"));
            ensure!(found, "{range} gives {said}");
        }
        DONE
    }

    fn copy(&self, _: &Site<'_>) -> Result<Cell> {
        Ok(Cell::Cannot("it pushes a chart again in place of copying it"))
    }

    fn index(&self, _: &Site<'_>) -> Result<Cell> {
        Ok(Cell::Cannot("a chart is for every kind of processor"))
    }

    fn cut_push(&self, site: &Site<'_>) -> Result<Cell> {
        let chart = self.packed(site, (LARGE, "1.0.0"), "")?;
        let to = format!("{}/helm", site.relay());
        let after = site.cut(Direction::Up, || self.push(site, &chart, &to))?;
        site.remote.whole(&site.repository("cut"), "1.0.0")?;
        Ok(after.into())
    }

    fn cut_pull(&self, site: &Site<'_>) -> Result<Cell> {
        let from = site.through_relay("cut");
        let after = site.cut(Direction::Down, || self.pulled(site, (&from, "1.0.0"), "cut-1.0.0.tgz"))?;
        Ok(after.into())
    }

    /// A chart by its digest, rendered from where it is, and as a dependency of another.
    fn habits(&self, site: &Site<'_>) -> Result<Cell> {
        let digest = site.remote.manifest(&site.repository("app"), "1.3.0")?.digest;
        let by_digest = format!("oci://{}", site.at(&format!("app@{digest}")));
        let rendered = self.read(site, &["template", "--plain-http", "release", &by_digest])?;
        ensure!(rendered.contains("name: of-the-chart"), "it renders {rendered}");
        let repository = format!("oci://{}/helm", site.host());
        let dependency = format!("dependencies:\n- {{name: app, version: ^1.2, repository: \"{repository}\"}}\n");
        let chart = self.packed(site, ("parent", "1.0.0"), &dependency)?;
        self.push(site, &chart, &format!("{}/helm", site.host()))?;
        self.pulled(site, (&site.at("parent"), "1.0.0"), "parent-1.0.0.tgz")?;
        DONE
    }

    fn delete(&self, _: &Site<'_>) -> Result<Cell> {
        Ok(Cell::Cannot("it uninstalls from clusters only"))
    }
}
