//! Starting the parts, serving, and stopping in order.

pub mod collect;
mod connection;
mod gate;
mod listen;
mod pulse;
mod remote;
pub mod scrub;
mod stores;
mod tls;
mod watch;
mod workflows;

pub use stores::{database_target, migration_settings, store_target};

use crate::blobs::BlobStore;
use crate::clock::Clock;
use crate::config::{Config, Http};
use crate::distribution::Distribution;
use crate::gc::{Collector, CollectorMetrics, Deletions, Drive, Sweeper};
use crate::http::{Addressing, Admin, Api, BodyLimits, HttpMetrics, Management, admin_router};
use crate::metadata::Metadata;
use crate::syncs::Syncs;
use crate::telemetry;
use anyhow::Context;
use axum::Router;
use connection::Reception;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use gate::Gate;
use listen::{Front, listen};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use stores::{open_metadata, open_store, redirect};
use tls::{Renewal, Tls, TlsMetrics};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use watch::Patience;

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
    let syncs = syncs(&metadata, &store);
    let clock = Clock::default();
    let distribution = workflows::distribution(config, metadata.clone(), store.clone(), clock.clone());
    let (mut registry, metrics) = measures(config, metadata.engine().as_str(), store.kind());
    distribution
        .integrity()
        .register(registry.sub_registry_with_prefix("blobs"));
    let (tls, renewal) = open_tls(&config.http, &mut registry, &clock).await?.unzip();
    let collector = collector(config, distribution.clone(), &mut registry);
    let ready = Arc::new(AtomicBool::new(false));
    let admin = Admin {
        ready: Arc::clone(&ready),
        registry: Arc::new(registry),
        metadata: metadata.clone(),
        blobs: store,
        distribution: distribution.clone(),
        management: management(&config.http, clock),
        batch: config.collection.batch,
    };
    let clients = listen(config.http.listen).await?;
    let probes = listen(config.admin.listen).await?;
    let (http, admin_address) = (clients.local_addr()?, probes.local_addr()?);
    let api = api(config, distribution.clone(), metrics);
    let stop = CancellationToken::new();
    let stopped = CancellationToken::new();
    let (drain, stopping) = (config.http.drain_timeout, stop.clone());
    let mut done = tokio::task::JoinSet::new();
    done.spawn(keep(renewal, stopped.clone()));
    let front = Front::new(config.http.max_connections, reception(&config.http, api, tls));
    let back = Front::new(ADMIN_CONNECTIONS, admin_reception(&config.http, admin_router(admin)));
    done.spawn(back.serve(probes, stopped.clone(), Duration::ZERO));
    let sweeper = Sweeper::new(distribution.clone(), config.uploads.sweep_interval);
    done.spawn(sweeper.run(stop.clone()).map(Ok));
    done.spawn(Deletions::new(distribution.clone()).run(stop.clone()).map(Ok));
    done.spawn(keep_collecting(collector, stop.clone()));
    done.spawn(believe(syncs, stopped.clone()));
    ready.store(true, Ordering::SeqCst);
    done.spawn(async move {
        // Also when this task dies: the other listener must not outlive it.
        let _stops_probes = stopped.drop_guard();
        let turning_away = stopping.clone();
        let readiness = async move {
            turning_away.cancelled().await;
            ready.store(false, Ordering::SeqCst);
        };
        let (served, ()) = tokio::join!(front.serve(clients, stopping, drain), readiness);
        close(distribution, metadata).await;
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

fn measures(config: &Config, engine: &str, storage: &str) -> (prometheus_client::registry::Registry, HttpMetrics) {
    let subject = telemetry::Subject {
        registry: &config.metrics.registry,
        replica: &config.metrics.replica,
        stage: &config.metrics.stage,
    };
    let mut registry = telemetry::measures(engine, storage, &subject);
    let metrics = HttpMetrics::register(registry.sub_registry_with_prefix("http"), &subject.labels());
    (registry, metrics)
}

/// What keeps the certificate up to date goes with it.
async fn open_tls(
    http: &Http,
    registry: &mut prometheus_client::registry::Registry,
    clock: &Clock,
) -> anyhow::Result<Option<(Arc<Tls>, Renewal)>> {
    let Some(settings) = &http.tls else {
        return Ok(None);
    };
    let metrics = TlsMetrics::register(registry.sub_registry_with_prefix("tls"));
    Ok(Some(Tls::open(settings, metrics, clock.clone()).await?))
}

/// Reads the files that the settings name, as [`start`] would, and gives what is odd about them.
///
/// # Errors
/// When a file cannot be read or used.
pub async fn check_files(config: &Config) -> anyhow::Result<Option<&'static str>> {
    let Some(settings) = &config.http.tls else {
        return Ok(None);
    };
    Ok(tls::read(settings).await?.oddity(Clock::default().now() / 1_000_000))
}

fn management(http: &Http, clock: Clock) -> Option<Management> {
    let secret = http.secret.as_deref()?;
    Some(Management::new(secret, clock))
}

fn api(config: &Config, distribution: Distribution, metrics: HttpMetrics) -> Router {
    let (redirect, http) = (redirect(&config.redirect), &config.http);
    let bodies = BodyLimits {
        stall: http.stall_timeout,
        memory: config.manifests.memory,
    };
    Api::new(distribution, metrics, redirect, addressing(http), bodies).router()
}

async fn keep(renewal: Option<Renewal>, stop: CancellationToken) -> anyhow::Result<()> {
    if let Some(renewal) = renewal {
        return renewal.keep(stop).await;
    }
    // A part that ends by itself would end the server.
    stop.cancelled().await;
    Ok(())
}

/// Those that this process makes.
fn syncs(metadata: &Metadata, store: &BlobStore) -> Vec<Syncs> {
    [metadata.syncs(), store.syncs()]
        .into_iter()
        .flatten()
        .cloned()
        .collect()
}

/// Ends the server when a sync has failed: requests under way are answered, and no later one is believed.
async fn believe(syncs: Vec<Syncs>, stopped: CancellationToken) -> anyhow::Result<()> {
    let mut watched: FuturesUnordered<_> = syncs.iter().map(Syncs::failed).collect();
    tokio::select! {
        Some(failed) = watched.next() => {
            tracing::error!(error = &failed as &dyn std::error::Error, "a sync failed: stopping");
            Err(failed.into())
        }
        () = stopped.cancelled() => Ok(()),
    }
}

/// `None`: another server, or a `gc` of its own, collects.
fn collector(
    config: &Config,
    distribution: Distribution,
    registry: &mut prometheus_client::registry::Registry,
) -> Option<Collector> {
    let settings = &config.collection;
    let metrics = CollectorMetrics::register(registry.sub_registry_with_prefix("gc"));
    let drive = Drive {
        interval: settings.interval,
        batch: settings.batch,
    };
    let collector = Collector::new(distribution, drive, metrics, Arc::default());
    settings.enabled.then_some(collector)
}

async fn keep_collecting(collector: Option<Collector>, stop: CancellationToken) -> anyhow::Result<()> {
    match collector {
        Some(collector) => Box::pin(collector.run(stop)).await,
        // A part that ends by itself would end the server.
        None => stop.cancelled().await,
    }
    Ok(())
}

fn addressing(http: &Http) -> Addressing {
    let settings = &http.addressing;
    let trusted = settings.trusted_proxies.clone();
    match (&settings.external_url, settings.relative_locations) {
        (Some(url), true) => Addressing::fixed("", url.path(), trusted),
        (Some(url), false) => Addressing::fixed(&url.origin().ascii_serialization(), url.path(), trusted),
        (None, true) => Addressing::relative(trusted),
        (None, false) => Addressing::of_the_request(if http.tls.is_some() { "https" } else { "http" }, trusted),
    }
}

fn patience(http: &Http) -> Patience {
    Patience {
        header: http.header_timeout,
        idle: http.idle_timeout,
        stall: http.stall_timeout,
    }
}

fn reception(http: &Http, api: Router, tls: Option<Arc<Tls>>) -> Reception {
    Reception::new(api, Gate::new(http.max_requests, http.max_uploads), patience(http), tls)
}

/// As many requests as its connections bring: who probes is answered.
fn admin_reception(http: &Http, router: Router) -> Reception {
    Reception::new(router, Gate::new(u32::MAX, u32::MAX), patience(http), None)
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

async fn close(distribution: Distribution, metadata: Metadata) {
    in_time("what cut-off requests left to do", distribution.settle()).await;
    in_time("closing the database", metadata.close()).await;
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
