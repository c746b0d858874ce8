//! Images of releases for the tests of roll-outs: one static binary with the feature `flawed`, and for each release the variables that say
//! what it is and what is wrong with it (`registry/src/flaws`).

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
};

use anyhow::{Context, Result};
use serde_json::json;

use super::{Archive, Image, Settings, berth, layout, place};
use crate::{cache::Cache, shell::Log, tools::apt};

/// The newest migration of the product, which all of these releases have.
const PRODUCT: i64 = 20_261_122_000_001;
const NAME: &str = "berth-registry";
/// What all these images call their repository.
const REPOSITORY: &str = "berth/berth-registry";

/// A release of a test.
#[derive(Debug, Clone, Copy)]
pub struct Release {
    /// What it says it is, and the tag of its image.
    pub version: &'static str,
    /// What is wrong with it, as `BERTH_FLAW` names it; empty: nothing.
    pub flaw: &'static str,
    /// Its migrations and those of the releases before it.
    pub migrations: &'static [Migration],
    /// Releases before it that nobody may jump over, with the newest migration that each knows.
    pub stops: &'static [(&'static str, i64)],
}

/// A migration that a release brings.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// Its time.
    pub version: i64,
    /// After the release has proved itself.
    pub post: bool,
    /// What it does.
    pub sql: &'static str,
    /// What a server must know to live with it; 0: nothing.
    pub floor: i64,
}

impl Release {
    /// A release with something wrong, or with nothing.
    pub const fn new(version: &'static str, flaw: &'static str) -> Self {
        Self {
            version,
            flaw,
            migrations: &[],
            stops: &[],
        }
    }

    /// The same with migrations.
    #[must_use]
    pub const fn with(self, migrations: &'static [Migration]) -> Self {
        Self { migrations, ..self }
    }

    /// The name of its image.
    pub fn reference(&self) -> String {
        format!("{REPOSITORY}:{}", self.version)
    }

    fn variables(&self) -> Vec<String> {
        let migrations: Vec<_> = self.migrations.iter().map(Migration::described).collect();
        let newest = self.migrations.iter().map(|one| one.version).max().unwrap_or(PRODUCT);
        let stops = self
            .stops
            .iter()
            .map(|(version, knows)| json!([version, knows, true, false]));
        let stable = json!([STABLE.version, PRODUCT, false, false]);
        let itself = json!([self.version, newest, false, false]);
        let releases: Vec<_> = std::iter::once(stable).chain(stops).chain([itself]).collect();
        vec![
            format!("BERTH_FLAW={}", self.flaw),
            format!("BERTH_FLAW_VERSION={}", self.version),
            format!("BERTH_FLAW_RELEASES={}", json!(releases)),
            format!("BERTH_FLAW_MIGRATIONS={}", json!(migrations)),
        ]
    }
}

impl Migration {
    fn described(&self) -> serde_json::Value {
        let floor = (self.floor > 0).then_some(self.floor);
        json!({"version": self.version, "post": self.post, "sql": self.sql, "floor": floor})
    }
}

/// The release that every Registry of the tests begins with.
pub const STABLE: Release = Release::new("1.0.0", "");

/// What a run of roll-outs needs.
#[derive(Debug)]
pub struct Built {
    /// The operator's image.
    pub operator: Archive,
    /// One archive with the images of all releases.
    pub releases: Archive,
    /// A copy of the program `kubectl-berth`.
    pub plugin: tempfile::NamedTempFile,
}

/// The operator's image, the images of all `releases` and the plugin, from a build of their own.
///
/// # Errors
/// When the build fails or an archive cannot be written.
pub fn with_releases(cache: &Cache, releases: &[Release], log: &Log) -> Result<Built> {
    apt::ensure(&[apt::CERTIFICATES], cache, log)?;
    // Held until the binaries are read: another checkout builds into the same folder.
    let _lock = cache.lock("images")?;
    let binaries = berth::compile_flawed(cache, log).context("build the binary of the test releases")?;
    let operator = berth::write_image(cache, "berth-operator", &binaries)?;
    // The next build puts others in their place.
    let plugin = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o755))
        .tempfile()?;
    fs::copy(binaries.join("kubectl-berth"), plugin.path()).context("copy kubectl-berth")?;
    let layer = berth::layer(NAME, &binaries.join(NAME))?;
    let images = releases.iter().map(|release| {
        let settings = Settings {
            environment: release.variables(),
            ..berth::settings(NAME)
        };
        (release.reference(), Image::new(vec![layer.clone()], settings))
    });
    let all = "berth/releases:1";
    Ok(Built {
        operator,
        releases: layout::write_all(&place(cache, all)?, all, images)?,
        plugin,
    })
}
