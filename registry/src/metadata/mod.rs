//! The rows: the only module with SQL.
//!
//! Guarantees: a [`Tx`] that committed is durable; existence is always answered by the primary database, or by
//! an answer of it that no commit has come after; one function is one statement, one file is one table. Both engines run the same text wherever SQL allows,
//! and a test prepares every statement on both.
//!
//! It must not know HTTP, object storage or what a manifest means.
//!
//! Lock order inside a transaction: session, repository, manifest, blob; several of one kind in the order of their
//! digests.

pub mod blobs;
pub mod collect;
pub mod collector;
mod connect;
pub mod corrupt;
pub mod deleted_manifests;
pub mod deleted_tags;
pub mod erasing;
mod error;
mod known;
pub mod leases;
pub mod manifests;
pub mod migrations;
mod postgres;
pub mod referrers;
pub mod removals;
pub mod repositories;
pub mod repository_deletions;
pub mod reviews;
pub mod scrub;
mod server;
mod session;
mod snapshots;
mod sqlite;
mod standing;
mod statement;
pub mod tags;
pub mod tombstones;
pub mod uploads;

pub use connect::{ConnectError, Metadata, PostgresOptions, Target};
pub use error::Error;
pub use repositories::RepositoryKey;
pub use session::{Reader, Tx};
pub use standing::NamesPage;
pub use statement::Engine;

/// Microseconds since 1970: how the schema keeps time.
pub type Micros = i64;

fn every_statement() -> impl Iterator<Item = &'static statement::Statement> {
    let tables = [
        blobs::ALL,
        corrupt::ALL,
        deleted_manifests::ALL,
        deleted_tags::ALL,
        collect::blobs::ALL,
        collect::foresee::ALL,
        collect::links::ALL,
        collect::manifests::ALL,
        collector::ALL,
        erasing::ALL,
        leases::ALL,
        manifests::ALL,
        migrations::ALL,
        referrers::ALL,
        removals::ALL,
        repositories::ALL,
        repository_deletions::ALL,
        reviews::ALL,
        scrub::ALL,
        server::ALL,
        snapshots::ALL,
        tags::ALL,
        tombstones::ALL,
        uploads::ALL,
    ];
    tables.into_iter().flatten().copied()
}

/// Name and text of every statement that this program can run: for whoever asks the engine how it would run them.
pub fn statements(engine: Engine) -> impl Iterator<Item = (&'static str, &'static str)> {
    every_statement().map(move |statement| {
        let text = match engine {
            Engine::Sqlite => statement.sqlite,
            Engine::Postgres => statement.postgres,
        };
        (statement.name, text)
    })
}

/// Asks the database to prepare every statement that this program can run.
///
/// # Errors
/// The first statement that does not fit the schema.
pub async fn prepare_all(reader: &mut Reader) -> Result<usize, Error> {
    let mut prepared = 0;
    for statement in every_statement() {
        reader.prepare(statement).await?;
        prepared += 1;
    }
    Ok(prepared)
}
