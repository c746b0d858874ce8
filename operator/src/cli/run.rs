//! `berth-operator run`.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::admin::{self, Readiness};
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::context::{Context, Failures};
use crate::management::{Address, ManagementClient};
use crate::metrics::Metrics;
use crate::registry::validate::Defaults;
use crate::runner;

/// How long passes that have begun may take to end after a stop was asked for.
const STOP: Duration = Duration::from_secs(20);

/// Options of `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// Where to serve /livez, /readyz and /metrics
    #[arg(
        long,
        value_name = "ADDR",
        env = "BERTH_ADMIN_LISTEN",
        default_value = "0.0.0.0:8080"
    )]
    pub admin_listen: SocketAddr,

    /// Look after Registries in this namespace only; repeat it for more. Without it: in all namespaces
    #[arg(
        long = "watch-namespace",
        value_name = "NS",
        env = "BERTH_WATCH_NAMESPACE",
        value_delimiter = ','
    )]
    pub watch_namespaces: Vec<String>,

    /// Repository of the registry's image, for Registries that name none
    #[arg(
        long,
        value_name = "REPOSITORY",
        env = "BERTH_REGISTRY_IMAGE",
        default_value = "berth/berth-registry"
    )]
    pub registry_image: String,

    /// What to log: error, warn, info, debug, trace, or a list such as `info,kube=debug`
    #[arg(long, value_name = "FILTER", env = "BERTH_LOG_LEVEL", default_value = "info")]
    pub log_level: String,

    /// How to log
    #[arg(
        long,
        value_name = "FORMAT",
        env = "BERTH_LOG_FORMAT",
        value_enum,
        default_value = "text"
    )]
    pub log_format: LogFormat,
}

/// How to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people
    Text,
    /// One JSON object a line
    Json,
}

impl Run {
    /// Looks after Registries until SIGTERM or SIGINT.
    ///
    /// # Errors
    /// When the operator cannot begin: no cluster to be found, or the address in use. What goes wrong later is logged,
    /// counted and tried again.
    pub fn run(&self) -> anyhow::Result<()> {
        self.begin_logging()?;
        // First of all: a later dependency that brings another provider could make every TLS connection panic.
        let installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
        if installed.is_err() {
            tracing::debug!("a TLS provider was installed before");
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("start the runtime")?;
        runtime.block_on(self.serve())
    }

    fn begin_logging(&self) -> anyhow::Result<()> {
        let filter = EnvFilter::try_new(&self.log_level).context("read --log-level")?;
        let lines = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr);
        match self.log_format {
            LogFormat::Text => lines.init(),
            LogFormat::Json => lines.json().init(),
        }
        Ok(())
    }

    async fn serve(&self) -> anyhow::Result<()> {
        let client = kube::Client::try_default().await.context("find the cluster")?;
        let listener = TcpListener::bind(self.admin_listen).await;
        let listener = listener.with_context(|| format!("listen on {}", self.admin_listen))?;
        let mut shown = prometheus_client::registry::Registry::default();
        let context = Arc::new(self.context(client, Metrics::register(&mut shown))?);
        let (readiness, stop) = (Readiness::default(), CancellationToken::new());
        let admin = admin::serve(listener, readiness.clone(), Arc::new(shown), stop.clone());
        let controllers = runner::run(context, &self.watch_namespaces, readiness, stop.clone());
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            "berth-operator {} runs",
            env!("CARGO_PKG_VERSION")
        );

        let work = async {
            tokio::try_join!(async { admin.await.context("serve probes") }, async {
                controllers.await.context("run the controllers")?;
                anyhow::ensure!(stop.is_cancelled(), "the controllers ended by themselves");
                Ok(())
            })
        };
        tokio::select! {
            ended = work => ended.map(drop),
            stopped = stop_on_signal(&stop) => stopped,
        }
    }

    fn context(&self, client: kube::Client, metrics: Metrics) -> anyhow::Result<Context> {
        Ok(Context {
            cluster: Cluster::new(client, metrics.clone()),
            management: ManagementClient::new(Address::Service).context("set up the HTTP client")?,
            clock: Clock::System,
            defaults: Defaults {
                repository: self.registry_image.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
            metrics,
            failures: Failures::default(),
            silences: Failures::default(),
        })
    }
}

/// Asks for a stop when a signal says so, and ends when passes have had long enough.
async fn stop_on_signal(stop: &CancellationToken) -> anyhow::Result<()> {
    signalled().await?;
    tracing::info!("stopping");
    stop.cancel();
    tokio::time::sleep(STOP).await;
    anyhow::bail!(
        "a pass, or a request for probes or metrics, did not end within {} s",
        STOP.as_secs()
    )
}

async fn signalled() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
