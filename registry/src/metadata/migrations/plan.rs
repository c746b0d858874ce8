//! Which migrations run next, decided from what has run. Pure.

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

/// Why a run cannot begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A file changed after it had run.
    #[error(
        "migration {version} has run with other contents than this program has; \
         a migration must never be edited: use the release that fits this database"
    )]
    Edited {
        /// The migration.
        version: i64,
    },
    /// Another phase has to run first.
    #[error("migration {version} needs migration {requires} first; run `berth-registry migrate up --phase {phase}`")]
    Blocked {
        /// The migration that waits.
        version: i64,
        /// What it waits for.
        requires: i64,
        /// The phase of that one.
        phase: &'static str,
    },
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
    #[error(
        "the database schema is newer than this program can serve: migration {version} needs a program that knows \
         at least migration {floor}, this one knows {known}; use a newer version of berth-registry"
    )]
    TooNew {
        /// The migration that shuts this program out.
        version: i64,
        /// What a program must know to live with it.
        floor: i64,
        /// What this program knows.
        known: i64,
    },
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
) -> Result<Vec<&'s Migration>, PlanError> {
    refuse_edited(set, applied)?;
    let mut planned: Vec<&Migration> = Vec::new();
    for migration in set
        .iter()
        .filter(|m| scope.takes(m.phase) && !has_run(applied, m.version))
    {
        let ready = |version: i64| has_run(applied, version) || planned.iter().any(|p| p.version == version);
        if let Some(missing) = prerequisites(set, migration).find(|needed| !ready(needed.version)) {
            return Err(PlanError::Blocked {
                version: migration.version,
                requires: missing.version,
                phase: missing.phase.as_str(),
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

fn refuse_edited(set: &MigrationSet, applied: &[Applied]) -> Result<(), PlanError> {
    let edited = applied.iter().find(|one| {
        set.iter()
            .any(|migration| migration.version == one.version && migration.checksum != one.checksum)
    });
    edited.map_or(Ok(()), |one| Err(PlanError::Edited { version: one.version }))
}

pub(super) fn ensure_supported(status: &SchemaStatus) -> Result<(), Unsupported> {
    if !status.pending_pre.is_empty() {
        return Err(Unsupported::Pending {
            pending: status.pending_pre.clone(),
        });
    }
    let known = status.newest_known.unwrap_or_default();
    let shut_out = status
        .applied
        .iter()
        .find_map(|one| one.floor.filter(|f| *f > known).map(|f| (one.version, f)));
    shut_out.map_or(Ok(()), |(version, floor)| {
        Err(Unsupported::TooNew { version, floor, known })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn migration(version: i64, phase: Phase, requires: &[i64]) -> Migration {
        Migration {
            version,
            phase,
            description: String::new(),
            sql: sqlx::SqlStr::from_static("SELECT 1"),
            checksum: vec![1],
            requires: requires.to_vec(),
            floor: None,
        }
    }

    fn ran(version: i64) -> Applied {
        Applied {
            version,
            checksum: vec![1],
            floor: None,
        }
    }

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
            PlanError::Blocked {
                version: 3,
                requires: 2,
                phase: "post"
            }
        );
    }

    #[test]
    fn a_post_migration_waits_for_every_earlier_pre_one() {
        let set = MigrationSet::new(vec![migration(1, Phase::Pre, &[]), migration(2, Phase::Post, &[])]);

        let refused = pending(&set, &[], Scope::Post).unwrap_err();

        assert_eq!(
            refused,
            PlanError::Blocked {
                version: 2,
                requires: 1,
                phase: "pre"
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
            PlanError::Edited { version: 1 }
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
            Err(Unsupported::TooNew {
                version: 9,
                floor: 7,
                known: 5
            })
        );
    }
}
