//! What a release promises about upgrades and rollbacks. Derived, from the migrations and the table of releases.

use super::{MigrationSet, Phase, ids};
use crate::release::Release;
use serde::Serialize;

/// What an image tells before anything is done with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Contract {
    /// The release.
    pub version: String,
    /// Its migrations.
    pub schema: Schema,
    /// How far one can go back from it.
    pub rollback: Rollback,
    /// The releases before it that nobody may jump over.
    pub required_stops: Vec<String>,
}

/// The migrations of a release, in the order of their time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Schema {
    /// What the database has when the pre-deploy migrations have run.
    pub level: Option<String>,
    /// The least that a server of this release serves on.
    pub min_level: Option<String>,
    /// The newest migration, of either phase, that it knows.
    pub max_known: Option<String>,
    /// Before its pods start.
    pub pre: Vec<String>,
    /// After it has proved itself.
    pub post: Vec<String>,
}

/// How far one can go back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rollback {
    /// The oldest release that can serve when all migrations of this one have run.
    pub min_version: String,
    /// What this release writes cannot be read by those before it: there is no way back once it has served.
    pub cannot_rollback: bool,
}

impl Contract {
    /// What the release `version` with these migrations promises.
    pub fn of(set: &MigrationSet, version: &str) -> Self {
        let of_phase = |phase: Phase| ids(set.iter().filter(|one| one.phase == phase).map(|one| one.version));
        let level = set.required().map(|version| version.to_string());
        let known = &set.releases;
        let this = known.iter().position(|release| release.version == version);
        let before = known.get(..this.unwrap_or(known.len())).unwrap_or_default();
        let stops = before.iter().filter(|release| release.required_stop);
        Self {
            version: version.to_owned(),
            schema: Schema {
                min_level: level.clone(),
                level,
                max_known: set.newest().map(|version| version.to_string()),
                pre: of_phase(Phase::Pre),
                post: of_phase(Phase::Post),
            },
            rollback: Rollback {
                min_version: oldest_that_serves(set, before)
                    .map_or_else(|| version.to_owned(), |r| r.version.to_string()),
                cannot_rollback: this.and_then(|at| known.get(at)).is_some_and(|release| release.one_way),
            },
            required_stops: stops.map(|release| release.version.to_string()).collect(),
        }
    }
}

/// The oldest of the earlier releases that knows what the migrations demand, and after which nobody closed the way back. None: not one of them.
fn oldest_that_serves<'r>(set: &MigrationSet, before: &'r [Release]) -> Option<&'r Release> {
    let floor = set
        .iter()
        .filter_map(|migration| migration.floor)
        .max()
        .unwrap_or_default();
    let closed = set
        .releases
        .iter()
        .rposition(|release| release.one_way)
        .unwrap_or_default();
    before.iter().skip(closed).find(|release| release.knows >= floor)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{migration, post_with_floor, release};
    use super::*;

    fn set(releases: Vec<Release>) -> MigrationSet {
        MigrationSet::new(vec![
            migration(1, Phase::Pre, &[]),
            migration(2, Phase::Pre, &[]),
            post_with_floor(3, 2),
            migration(4, Phase::Pre, &[]),
        ])
        .since(releases)
    }

    #[test]
    fn an_image_tells_its_migrations_and_how_far_one_can_go_back() {
        let set = set(vec![
            release("1.0.0", 1),
            release("1.1.0", 2),
            release("1.2.0", 3),
            release("1.3.0", 4),
        ]);

        let told = Contract::of(&set, "1.3.0");

        assert_eq!(told.schema.pre, ["1", "2", "4"]);
        assert_eq!(told.schema.post, ["3"]);
        assert_eq!(told.schema.level.as_deref(), Some("4"));
        assert_eq!(told.schema.max_known.as_deref(), Some("4"));
        assert_eq!(told.rollback.min_version, "1.1.0", "1.0.0 does not know migration 2");
        assert!(!told.rollback.cannot_rollback);
        assert!(told.required_stops.is_empty());
    }

    #[test]
    fn a_release_without_a_way_back_is_the_oldest_for_itself_and_for_all_after_it() {
        let mut closed = release("1.2.0", 3);
        closed.one_way = true;
        let set = set(vec![release("1.1.0", 2), closed, release("1.3.0", 4)]);

        assert!(Contract::of(&set, "1.2.0").rollback.cannot_rollback);
        assert_eq!(Contract::of(&set, "1.2.0").rollback.min_version, "1.2.0");
        assert_eq!(Contract::of(&set, "1.3.0").rollback.min_version, "1.2.0");
        assert!(!Contract::of(&set, "1.3.0").rollback.cannot_rollback);
    }

    #[test]
    fn the_stops_on_the_way_are_those_before_the_release() {
        let mut stop = release("1.1.0", 2);
        stop.required_stop = true;
        let mut this = release("1.3.0", 4);
        this.required_stop = true;

        let told = Contract::of(&set(vec![release("1.0.0", 1), stop, this]), "1.3.0");

        assert_eq!(told.required_stops, ["1.1.0"]);
    }
}
