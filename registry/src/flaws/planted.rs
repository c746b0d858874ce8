//! The flaws that the variables of an image name.
//!
//! | variable | |
//! |---|---|
//! | `BERTH_FLAW` | `crash`, `lies`, `slow-reads`, `slow-writes`, `errors=CLASS`, `foreign-uploads`, `corrupt`, `no-metrics`, `leak`; or none |
//! | `BERTH_FLAW_VERSION` | what it says it is |
//! | `BERTH_FLAW_RELEASES` | JSON, `[["1.0.0", 20261122000001, false, false], …]`: the releases after the last real one, this one last |
//! | `BERTH_FLAW_MIGRATIONS` | JSON, `[{"version": …, "post": false, "sql": "…", "requires": [], "floor": null}, …]` |
//! | `BERTH_FLAW_DELAY_MS` | how slow, 3000 |
//! | `BERTH_FLAW_LEAK_MIB` | how much a second, 16 |

use super::{Flaw, FlawedMigration, PastRelease};
use serde::de::DeserializeOwned;
use std::sync::LazyLock;
use std::time::Duration;

const MIB: usize = 1024 * 1024;
const PAGE: usize = 4096;

/// What the image asks for.
#[derive(Debug, Default)]
pub struct Wanted {
    flaw: Option<Flaw>,
    class: String,
    version: Option<String>,
    releases: Option<Vec<PastRelease>>,
    migrations: Vec<FlawedMigration>,
    delay: Duration,
    leak: usize,
    mistake: Option<String>,
}

static WANTED: LazyLock<Wanted> = LazyLock::new(|| Wanted::read(variable));

#[expect(clippy::disallowed_methods, reason = "a planted flaw is no setting of the product")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Wanted {
    fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let mut wanted = Self {
            version: variable("BERTH_FLAW_VERSION"),
            delay: Duration::from_millis(number(variable("BERTH_FLAW_DELAY_MS"), 3000)),
            leak: usize::try_from(number(variable("BERTH_FLAW_LEAK_MIB"), 16)).unwrap_or(16),
            ..Self::default()
        };
        let named = variable("BERTH_FLAW").unwrap_or_else(|| "none".to_owned());
        let (name, class) = named.split_once('=').unwrap_or((&named, ""));
        class.clone_into(&mut wanted.class);
        match flaw(name) {
            Ok(flaw) => wanted.flaw = flaw,
            Err(unknown) => wanted.mistake = Some(unknown),
        }
        match json(variable("BERTH_FLAW_RELEASES")) {
            Ok(releases) => wanted.releases = releases,
            Err(wrong) => wanted.mistake = Some(wrong),
        }
        match json(variable("BERTH_FLAW_MIGRATIONS")) {
            Ok(migrations) => wanted.migrations = migrations.unwrap_or_default(),
            Err(wrong) => wanted.mistake = Some(wrong),
        }
        wanted
    }
}

fn number(value: Option<String>, otherwise: u64) -> u64 {
    value.and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

fn json<T: DeserializeOwned>(value: Option<String>) -> Result<Option<T>, String> {
    let Some(value) = value else {
        return Ok(None);
    };
    serde_json::from_str(&value).map_err(|wrong| format!("BERTH_FLAW: {wrong} in {value}"))
}

fn flaw(name: &str) -> Result<Option<Flaw>, String> {
    Ok(match name {
        "none" => None,
        "crash" => Some(Flaw::Crash),
        "lies" => Some(Flaw::Lies),
        "slow-reads" => Some(Flaw::SlowReads),
        "slow-writes" => Some(Flaw::SlowWrites),
        "errors" => Some(Flaw::Errors),
        "foreign-uploads" => Some(Flaw::ForeignUploads),
        "corrupt" => Some(Flaw::Corrupt),
        "no-metrics" => Some(Flaw::NoMetrics),
        "leak" => Some(Flaw::Leak),
        unknown => return Err(format!("BERTH_FLAW: `{unknown}` is no flaw")),
    })
}

/// What this image asks for.
pub fn wanted() -> &'static Wanted {
    &WANTED
}

/// Whether this release has the flaw.
pub fn has(flaw: Flaw) -> bool {
    WANTED.flaw == Some(flaw)
}

/// With [`Flaw::Errors`]: the class whose requests fail.
pub fn sick_class() -> &'static str {
    &WANTED.class
}

/// How long a slow request takes.
pub fn delay() -> Duration {
    WANTED.delay
}

/// The version that the image says it is.
pub fn version() -> Option<&'static str> {
    WANTED.version.as_deref()
}

/// The releases that the image says came after the last real one.
pub fn releases() -> Option<Vec<PastRelease>> {
    WANTED.releases.clone()
}

/// The migrations that the image brings.
pub fn migrations() -> Vec<FlawedMigration> {
    WANTED.migrations.clone()
}

/// What goes wrong at the start, or begins to.
///
/// # Errors
/// The crash that was asked for; that something is asked for which there is not.
pub fn begin() -> Result<(), String> {
    if let Some(mistake) = &WANTED.mistake {
        return Err(mistake.clone());
    }
    if has(Flaw::Crash) {
        return Err("this release crashes at its start".to_owned());
    }
    if has(Flaw::Leak) {
        std::thread::spawn(|| leak(WANTED.leak * MIB));
    }
    Ok(())
}

/// Memory that is used is taken; what is only asked for is not.
fn leak(a_second: usize) {
    const STEPS: usize = 10;
    let mut kept: Vec<Vec<u8>> = Vec::new();
    loop {
        let mut more = vec![0_u8; a_second / STEPS];
        more.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
        kept.push(std::hint::black_box(more));
        std::thread::sleep(Duration::from_millis(1000 / STEPS as u64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Wanted {
        Wanted::read(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn an_image_names_its_version_its_flaw_and_its_migrations() {
        let wanted = read(&[
            ("BERTH_FLAW", "errors=manifest_write"),
            ("BERTH_FLAW_VERSION", "1.1.0"),
            (
                "BERTH_FLAW_MIGRATIONS",
                r#"[{"version": 7, "sql": "SELECT 1", "floor": 5, "post": true}]"#,
            ),
            (
                "BERTH_FLAW_RELEASES",
                r#"[["1.0.0", 5, false, false], ["1.1.0", 7, true, false]]"#,
            ),
        ]);

        assert_eq!(
            (wanted.flaw, wanted.class.as_str()),
            (Some(Flaw::Errors), "manifest_write")
        );
        assert_eq!(wanted.version.as_deref(), Some("1.1.0"));
        assert!(wanted.migrations[0].post);
        assert_eq!(wanted.releases.unwrap()[1].1, 7);
        assert_eq!(wanted.mistake, None);
    }

    #[test]
    fn without_variables_nothing_is_wrong() {
        let wanted = read(&[]);

        assert!(wanted.flaw.is_none() && wanted.migrations.is_empty() && wanted.mistake.is_none());
    }

    #[test]
    fn a_flaw_that_there_is_not_is_a_mistake_and_no_good_release() {
        assert!(read(&[("BERTH_FLAW", "sleepy")]).mistake.unwrap().contains("sleepy"));
        assert!(read(&[("BERTH_FLAW_RELEASES", "{")]).mistake.is_some());
    }
}
