//! ORAS: artifacts of any kind, and what refers to them.

use std::{fs, process::Command};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{
    Client,
    fixtures::noise,
    matrix::{Cell, DONE},
    relay::Direction,
    remote::sum,
    site::Site,
};
use crate::tools::clients::{Program, Programs};

const KIND: &str = "application/vnd.example.artifact";
/// As many notes, each as large, do not fit in one page of the referrers (4 MiB).
const NOTES: usize = 24;
const NOTE_BYTES: usize = 200_000;

struct Oras(Program);

/// Makes the files of its artifacts.
pub(super) fn start(programs: &Programs, site: &Site<'_>) -> Result<Box<dyn Client>> {
    fs::write(site.path("large"), noise("oras large"))?;
    fs::write(site.path("second"), noise("oras second"))?;
    fs::write(site.path("note.txt"), "a note\n")?;
    Ok(Box::new(Oras(programs.oras.clone())))
}

impl Oras {
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

    fn push(&self, site: &Site<'_>, file: &str, to: &str) -> Result<()> {
        let push = ["push", "--plain-http", "--artifact-type", KIND, to];
        self.run(site, &[&push[..], &[file, "note.txt:text/plain"]].concat())
    }

    /// Pulls an artifact into a new folder; its file is the one that was pushed.
    fn pulled(&self, site: &Site<'_>, from: &str, file: &str) -> Result<()> {
        let to = site.path("pulled");
        if to.exists() {
            fs::remove_dir_all(&to)?;
        }
        self.run(
            site,
            &["pull", "--plain-http", "--output", &to.display().to_string(), from],
        )?;
        ensure!(
            fs::read(to.join(file))? == fs::read(site.path(file))?,
            "{file} came back with other bytes"
        );
        Ok(())
    }

    fn copy(&self, site: &Site<'_>, options: &[&str], from: &str, to: &str) -> Result<()> {
        self.run(site, &[&["cp"], options, &[from, to]].concat())
    }

    /// What `discover` finds of a kind.
    fn discovered(&self, site: &Site<'_>, of: &str, kind: &str) -> Result<usize> {
        let discover = [
            "discover",
            "--plain-http",
            "--format",
            "json",
            "--depth",
            "1",
            "--artifact-type",
            kind,
            of,
        ];
        let found: Value = serde_json::from_str(&self.read(site, &discover)?)?;
        Ok(found["referrers"].as_array().map_or(0, Vec::len))
    }
}

const BOTH: [&str; 2] = ["--from-plain-http", "--to-plain-http"];

impl Client for Oras {
    fn version(&self, _: &Site<'_>) -> Result<String> {
        Ok(self.0.version.clone())
    }

    fn push(&self, site: &Site<'_>) -> Result<Cell> {
        self.push(site, "large", &site.at("app:v1"))?;
        let manifest = site.remote.whole(&site.repository("app"), "v1")?;
        ensure!(manifest.body["artifactType"] == KIND, "it pushed {}", manifest.body);
        DONE
    }

    fn pull(&self, site: &Site<'_>) -> Result<Cell> {
        self.pulled(site, &site.at("app:v1"), "large")?;
        DONE
    }

    fn list(&self, site: &Site<'_>) -> Result<Cell> {
        let tags = self.read(site, &["repo", "tags", "--plain-http", &site.at("app")])?;
        ensure!(tags == "v1", "it lists {tags}");
        let repositories = self.read(site, &["repo", "ls", "--plain-http", &site.host()])?;
        let own = site.repository("app");
        ensure!(
            repositories.lines().any(|line| line == own),
            "no {own} in {repositories}"
        );
        DONE
    }

    fn copy(&self, site: &Site<'_>) -> Result<Cell> {
        let mark = site.mark()?;
        self.copy(site, &BOTH, &site.at("app:v1"), &site.at("copied:v1"))?;
        site.remote.whole(&site.repository("copied"), "v1")?;
        site.mounted(mark, "copied", 2)?;
        Ok(Cell::Done("mount"))
    }

