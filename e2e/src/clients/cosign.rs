//! Cosign: signatures and attestations beside an image, as tags and as referrers.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{
    Client,
    fixtures::Layout,
    matrix::{Cell, DONE},
    relay::Direction,
    site::Site,
};
use crate::tools::clients::{Program, Programs};

struct Cosign(Program);

/// No transparency log, which would be another server.
const SIGN: [&str; 5] = [
    "--key",
    "cosign.key",
    "--tlog-upload=false",
    "--use-signing-config=false",
    "--yes",
];
const VERIFY: [&str; 3] = ["--key", "cosign.pub", "--insecure-ignore-tlog"];
/// The form with a tag for an image's signatures, which the first versions had only.
const BY_TAG: [&str; 1] = ["--new-bundle-format=false"];

/// Makes its key.
pub(super) fn start(programs: &Programs, site: &Site<'_>) -> Result<Box<dyn Client>> {
    let cosign = Cosign(programs.cosign.clone());
    site.run(
        site.command(&cosign.0.path)
            .env("COSIGN_PASSWORD", "")
            .arg("generate-key-pair"),
    )?;
    Ok(Box::new(cosign))
}

impl Cosign {
    fn command(&self, site: &Site<'_>, words: &[&[&str]]) -> Command {
        let words = words.concat();
        let mut command = site.command(&self.0.path);
        command
            .env("COSIGN_PASSWORD", "")
            .arg(words[0])
            .arg("--allow-http-registry");
        command.args(&words[1..]);
        command
    }

    fn run(&self, site: &Site<'_>, words: &[&[&str]]) -> Result<()> {
        site.run(&mut self.command(site, words))
    }

    fn load(&self, site: &Site<'_>, folder: &Path, to: &str) -> Result<()> {
        self.run(site, &[&["load", "--dir", &folder.display().to_string(), to]])
    }

    /// Takes an image with its signatures into a new folder; the image is the one of `digest`.
    fn saved(&self, site: &Site<'_>, from: &str, digest: &str) -> Result<PathBuf> {
        let to = site.path("saved");
        if to.exists() {
            fs::remove_dir_all(&to)?;
        }
        self.run(site, &[&["save", "--dir", &to.display().to_string(), from]])?;
        let index: Value = serde_json::from_slice(&fs::read(to.join("index.json"))?)?;
        ensure!(
            index["manifests"][0]["digest"] == digest,
            "it saved {}",
            index["manifests"][0]
        );
        Ok(to)
    }
}

/// Marks a layout as one that cosign has written: it loads no other.
fn marked<'l>(layout: &'l Layout, kind: &str) -> Result<&'l Path> {
    let path = layout.folder.join("index.json");
    let mut index: Value = serde_json::from_slice(&fs::read(&path)?)?;
    index["manifests"][0]["annotations"] = json!({"kind": format!("dev.cosignproject.cosign/{kind}")});
    fs::write(path, index.to_string())?;
    Ok(&layout.folder)
}

impl Client for Cosign {
    fn version(&self, _: &Site<'_>) -> Result<String> {
        Ok(self.0.version.clone())
    }

    fn push(&self, site: &Site<'_>) -> Result<Cell> {
        let image = &site.images.image;
        self.load(site, marked(image, "image")?, &site.at("app:v1"))?;
        let manifest = site.pushed(("app", "v1"), image)?;
        ensure!(manifest.digest == image.archive.digest, "it pushed {}", manifest.digest);
        DONE
    }

    fn pull(&self, site: &Site<'_>) -> Result<Cell> {
        self.saved(site, &site.at("app:v1"), &site.images.image.archive.digest)?;
        DONE
    }

    /// What belongs to an image: signed as a tag, then seen, and carried to the copy below.
    fn list(&self, site: &Site<'_>) -> Result<Cell> {
        let (digest, tag) = (&site.images.image.archive.digest, site.at("app:v1"));
        let signed = site.at(&format!("app@{digest}"));
        self.run(site, &[&["sign"], &SIGN, &BY_TAG, &[&signed]])?;
        let signatures = format!("{}.sig", digest.replace(':', "-"));
        site.remote.whole(&site.repository("app"), &signatures)?;
        let tree = site.read(&mut self.command(site, &[&["tree", &tag]]))?;
        ensure!(tree.contains(&signatures), "no signature in {tree}");
        DONE
    }

