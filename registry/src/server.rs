//! Starting the parts, serving, and stopping in order.

use crate::blobs::{self, BlobStore};
use crate::clock::Clock;
use crate::config::{Config, Database, Storage};
use crate::distribution::{Distribution, Limits};
use crate::http::{Admin, Api, HttpMetrics, Management, admin_router};
use crate::metadata::migrations::{self, MigrationSet, Scope, Settings};
use crate::metadata::{self, Engine, Metadata, PostgresOptions, uploads};
use crate::telemetry;
use anyhow::{Context, bail};
use axum::Router;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a new connection may take to its first request, in whatever it sends until then.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
const KEEP_ALIVE: Duration = Duration::from_mins(1);
/// Room for pushes on HTTP/2: the protocol's 64 KiB would throttle them.
const HTTP2_WINDOW: u32 = 4 * 1024 * 1024;
const HTTP2_STREAMS: u32 = 256;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Probes, a scraper and an operator; kept apart from clients, so that probes get through when those are too many.
const ADMIN_CONNECTIONS: u32 = 256;
const FULL_WARNING_PAUSE: Duration = Duration::from_mins(1);
/// For each step after the last request: what it leaves undone, the next start takes up.
const CLOSING_TIMEOUT: Duration = Duration::from_secs(10);
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
    let (metadata, owned) = open_metadata(config).await?;
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
    let stop = CancellationToken::new();
    let stopped = CancellationToken::new();
    let (drain, stopping) = (config.http.drain_timeout, stop.clone());
    let front = Front::new(config.http.max_connections);
    let mut done = tokio::task::JoinSet::new();
    let back = Front::new(ADMIN_CONNECTIONS);
    done.spawn(back.serve(probes, admin_router(admin), stopped.clone(), Duration::ZERO));
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

/// What is held while a SQLite file is this server's own.
type Owned = Option<File>;

async fn open_metadata(config: &Config) -> anyhow::Result<(Metadata, Owned)> {
    let metadata = Metadata::connect(&database_target(&config.database))
        .await
        .context("open the database")?;
    let owned = match &config.database {
        Database::Sqlite { path } => Some(own(path)?),
        Database::Postgres { .. } => None,
    };
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
    Ok((metadata, owned))
}

/// Locks a file beside the database. SQLite itself would let two servers in, and each would end the other's uploads.
fn own(database: &Path) -> anyhow::Result<File> {
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    let shown = Path::new(&path).display();
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("open {shown}"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!(
            "another server uses the database {}: {shown} is locked; stop that server, or give this one a data_dir of \
             its own; several servers on the same content need PostgreSQL (database.url)",
            database.display()
        ),
        Err(TryLockError::Error(failed)) => Err(failed).with_context(|| {
            format!(
                "lock {shown}: SQLite needs a file system with locks; move data_dir, or use PostgreSQL (database.url)"
            )
        }),
    }
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("listen on {address}"))
}

/// How a listener deals with its connections.
struct Front {
    places: Arc<Semaphore>,
    first_request: Duration,
    told_full: Option<Instant>,
}

impl Front {
    fn new(max_connections: u32) -> Self {
        let places = usize::try_from(max_connections).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(places)),
            first_request: FIRST_REQUEST_TIMEOUT,
            told_full: None,
        }
    }

    /// Accepts connections until `stop`, then waits for requests under way.
    async fn serve(
        mut self,
        listener: TcpListener,
        router: Router,
        stop: CancellationToken,
        drain: Duration,
    ) -> anyhow::Result<()> {
        let connections = TaskTracker::new();
        let graceful = GracefulShutdown::new();
        while let Some(accepted) = stop.run_until_cancelled(self.accept(&listener)).await {
            match accepted {
                Ok((stream, place)) => {
                    let serving = connection(stream, router.clone(), self.first_request, &graceful);
                    drop(connections.spawn(async move {
                        serving.await;
                        drop(place);
                    }));
                }
                Err(error) => pause(&error).await,
            }
        }
        drop(listener);
        if timeout(drain, graceful.shutdown()).await.is_err() && !drain.is_zero() {
            tracing::warn!(
                seconds = drain.as_secs_f64(),
                "requests were cut off: the drain time is over"
            );
        }
        Ok(())
    }

    /// The next connection, as soon as there is a place for it; until then it waits in the listener's queue.
    async fn accept(&mut self, listener: &TcpListener) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
        if self.places.available_permits() == 0 {
            self.tell_full();
        }
        let place = Arc::clone(&self.places).acquire_owned().await;
        let (stream, _) = listener.accept().await?;
        Ok((stream, place.map_err(std::io::Error::other)?))
    }

    fn tell_full(&mut self) {
        if self.told_full.is_none_or(|told| told.elapsed() >= FULL_WARNING_PAUSE) {
            self.told_full = Some(Instant::now());
            tracing::warn!("as many connections are open as are allowed: new ones wait (http.max_connections)");
        }
    }
}

