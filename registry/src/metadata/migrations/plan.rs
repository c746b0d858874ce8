//! Which migrations run next, decided from what has run. Pure.

use super::refusal::Refusal;
use super::{Migration, MigrationSet, Phase, SchemaStatus, Scope};

/// A migration that has run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Its version.
    pub version: i64,
    /// Of the file that ran.
    pub checksum: Vec<u8>,
    /// The floor that it set.
    pub floor: Option<i64>,
}

/// A schema that a program cannot serve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// Pre-deploy migrations have not run.
    #[error(
        "the database schema is older than this program needs: {} pre-deploy migration(s) are pending ({}); \
         run `berth-registry migrate up --phase pre` with this version first",
        .pending.len(), list(.pending)
    )]
    Pending {
        /// What is pending.
        pending: Vec<i64>,
    },
    /// A newer release has removed what this program needs.
    #[error("{}; {}", .0, .0.remedy())]
    TooNew(Refusal),
}

fn list(versions: &[i64]) -> String {
    versions.iter().map(i64::to_string).collect::<Vec<_>>().join(", ")
}

/// How the database stands.
pub(super) fn status(set: &MigrationSet, applied: Vec<Applied>) -> SchemaStatus {
    let pending = |phase: Phase| {
        set.iter()
            .filter(|migration| migration.phase == phase && !has_run(&applied, migration.version))
            .map(|migration| migration.version)
            .collect()
    };
    SchemaStatus {
        pending_pre: pending(Phase::Pre),
        pending_post: pending(Phase::Post),
        required: set.required(),
        newest_known: set.newest(),
        applied,
    }
}

fn has_run(applied: &[Applied], version: i64) -> bool {
    applied.iter().any(|one| one.version == version)
}

/// The migrations of `scope` that are still to run, in order.
pub(super) fn pending<'s>(
    set: &'s MigrationSet,
    applied: &[Applied],
    scope: Scope,
) -> Result<Vec<&'s Migration>, Refusal> {
    refuse_edited(set, applied)?;
    refuse_too_new(set.newest(), applied)?;
    refuse_skipped_stop(set, applied)?;
    let mut planned: Vec<&Migration> = Vec::new();
    for migration in set
        .iter()
        .filter(|m| scope.takes(m.phase) && !has_run(applied, m.version))
    {
        let ready = |version: i64| has_run(applied, version) || planned.iter().any(|p| p.version == version);
        if let Some(missing) = prerequisites(set, migration).find(|needed| !ready(needed.version)) {
            return Err(Refusal::DependencyPending {
                version: migration.version,
                requires: missing.version,
                phase: missing.phase,
            });
        }
        planned.push(migration);
    }
    Ok(planned)
}

/// What it names, and for a post-deploy migration every earlier pre-deploy one.
fn prerequisites<'s>(set: &'s MigrationSet, of: &'s Migration) -> impl Iterator<Item = &'s Migration> {
    set.iter().filter(|other| {
        let earlier_pre = of.phase == Phase::Post && other.phase == Phase::Pre && other.version < of.version;
        earlier_pre || of.requires.contains(&other.version)
    })
}

fn refuse_edited(set: &MigrationSet, applied: &[Applied]) -> Result<(), Refusal> {
    let edited = applied.iter().find(|one| {
        set.iter()
            .any(|migration| migration.version == one.version && migration.checksum != one.checksum)
    });
    edited.map_or(Ok(()), |one| Err(Refusal::MigrationEdited { version: one.version }))
}

/// Newer migrations than the program knows are fine, as long as none of them names a floor above it.
fn refuse_too_new(newest_known: Option<i64>, applied: &[Applied]) -> Result<(), Refusal> {
    let known = newest_known.unwrap_or_default();
    let shut_out = applied
        .iter()
        .find_map(|one| one.floor.filter(|f| *f > known).map(|f| (one.version, f)));
    shut_out.map_or(Ok(()), |(version, floor)| {
        Err(Refusal::SchemaTooNew { version, floor, known })
    })
}

/// A database that has something, and is to get what is newer than a stop, has everything of the stop.
fn refuse_skipped_stop(set: &MigrationSet, applied: &[Applied]) -> Result<(), Refusal> {
    if applied.is_empty() {
        return Ok(());
    }
    let missing = |upto: i64| set.iter().find(|m| m.version <= upto && !has_run(applied, m.version));
    let goes_beyond = |stop: i64| set.iter().any(|m| m.version > stop && !has_run(applied, m.version));
    let earlier = set.releases.iter().rev().skip(1).rev();
    let skipped = earlier
        .filter(|release| release.required_stop && goes_beyond(release.knows))
        .find_map(|release| missing(release.knows).map(|missing| (release, missing)));
    skipped.map_or(Ok(()), |(release, missing)| {
        Err(Refusal::RequiredStopSkipped {
            stop: release.version.to_string(),
            missing: missing.version,
        })
    })
}

