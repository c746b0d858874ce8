//! Starting the parts, serving, and stopping in order.

mod connection;
mod listen;
mod stores;
mod workflows;

pub use stores::{database_target, migration_settings, store_target};

use crate::clock::Clock;
use crate::config::Config;
use crate::gc::Sweeper;
use crate::http::{Admin, Api, HttpMetrics, Management, admin_router};
use crate::telemetry;
use anyhow::Context;
use futures::FutureExt;
use listen::{Front, listen};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use stores::{open_metadata, open_store, redirect};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Probes, a scraper and an operator; kept apart from clients, so that probes get through when those are too many.
const ADMIN_CONNECTIONS: u32 = 256;
/// For each step after the last request: what it leaves undone, the next start takes up.
const CLOSING_TIMEOUT: Duration = Duration::from_secs(10);

/// A server that accepts connections.
#[derive(Debug)]
pub struct Server {
    /// Where clients connect.
    pub http: SocketAddr,
    /// Where probes connect.
    pub admin: SocketAddr,
    stop: CancellationToken,
    done: tokio::task::JoinSet<anyhow::Result<()>>,
}

/// Opens both stores and begins to accept connections.
///
/// # Errors
/// When a store cannot be used, the schema is not one that this program serves, or an address is taken.
pub async fn start(config: &Config) -> anyhow::Result<Server> {
    let (metadata, owned) = open_metadata(config).await?;
    let store = open_store(config).await?;
    let clock = Clock::default();
    let distribution = workflows::distribution(config, metadata.clone(), store.clone(), clock.clone());
    let mut registry = telemetry::measures(metadata.engine().as_str(), store.kind());
    let metrics = HttpMetrics::register(registry.sub_registry_with_prefix("http"));
    let ready = Arc::new(AtomicBool::new(false));
    let admin = Admin {
        ready: Arc::clone(&ready),
        registry: Arc::new(registry),
        metadata: metadata.clone(),
        blobs: store,
        management: config
            .http
            .secret
            .as_deref()
            .map(|secret| Management::new(secret, clock)),
    };
    let clients = listen(config.http.listen).await?;
    let probes = listen(config.admin.listen).await?;
    let (http, admin_address) = (clients.local_addr()?, probes.local_addr()?);
    let api = Api::new(distribution.clone(), metrics, redirect(&config.redirect)).router();
    let stop = CancellationToken::new();
    let stopped = CancellationToken::new();
    let (drain, stopping) = (config.http.drain_timeout, stop.clone());
    let front = Front::new(config.http.max_connections);
    let mut done = tokio::task::JoinSet::new();
    let back = Front::new(ADMIN_CONNECTIONS);
    done.spawn(back.serve(probes, admin_router(admin), stopped.clone(), Duration::ZERO));
    let sweeper = Sweeper::new(distribution.clone(), config.uploads.sweep_interval);
    done.spawn(sweeper.run(stop.clone()).map(Ok));
    ready.store(true, Ordering::SeqCst);
    done.spawn(async move {
        // Also when this task dies: the other listener must not outlive it.
        let _stops_probes = stopped.drop_guard();
        let turning_away = stopping.clone();
        let readiness = async move {
            turning_away.cancelled().await;
            ready.store(false, Ordering::SeqCst);
        };
        let (served, ()) = tokio::join!(front.serve(clients, api, stopping, drain), readiness);
        in_time("what cut-off requests left to do", distribution.settle()).await;
        in_time("closing the database", metadata.close()).await;
        drop(owned);
        served
    });
    tracing::info!(%http, admin = %admin_address, "serving");
    Ok(Server {
        http,
        admin: admin_address,
        stop,
        done,
    })
}

impl Server {
    /// Turns new requests away and lets those under way finish within the drain time.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Stops the server when it is cancelled, as [`Self::stop`] does, and outlives [`Self::join`].
    pub fn stopper(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Waits until everything has ended. One part that ends by itself ends the others.
    ///
    /// # Errors
    /// When a listener failed.
    pub async fn join(mut self) -> anyhow::Result<()> {
        let mut outcome = Ok(());
        while let Some(ended) = self.done.join_next().await {
            self.stop.cancel();
            let ended = ended.context("a part of the server panicked").flatten();
            // The first failure is the cause of what follows.
            outcome = outcome.and(ended);
        }
        outcome
    }
}

async fn in_time(what: &'static str, ending: impl Future<Output = ()>) {
    if timeout(CLOSING_TIMEOUT, ending).await.is_err() {
        let seconds = CLOSING_TIMEOUT.as_secs();
        tracing::warn!(seconds, "given up: {what} took too long");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;
    use tokio::task::JoinSet;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_part_that_dies_ends_the_others_and_is_told() {
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let mut done = JoinSet::new();
        done.spawn(async { bail!("the listener is gone") });
        done.spawn(async move {
            stopping.cancelled().await;
            Ok(())
        });
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server {
            http: nowhere,
            admin: nowhere,
            stop,
            done,
        };

        let ended = timeout(LIMIT, server.join()).await.unwrap();

        assert_eq!(ended.unwrap_err().to_string(), "the listener is gone");
    }
}