/// Out of descriptors, most likely: connections that end will give some back.
async fn pause(error: &std::io::Error) {
    tracing::warn!(error = error as &dyn std::error::Error, "connection not accepted");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

fn connection(
    stream: TcpStream,
    router: Router,
    first_request: Duration,
    graceful: &GracefulShutdown,
) -> impl Future<Output = ()> + 'static {
    // Answers are small and complete: waiting for more to send only adds delay.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = &error as &dyn std::error::Error, "no TCP_NODELAY");
    }
    let asked = Arc::new(AtomicBool::new(false));
    let (router, asking) = (TowerToHyperService::new(router), Arc::clone(&asked));
    let service = service_fn(move |request| {
        asking.store(true, Ordering::Relaxed);
        router.call(request)
    });
    let serving = protocols().serve_connection(TokioIo::new(stream), service).into_owned();
    let watched = graceful.watch(serving);
    async move {
        let mut watched = pin!(watched);
        // The limits of the protocols begin when the protocol is known, and that takes up to 24 bytes.
        let ended = match timeout(first_request, &mut watched).await {
            Err(_) if !asked.load(Ordering::Relaxed) => return tracing::debug!("closed: no request came in time"),
            Err(_) => watched.await,
            Ok(ended) => ended,
        };
        if let Err(error) = ended {
            tracing::debug!(error, "connection ended early");
        }
    }
}

fn protocols() -> auto::Builder<TokioExecutor> {
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
    builder
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;
    use tokio::task::JoinSet;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n";
    const LIMIT: Duration = Duration::from_secs(10);

    async fn listening(front: Front, router: Router) -> (SocketAddr, JoinSet<anyhow::Result<()>>) {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(front.serve(listener, router, CancellationToken::new(), Duration::ZERO));
        (address, serving)
    }

    async fn connect(address: SocketAddr, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    async fn status(stream: &mut TcpStream) -> String {
        let mut start = [0; 12];
        timeout(LIMIT, stream.read_exact(&mut start)).await.unwrap().unwrap();
        String::from_utf8(start.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_connection_without_a_request_is_closed_and_one_with_a_request_is_not() {
        let (begun, may_answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (tells, waits) = (Arc::clone(&begun), Arc::clone(&may_answer));
        let slow = || async move {
            tells.notify_one();
            waits.notified().await;
        };
        let mut front = Front::new(10);
        front.first_request = Duration::from_millis(50);
        let (address, _serving) = listening(front, Router::new().route("/", get(slow))).await;
        let mut asks = connect(address, REQUEST).await;
        timeout(LIMIT, begun.notified()).await.unwrap();

        for begins_with in [&b""[..], b"P", b"PRI * HTTP/2.0", b"GET / HT"] {
            let mut silent = connect(address, begins_with).await;
            let read = timeout(LIMIT, silent.read(&mut [0; 1])).await.unwrap();
            assert!(matches!(read, Ok(0) | Err(_)), "closed without an answer");
        }

        may_answer.notify_one();
        assert_eq!(status(&mut asks).await, "HTTP/1.1 200");
    }

    #[tokio::test]
    async fn a_connection_too_many_waits_until_another_ends() {
        let (address, _serving) = listening(Front::new(1), Router::new().route("/", get(|| async {}))).await;
        let mut first = connect(address, REQUEST).await;
        assert_eq!(status(&mut first).await, "HTTP/1.1 200");

        let mut second = connect(address, REQUEST).await;
        let early = timeout(Duration::from_millis(100), second.peek(&mut [0; 1])).await;
        assert!(early.is_err(), "answered beside the first");
        drop(first);

        assert_eq!(status(&mut second).await, "HTTP/1.1 200");
    }

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