pub(super) fn ensure_supported(status: &SchemaStatus) -> Result<(), Unsupported> {
    if !status.pending_pre.is_empty() {
        return Err(Unsupported::Pending {
            pending: status.pending_pre.clone(),
        });
    }
    refuse_too_new(status.newest_known, &status.applied).map_err(Unsupported::TooNew)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{migration, ran};
    use super::*;

    fn versions(planned: &[&Migration]) -> Vec<i64> {
        planned.iter().map(|m| m.version).collect()
    }

    #[test]
    fn a_pre_run_leaves_post_migrations_alone() {
        let set = MigrationSet::new(vec![migration(2, Phase::Post, &[]), migration(1, Phase::Pre, &[])]);

        let planned = pending(&set, &[], Scope::Pre).unwrap();

        assert_eq!(versions(&planned), [1]);
    }

    #[test]
    fn all_runs_both_phases_in_the_order_of_versions() {
        let set = MigrationSet::new(vec![
            migration(3, Phase::Pre, &[2]),
            migration(2, Phase::Post, &[]),
            migration(1, Phase::Pre, &[]),
        ]);

        assert_eq!(versions(&pending(&set, &[], Scope::All).unwrap()), [1, 2, 3]);
    }

    #[test]
    fn a_pre_migration_that_needs_a_skipped_post_one_is_blocked() {
        let set = MigrationSet::new(vec![
            migration(1, Phase::Pre, &[]),
            migration(2, Phase::Post, &[]),
            migration(3, Phase::Pre, &[2]),
        ]);

        let refused = pending(&set, &[ran(1)], Scope::Pre).unwrap_err();

        assert_eq!(
            refused,
            Refusal::DependencyPending {
                version: 3,
                requires: 2,
                phase: Phase::Post
            }
        );
    }

    #[test]
    fn a_post_migration_waits_for_every_earlier_pre_one() {
        let set = MigrationSet::new(vec![migration(1, Phase::Pre, &[]), migration(2, Phase::Post, &[])]);

        let refused = pending(&set, &[], Scope::Post).unwrap_err();

        assert_eq!(
            refused,
            Refusal::DependencyPending {
                version: 2,
                requires: 1,
                phase: Phase::Pre
            }
        );
    }

    #[test]
    fn an_edited_file_is_refused() {
        let set = MigrationSet::new(vec![migration(1, Phase::Pre, &[])]);
        let other = Applied {
            checksum: vec![2],
            ..ran(1)
        };

        assert_eq!(
            pending(&set, &[other], Scope::All).unwrap_err(),
            Refusal::MigrationEdited { version: 1 }
        );
    }

    #[test]
    fn a_server_is_refused_while_pre_migrations_are_pending_but_not_for_post_ones() {
        let set = MigrationSet::new(vec![migration(1, Phase::Pre, &[]), migration(2, Phase::Post, &[])]);

        assert!(status(&set, vec![]).ensure_supported().is_err());
        assert_eq!(status(&set, vec![ran(1)]).ensure_supported(), Ok(()));
    }

    #[test]
    fn a_server_tolerates_newer_migrations_up_to_their_floor() {
        let set = MigrationSet::new(vec![migration(5, Phase::Pre, &[])]);
        let newer = |floor| vec![ran(5), Applied { floor, ..ran(9) }];

        assert_eq!(status(&set, newer(None)).ensure_supported(), Ok(()));
        assert_eq!(status(&set, newer(Some(5))).ensure_supported(), Ok(()));
        assert_eq!(
            status(&set, newer(Some(7))).ensure_supported(),
            Err(Unsupported::TooNew(Refusal::SchemaTooNew {
                version: 9,
                floor: 7,
                known: 5
            }))
        );
    }

    #[test]
    fn an_older_program_than_the_floor_does_not_migrate_either() {
        let set = MigrationSet::new(vec![migration(5, Phase::Pre, &[])]);
        let floored = Applied {
            floor: Some(7),
            ..ran(9)
        };

        for scope in [Scope::Pre, Scope::Post, Scope::All] {
            let refused = pending(&set, &[ran(5), floored.clone()], scope).unwrap_err();
            assert_eq!(refused.code(), "SchemaTooNew");
        }
    }
}