    fn copy(&self, site: &Site<'_>) -> Result<Cell> {
        let (mark, to) = (site.mark()?, site.at("copied:v1"));
        self.run(site, &[&["copy", &site.at("app:v1"), &to]])?;
        site.pushed(("copied", "v1"), &site.images.image)?;
        site.mounted(mark, "copied", 3)?;
        self.run(site, &[&["verify"], &VERIFY, &BY_TAG, &[&to]])?;
        Ok(Cell::Done("mount"))
    }

    /// Every image of an index signed, as referrers.
    fn index(&self, site: &Site<'_>) -> Result<Cell> {
        let index = &site.images.index;
        self.load(site, marked(index, "imageIndex")?, &site.at("index:v1"))?;
        ensure!(
            site.index_pushed("index", "v1")?.digest == index.archive.digest,
            "another index"
        );
        let there = site.at(&format!("index@{}", index.archive.digest));
        self.run(site, &[&["sign", "--recursive"], &SIGN, &[&there]])?;
        self.run(site, &[&["verify"], &VERIFY, &[&there]])?;
        for entry in index.json(&index.archive.digest)?["manifests"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let digest = entry["digest"].as_str().unwrap_or_default();
            let signatures = site.remote.referrers(&site.repository("index"), digest)?.len();
            ensure!(signatures == 1, "{digest} has {signatures} signatures");
        }
        self.saved(site, &there, &index.archive.digest)?;
        DONE
    }

    fn cut_push(&self, site: &Site<'_>) -> Result<Cell> {
        let (folder, to) = (marked(&site.images.second, "image")?, site.through_relay("cut:v1"));
        let after = site.cut(Direction::Up, || self.load(site, folder, &to))?;
        site.pushed(("cut", "v1"), &site.images.second)?;
        Ok(after.into())
    }

    fn cut_pull(&self, site: &Site<'_>) -> Result<Cell> {
        let (from, digest) = (site.through_relay("app:v1"), &site.images.image.archive.digest);
        let after = site.cut(Direction::Down, || self.saved(site, &from, digest).map(drop))?;
        Ok(after.into())
    }

    /// One tag that holds more signatures each time; signatures and attestations as referrers; a wrong key is refused.
    fn habits(&self, site: &Site<'_>) -> Result<Cell> {
        let (repository, digest) = (site.repository("habits"), &site.images.third.archive.digest);
        self.load(site, marked(&site.images.third, "image")?, &site.at("habits:v1"))?;
        let image = site.at(&format!("habits@{digest}"));
        let unsigned = self.run(site, &[&["verify"], &VERIFY, &[&image]]);
        ensure!(unsigned.is_err(), "an image without a signature was verified");
        for (count, note) in [(1, "round=one"), (2, "round=two")] {
            self.run(site, &[&["sign", "-a", note], &SIGN, &BY_TAG, &[&image]])?;
            let signatures = site
                .remote
                .whole(&repository, &format!("{}.sig", digest.replace(':', "-")))?;
            let layers = signatures.body["layers"].as_array().map_or(0, Vec::len);
            ensure!(layers == count, "the tag has {layers} signatures, not {count}");
        }
        self.run(site, &[&["verify", "-a", "round=two"], &VERIFY, &BY_TAG, &[&image]])?;
        let with_signatures = self.saved(site, &image, digest)?;
        self.load(site, &with_signatures, &site.at("loaded:v1"))?;
        self.run(site, &[&["verify"], &VERIFY, &BY_TAG, &[&site.at("loaded:v1")]])?;
        self.run(site, &[&["sign"], &SIGN, &[&image]])?;
        self.run(site, &[&["verify"], &VERIFY, &[&image]])?;
        fs::write(site.path("predicate.json"), json!({"built": "here"}).to_string())?;
        self.run(site, &[&["attest", "--predicate", "predicate.json"], &SIGN, &[&image]])?;
        self.run(site, &[&["verify-attestation"], &VERIFY, &[&image]])?;
        let referrers = site.remote.referrers(&repository, digest)?.len();
        ensure!(
            referrers == 2,
            "{referrers} referrers, not a signature and an attestation"
        );
        DONE
    }

    /// Everything that was put beside an image.
    fn delete(&self, site: &Site<'_>) -> Result<Cell> {
        let (repository, digest) = (site.repository("habits"), &site.images.third.archive.digest);
        let image = site.at(&format!("habits@{digest}"));
        self.run(site, &[&["clean", "--force", "--type", "all", &image]])?;
        site.remote
            .gone(&repository, &format!("{}.sig", digest.replace(':', "-")))?;
        let referrers = site.remote.referrers(&repository, digest)?;
        ensure!(referrers.is_empty(), "left: {referrers:?}");
        site.remote.whole(&repository, "v1")?;
        DONE
    }
}
