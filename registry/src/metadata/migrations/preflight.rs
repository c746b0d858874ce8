//! Whether a release may go onto a database, found out before anything is done.

use super::plan;
use super::refusal::{self, Refusal};
use super::run::{self, MigrationError};
use super::{Applied, Contract, MigrationSet, Scope, ids};
use crate::metadata::server::{Server, server};
use crate::metadata::statement::Engine;
use crate::metadata::{Metadata, migrations};
use serde::Serialize;

/// What was found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Preflight {
    /// What the release promises.
    #[serde(flatten)]
    pub contract: Contract,
    /// What is there.
    pub database: Database,
    /// Why the release must not go onto this database; empty: it may.
    pub problems: Vec<Problem>,
}

/// The database as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Database {
    /// `postgres` or `sqlite`.
    pub engine: &'static str,
    /// As the engine counts.
    pub version: i64,
    /// The migrations that have run.
    pub applied: Vec<String>,
    /// The newest of them; none: the database is empty.
    pub level: Option<String>,
    /// What a program must know to serve it.
    pub floor: Option<String>,
    /// Still to run before the release serves.
    pub pending_pre: Vec<String>,
    /// Still to run when it has proved itself.
    pub pending_post: Vec<String>,
    /// It takes writes.
    pub is_primary: bool,
}

/// Why the release must not go onto the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// One word, for programs.
    pub code: &'static str,
    /// What is the matter.
    pub message: String,
    /// What a person can do about it.
    pub remedy: String,
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self {
            code: refusal.code(),
            message: refusal.to_string(),
            remedy: refusal.remedy(),
        }
    }
}

/// Looks whether the release `version` with these migrations may go onto the database. Changes nothing.
///
/// # Errors
/// When it cannot be found out.
pub async fn preflight(metadata: &Metadata, set: &MigrationSet, version: &str) -> Result<Preflight, MigrationError> {
    let mut reader = metadata.read().await.map_err(run::bookkeeping(run::READING))?;
    let asked = server(&mut reader).await;
    let server = asked.map_err(run::bookkeeping("ask the server for its version"))?;
    drop(reader);
    let status = migrations::status(metadata, set).await?;
    let refusals = refusals(set, &status.applied, (metadata.engine(), server));
    Ok(Preflight {
        contract: Contract::of(set, version),
        database: Database {
            engine: metadata.engine().as_str(),
            version: server.version,
            level: status.version().map(|version| version.to_string()),
            floor: status.floor().map(|floor| floor.to_string()),
            applied: ids(status.applied.iter().map(|one| one.version)),
            pending_pre: ids(status.pending_pre),
            pending_post: ids(status.pending_post),
            is_primary: server.is_primary,
        },
        problems: refusals.into_iter().map(Problem::from).collect(),
    })
}

/// Everything that speaks against it, the server first.
fn refusals(set: &MigrationSet, applied: &[Applied], (engine, server): (Engine, Server)) -> Vec<Refusal> {
    let too_old = (engine == Engine::Postgres)
        .then(|| refusal::of_postgres(server.version))
        .flatten();
    let standby = (!server.is_primary).then_some(Refusal::NotPrimary);
    let planned = plan::pending(set, applied, Scope::Pre).err();
    too_old.into_iter().chain(standby).chain(planned).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Phase;
    use super::super::fixtures::{migration, ran, release};
    use super::*;

    const FINE: Server = Server {
        version: 150_004,
        is_primary: true,
    };

    fn codes(set: &MigrationSet, applied: &[Applied], server: Server) -> Vec<&'static str> {
        let found = refusals(set, applied, (Engine::Postgres, server));
        found.iter().map(Refusal::code).collect()
    }

    fn one() -> MigrationSet {
        MigrationSet::new(vec![migration(1, Phase::Pre, &[])])
    }

    #[test]
    fn an_empty_database_on_a_new_server_is_fine() {
        assert!(codes(&one(), &[], FINE).is_empty());
    }

    #[test]
    fn an_old_server_and_a_standby_are_both_told() {
        let server = Server {
            version: 140_000,
            is_primary: false,
        };

        assert_eq!(codes(&one(), &[], server), ["PostgresTooOld", "NotPrimary"]);
        assert!(
            refusals(
                &one(),
                &[],
                (
                    Engine::Sqlite,
                    Server {
                        version: 3_050_000,
                        ..FINE
                    }
                )
            )
            .is_empty()
        );
    }

    #[test]
    fn a_stop_that_was_jumped_over_is_told() {
        let mut stop = release("1.1.0", 3);
        stop.required_stop = true;
        let set = MigrationSet::new(vec![
            migration(1, Phase::Pre, &[]),
            migration(2, Phase::Pre, &[]),
            migration(3, Phase::Post, &[]),
            migration(4, Phase::Pre, &[]),
        ])
        .since(vec![release("1.0.0", 1), stop, release("1.2.0", 4)]);

        assert_eq!(codes(&set, &[ran(1)], FINE), ["RequiredStopSkipped"]);
        assert_eq!(
            codes(&set, &[ran(1), ran(2)], FINE),
            ["RequiredStopSkipped"],
            "its post-deploy migration counts"
        );
        assert!(codes(&set, &[ran(1), ran(2), ran(3)], FINE).is_empty());
        assert!(
            codes(&set, &[], FINE).is_empty(),
            "a new installation has nothing to stop for"
        );
    }
}
