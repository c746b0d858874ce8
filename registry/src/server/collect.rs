//! A collection by a command: here, or by the server that has the SQLite file.

use super::remote;
use super::scrub::is_there;
use super::stores::{database_target, open_store, own};
use super::workflows;
use crate::clock::Clock;
use crate::config::{Config, Database};
use crate::distribution::Distribution;
use crate::gc::{Collector, CollectorMetrics, Drive};
use crate::metadata::Metadata;
use crate::metadata::migrations::{self, MigrationSet};
use anyhow::{Context, bail};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;

pub use crate::distribution::collect::{Candidate, Event, Totals, Wanted};

const PATH: &str = "/management/v1/gc/run";

/// Collects until nothing is due, or says what would go, and gives the totals.
///
/// # Errors
/// When a store cannot be used, collection is paused, or the database fails.
pub async fn collect(config: &Config, wanted: Wanted, events: &Sender<Event>) -> anyhow::Result<Totals> {
    is_there(config)?;
    let owned = match &config.database {
        Database::Sqlite { path } => match own(path)? {
            Some(lock) => Some(lock),
            None => return by_the_server(config, path, wanted, events).await,
        },
        Database::Postgres { .. } => None,
    };
    let (metadata, distribution) = open(config).await?;
    let totals = distribution.collect(wanted, config.collection.batch, events).await;
    metadata.close().await;
    drop(owned);
    Ok(totals?)
}

/// Collects, as a server does, until `stop`.
///
/// # Errors
/// When a store cannot be used, or a server has the SQLite file.
pub async fn keep_collecting(config: &Config, stop: CancellationToken) -> anyhow::Result<()> {
    is_there(config)?;
    let owned = match &config.database {
        Database::Sqlite { path } => {
            let Some(lock) = own(path)? else {
                bail!(
                    "a server uses the database {}, and collects by itself (gc.enabled); to have it collect at once, use --once",
                    path.display()
                );
            };
            Some(lock)
        }
        Database::Postgres { .. } => None,
    };
    let (metadata, distribution) = open(config).await?;
    let drive = Drive {
        interval: config.collection.interval,
        batch: config.collection.batch,
    };
    let metrics = CollectorMetrics::register(&mut prometheus_client::registry::Registry::default());
    let collector = Collector::new(distribution, drive, metrics, Arc::new(Notify::new()));
    Box::pin(collector.run(stop)).await;
    metadata.close().await;
    drop(owned);
    Ok(())
}

async fn open(config: &Config) -> anyhow::Result<(Metadata, Distribution)> {
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
    Ok((metadata, distribution))
}

/// A server has the file to itself: it is asked to do it.
async fn by_the_server(config: &Config, path: &Path, wanted: Wanted, events: &Sender<Event>) -> anyhow::Result<Totals> {
    let database = path.display();
    let Some(secret) = &config.http.secret else {
        bail!(
            "a server uses the database {database}, which one process at a time can open; that server collects by itself \
             (gc.enabled). To have it collect at once, give server and gc the same http.secret; or stop it (PostgreSQL \
             needs neither)"
        );
    };
    let asked = remote::post(config.admin.listen, secret, PATH, serde_json::to_vec(&wanted)?).await;
    let mut lines = asked.with_context(|| format!("ask the server that uses {database} to collect"))?;
    while let Some(line) = lines.next().await? {
        match serde_json::from_str(&line).context("read the server's answer")? {
            Event::Summary(totals) => return Ok(totals),
            Event::Failed { message } => bail!("{message}"),
            event @ (Event::WouldGo(_) | Event::Progress(_)) => events.send(event).await?,
        }
    }
    bail!("the server stopped before the collection was done")
}
