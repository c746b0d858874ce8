//! Starting the parts, serving, and stopping in order.

use crate::blobs::{self, BlobStore};
use crate::clock::Clock;
use crate::config::{Config, Database, Storage};
use crate::distribution::{Distribution, Limits};
use crate::http::{Admin, Api, HttpMetrics, Management, admin_router};
use crate::metadata::migrations::{self, MigrationSet, Scope, Settings};
use crate::metadata::{self, Engine, Metadata, PostgresOptions, uploads};
use crate::telemetry;
use anyhow::Context;
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
const KEEP_ALIVE: Duration = Duration::from_mins(1);
/// Room for pushes on HTTP/2: the protocol's 64 KiB would throttle them.
const HTTP2_WINDOW: u32 = 4 * 1024 * 1024;
const HTTP2_STREAMS: u32 = 256;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const MIGRATION_LOCK_TIMEOUT: Duration = Duration::from_mins(1);

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

/// How the settings name the database.
pub fn database_target(database: &Database) -> metadata::Target {
    match database {
        Database::Sqlite { path } => metadata::Target::Sqlite(path.clone()),
        Database::Postgres {
            url,
            username,
            password,
            ca_file,
            max_connections,
        } => metadata::Target::Postgres(PostgresOptions {
            url: url.clone(),
            username: username.clone(),
            password: password.clone(),
            ca_file: ca_file.clone(),
            max_connections: *max_connections,
        }),
    }
}

/// How the settings name the store.
pub fn store_target(storage: &Storage) -> blobs::Target {
    match storage {
        Storage::Filesystem { root } => blobs::Target::Filesystem(root.clone()),
        Storage::S3(s3) => blobs::Target::S3(blobs::S3Options {
            bucket: s3.bucket.clone(),
            region: s3.region.clone(),
            endpoint: s3.endpoint.clone(),
            root_directory: s3.root_directory.clone(),
            path_style: s3.path_style,
            access_key_id: s3.access_key_id.clone(),
            secret_access_key: s3.secret_access_key.clone(),
        }),
    }
}

/// What a migration run is told by the settings.
pub fn migration_settings(config: &Config) -> Settings {
    Settings {
        partitions: config.partitions,
        lock_timeout: MIGRATION_LOCK_TIMEOUT,
        clock: Clock::default(),
    }
}

/// Opens both stores and begins to accept connections.
///
/// # Errors
/// When a store cannot be used, the schema is not one that this program serves, or an address is taken.
pub async fn start(config: &Config) -> anyhow::Result<Server> {
    let metadata = open_metadata(config).await?;
    let store = BlobStore::open(&store_target(&config.storage))
        .await
        .context("open the object store")?;
    let clock = Clock::default();
    let limits = Limits {
        upload_expiry: config.uploads.expiry,
        ..Limits::default()
    };
    let distribution = Distribution::new(metadata.clone(), store.clone(), clock.clone(), limits);
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
    let api = Api::new(distribution.clone(), metrics).router();
    let (stop, stopped) = (CancellationToken::new(), CancellationToken::new());
    let mut done = tokio::task::JoinSet::new();
    done.spawn(serve(probes, admin_router(admin), stopped.clone(), Duration::ZERO));
    ready.store(true, Ordering::SeqCst);
    let (drain, stopping) = (config.http.drain_timeout, stop.clone());
    done.spawn(async move {
        let turning_away = stopping.clone();
        let readiness = async move {
            turning_away.cancelled().await;
            ready.store(false, Ordering::SeqCst);
        };
        let (served, ()) = tokio::join!(serve(clients, api, stopping, drain), readiness);
        distribution.settle().await;
        metadata.close().await;
        stopped.cancel();
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

    /// Waits until everything has ended.
    ///
    /// # Errors
    /// When a listener failed.
    pub async fn join(mut self) -> anyhow::Result<()> {
        while let Some(ended) = self.done.join_next().await {
            ended.context("a part of the server panicked")??;
        }
        Ok(())
    }
}

async fn open_metadata(config: &Config) -> anyhow::Result<Metadata> {
    let metadata = Metadata::connect(&database_target(&config.database))
        .await
        .context("open the database")?;
    let set = MigrationSet::embedded(metadata.engine());
    if metadata.engine() == Engine::Sqlite {
        // One process owns the file: nobody else could have been told to migrate it, and no claim can be alive.
        migrations::up(&metadata, &set, Scope::Pre, &migration_settings(config))
            .await
            .context("migrate SQLite")?;
    }
    migrations::status(&metadata, &set)
        .await
        .context("read the schema's version")?
        .ensure_supported()?;
    if metadata.engine() == Engine::Sqlite {
        let mut tx = metadata.begin().await?;
        uploads::release_all(&mut tx).await?;
        tx.commit().await?;
    }
    Ok(metadata)
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("listen on {address}"))
}

/// Accepts connections until `stop`, then waits for requests under way.
async fn serve(listener: TcpListener, router: Router, stop: CancellationToken, drain: Duration) -> anyhow::Result<()> {
    let connections = TaskTracker::new();
    let graceful = GracefulShutdown::new();
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, _)) => drop(connections.spawn(connection(stream, router.clone(), &graceful))),
            Err(error) => pause(&error).await,
        }
    }
    drop(listener);
    if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() && !drain.is_zero() {
        tracing::warn!(
            seconds = drain.as_secs_f64(),
            "requests were cut off: the drain time is over"
        );
    }
    Ok(())
}

/// Out of descriptors, most likely: connections that end will give some back.
async fn pause(error: &std::io::Error) {
    tracing::warn!(error = error as &dyn std::error::Error, "connection not accepted");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

fn connection(stream: TcpStream, router: Router, graceful: &GracefulShutdown) -> impl Future<Output = ()> + 'static {
    // Answers are small and complete: waiting for more to send only adds delay.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = &error as &dyn std::error::Error, "no TCP_NODELAY");
    }
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .keep_alive(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(HTTP2_WINDOW)
        .initial_connection_window_size(HTTP2_WINDOW * 4)
        .max_concurrent_streams(HTTP2_STREAMS)
        .keep_alive_interval(KEEP_ALIVE);
    let serving = builder
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .into_owned();
    let watched = graceful.watch(serving);
    async move {
        if let Err(error) = watched.await {
            tracing::debug!(error, "connection ended early");
        }
    }
}
