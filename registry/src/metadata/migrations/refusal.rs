//! Why a release and a database do not go together: what only a person can change.

use super::Phase;

/// The oldest PostgreSQL that Berth supports, as the server counts: `major * 10000 + minor`.
pub const OLDEST_POSTGRES: i64 = 150_000;

/// Trying again cannot help; [`Refusal::remedy`] can.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The server is of a release that we do not support.
    #[error(
        "the database runs PostgreSQL {}.{}, and this program needs at least {}",
        .version / 10_000, .version % 10_000, OLDEST_POSTGRES / 10_000
    )]
    PostgresTooOld {
        /// As the server counts.
        version: i64,
    },
    /// The server is a copy that only follows another.
    #[error("the database server is a standby: it follows another server and takes no writes")]
    NotPrimary,
    /// A newer release has removed what this program needs.
    #[error(
        "the database schema is newer than this program can serve: migration {version} needs a program that knows \
         at least migration {floor}, this one knows {known}"
    )]
    SchemaTooNew {
        /// The migration that shuts this program out.
        version: i64,
        /// What a program must know to live with it.
        floor: i64,
        /// What this program knows.
        known: i64,
    },
    /// A release that nobody may jump over has not done all of its work.
    #[error("version {stop} is a required stop on the way to this version, and its migration {missing} has not run")]
    RequiredStopSkipped {
        /// The release.
        stop: String,
        /// What it would have run.
        missing: i64,
    },
    /// Another phase has to run first.
    #[error("migration {version} needs migration {requires} first, which has not run")]
    DependencyPending {
        /// The migration that waits.
        version: i64,
        /// What it waits for.
        requires: i64,
        /// The phase of that one.
        phase: Phase,
    },
    /// A file changed after it had run.
    #[error("migration {version} has run with other contents than this program has")]
    MigrationEdited {
        /// The migration.
        version: i64,
    },
}

impl Refusal {
    /// One word, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::PostgresTooOld { .. } => "PostgresTooOld",
            Self::NotPrimary => "NotPrimary",
            Self::SchemaTooNew { .. } => "SchemaTooNew",
            Self::RequiredStopSkipped { .. } => "RequiredStopSkipped",
            Self::DependencyPending { .. } => "DependencyPending",
            Self::MigrationEdited { .. } => "MigrationEdited",
        }
    }

    /// What a person can do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::PostgresTooOld { .. } => {
                let oldest = OLDEST_POSTGRES / 10_000;
                format!("upgrade the server to PostgreSQL {oldest} or later, then try again")
            }
            Self::NotPrimary => "point database.url at the primary server, or promote this one".to_owned(),
            Self::SchemaTooNew { .. } => {
                "use a newer version of Berth; to go back further, restore a backup from before that migration"
                    .to_owned()
            }
            Self::RequiredStopSkipped { stop, .. } => {
                format!(
                    "let all post-deploy migrations of the version in place run; if it is older than {stop}, roll out {stop} \
                     first and let its post-deploy migrations run"
                )
            }
            Self::DependencyPending { phase, .. } => {
                format!(
                    "run the {0}-deploy migrations first: `berth-registry migrate up --phase {0}`",
                    phase.as_str()
                )
            }
            Self::MigrationEdited { .. } => {
                "a migration is never edited: use the release whose migrations this database has run".to_owned()
            }
        }
    }
}

/// Whether the server is one that we support.
pub(super) fn of_postgres(version: i64) -> Option<Refusal> {
    (version < OLDEST_POSTGRES).then_some(Refusal::PostgresTooOld { version })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_postgresql_before_15_is_refused_by_name_with_what_to_do() {
        let refusal = of_postgres(140_011).unwrap();

        assert_eq!(
            refusal.to_string(),
            "the database runs PostgreSQL 14.11, and this program needs at least 15"
        );
        assert!(refusal.remedy().contains("PostgreSQL 15 or later"));
        assert_eq!(of_postgres(150_000), None);
        assert_eq!(of_postgres(180_001), None);
    }
}
