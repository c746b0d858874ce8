//! A scrub by a command: here, or by the server that has the SQLite file.

use super::remote;
use super::stores::{database_target, open_store, own};
use super::workflows;
use crate::clock::Clock;
use crate::config::{Config, Database, Storage};
use crate::metadata::Metadata;
use crate::metadata::migrations::{self, MigrationSet};
use anyhow::{Context, bail};
use std::path::Path;
use tokio::sync::mpsc::Sender;

pub use crate::distribution::scrub::{DeleteUnknown, Event, LEAST_AGE, Report, Scrub, Unknown, Verify, Wrong};

const PATH: &str = "/management/v1/scrub";

/// Scrubs what the settings name, and gives the totals.
///
/// # Errors
/// When a store cannot be used, or fails for good.
pub async fn scrub(config: &Config, scrub: &Scrub, events: &Sender<Event>) -> anyhow::Result<Report> {
    is_there(config)?;
    let owned = match &config.database {
        Database::Sqlite { path } => match own(path)? {
            Some(lock) => Some(lock),
            None => return by_the_server(config, path, scrub, events).await,
        },
        Database::Postgres { .. } => None,
    };
    let metadata = Metadata::connect(&database_target(&config.database))
        .await
        .context("open the database")?;
    let set = MigrationSet::embedded(metadata.engine());
    migrations::status(&metadata, &set)
        .await
        .context("read the schema's version")?
        .ensure_supported()?;
    let store = open_store(config).await?;
    let distribution = workflows::distribution(config, metadata.clone(), store, Clock::default());
    let report = distribution.scrub(scrub, events).await;
    metadata.close().await;
    drop(owned);
    Ok(report?)
}

/// What does not exist is not made, as a server would: it is a wrong setting.
pub(super) fn is_there(config: &Config) -> anyhow::Result<()> {
    if let Database::Sqlite { path } = &config.database
        && !path.is_file()
    {
        bail!(
            "there is no database {}: data_dir or database.url names another place than the server's",
            path.display()
        );
    }
    if let Storage::Filesystem { root } = &config.storage
        && !root.join("blobs").is_dir()
    {
        bail!(
            "there are no blobs in {}: storage.filesystem.root_directory names another place than the server's",
            root.display()
        );
    }
    Ok(())
}

/// A server has the file to itself: it is asked to do it.
async fn by_the_server(config: &Config, path: &Path, scrub: &Scrub, events: &Sender<Event>) -> anyhow::Result<Report> {
    let database = path.display();
    let Some(secret) = &config.http.secret else {
        bail!(
            "a server uses the database {database}; stop it, or give server and scrub the same http.secret, with which \
             the server can be asked to scrub (PostgreSQL needs neither)"
        );
    };
    let asked = remote::post(config.admin.listen, secret, PATH, serde_json::to_vec(scrub)?).await;
    let mut lines = asked.with_context(|| format!("ask the server that uses {database} to scrub"))?;
    while let Some(line) = lines.next().await? {
        match serde_json::from_str(&line).context("read the server's answer")? {
            Event::Summary(report) => return Ok(report),
            Event::Failed { message } => bail!("{message}"),
            event @ (Event::Missing(_)
            | Event::Corrupt(_)
            | Event::Unreadable(_)
            | Event::Recovered(_)
            | Event::Unknown(_)
            | Event::Deleted(_)
            | Event::Progress(_)) => events.send(event).await?,
        }
    }
    bail!("the server stopped before the scrub was done")
}