    fn index(&self, site: &Site<'_>) -> Result<Cell> {
        let (index, there) = (&site.images.index, site.at("index:v1"));
        let from = format!("{}:v1", index.folder.display());
        self.copy(site, &["--from-oci-layout", "--to-plain-http"], &from, &there)?;
        ensure!(
            site.index_pushed("index", "v1")?.digest == index.archive.digest,
            "another index"
        );
        let entries = index.json(&index.archive.digest)?;
        let of_arm = ["manifest", "fetch", "--plain-http", "--platform", "linux/arm64", &there];
        let of_arm = sum(self.read(site, &of_arm)?.as_bytes());
        ensure!(
            entries["manifests"][1]["digest"] == of_arm.as_str(),
            "{of_arm} for arm64"
        );
        let back = format!("{}:v1", site.path("both").display());
        self.copy(site, &["--from-plain-http", "--to-oci-layout"], &there, &back)?;
        let made = ["manifest", "index", "create", "--plain-http", &site.at("index:made")];
        let entries = [
            entries["manifests"][0]["digest"].as_str(),
            entries["manifests"][1]["digest"].as_str(),
        ];
        self.run(site, &[&made[..], &entries.map(Option::unwrap_or_default)].concat())?;
        site.index_pushed("index", "made")?;
        DONE
    }

    fn cut_push(&self, site: &Site<'_>) -> Result<Cell> {
        let to = site.through_relay("cut:v1");
        let after = site.cut(Direction::Up, || self.push(site, "second", &to))?;
        site.remote.whole(&site.repository("cut"), "v1")?;
        Ok(after.into())
    }

    fn cut_pull(&self, site: &Site<'_>) -> Result<Cell> {
        let from = site.through_relay("app:v1");
        let after = site.cut(Direction::Down, || self.pulled(site, &from, "large"))?;
        Ok(after.into())
    }

    /// Referrers: attached, found by kind over several pages, copied with their subject; single blobs.
    fn habits(&self, site: &Site<'_>) -> Result<Cell> {
        let (app, kind) = (site.at("app:v1"), "application/vnd.example.note");
        let text = "n".repeat(NOTE_BYTES);
        for number in 0..NOTES {
            let note = json!({"$manifest": {"text": text, "number": number.to_string()}});
            fs::write(site.path("note.json"), note.to_string())?;
            let attach = [
                "attach",
                "--plain-http",
                "--artifact-type",
                kind,
                "--annotation-file",
                "note.json",
            ];
            self.run(site, &[&attach[..], &[&app]].concat())?;
        }
        self.run(
            site,
            &["attach", "--plain-http", "--artifact-type", KIND, &app, "note.txt"],
        )?;
        let found = (self.discovered(site, &app, kind)?, self.discovered(site, &app, KIND)?);
        ensure!(found == (NOTES, 1), "it finds {found:?}");
        let with_notes = site.at("with-notes:v1");
        self.copy(site, &[&BOTH[..], &["--recursive"]].concat(), &app, &with_notes)?;
        let found = self.discovered(site, &with_notes, kind)?;
        ensure!(found == NOTES, "{found} of {NOTES} notes were copied");
        let blob = sum(&fs::read(site.path("note.txt"))?);
        self.run(site, &["blob", "push", "--plain-http", &site.at("blobs"), "note.txt"])?;
        let there = site.at(&format!("blobs@{blob}"));
        self.run(
            site,
            &["blob", "fetch", "--plain-http", "--output", "fetched.txt", &there],
        )?;
        ensure!(sum(&fs::read(site.path("fetched.txt"))?) == blob, "another blob came");
        self.run(site, &["tag", "--plain-http", &app, "one", "two"])?;
        ensure!(site.remote.tags(&site.repository("app"))?.len() == 3, "not three tags");
        DONE
    }

    /// A manifest with its tags, and a blob.
    fn delete(&self, site: &Site<'_>) -> Result<Cell> {
        let repository = site.repository("copied");
        self.run(
            site,
            &["manifest", "delete", "--plain-http", "--force", &site.at("copied:v1")],
        )?;
        site.remote.gone(&repository, "v1")?;
        let blob = sum(&fs::read(site.path("note.txt"))?);
        let there = site.at(&format!("blobs@{blob}"));
        self.run(site, &["blob", "delete", "--plain-http", "--force", &there])?;
        let path = format!("/v2/{}/blobs/{blob}", site.repository("blobs"));
        let left = site.remote.ask("HEAD", &path)?.status;
        ensure!(left == 404, "HEAD of the deleted blob gives {left}");
        DONE
    }
}
