//! `berth-operator run`.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use prometheus_client::registry::Registry as Shown;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::admin::{self, Readiness};
use crate::channel::watch::Channels;
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::context::{Context, Failures};
use crate::leader::{Candidate, Leadership};
use crate::management::{Address, ManagementClient};
use crate::metrics::Metrics;
use crate::notify::{Pace, Sinks};
use crate::registry::validate::Defaults;
use crate::rollout::evidence::Schedule;
use crate::rollout::witness::PodWitness;
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

    /// Begin only when no other operator does: with it, several may be started, and one works
    #[arg(long, env = "BERTH_LEADER_ELECT")]
    pub leader_elect: bool,

    /// Namespace of the Lease of the election. Without it: the operator's own
    #[arg(long, value_name = "NS", env = "BERTH_LEADER_ELECTION_NAMESPACE")]
    pub leader_election_namespace: Option<String>,

    /// How long after its last word an operator that vanished is taken for gone
    #[arg(
        long,
        value_name = "DURATION",
        env = "BERTH_LEASE_DURATION",
        default_value = "15s",
        value_parser = lease_duration
    )]
    pub lease_duration: Duration,

    /// Name of this operator in the Lease; something random is put behind it
    #[arg(long, value_name = "NAME", env = "POD_NAME", default_value = "berth-operator")]
    pub identity: String,

    /// Repository of the registry's image, for Registries that name none
    #[arg(
        long,
        value_name = "REPOSITORY",
        env = "BERTH_REGISTRY_IMAGE",
        default_value = "berth/berth-registry"
    )]
    pub registry_image: String,

    /// The operator's own image, to tell a Registry that holds it
    #[arg(long, value_name = "IMAGE", env = "BERTH_OPERATOR_IMAGE")]
    pub operator_image: Option<String>,

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
        super::block_on(self.serve())
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
        let mut shown = Shown::default();
        let metrics = Metrics::register(&mut shown);
        let candidate = self.leader_elect.then(|| self.candidate(&client, &metrics));
        let leadership = candidate
            .as_ref()
            .map_or_else(Leadership::unchallenged, Candidate::leadership);
        let context = Arc::new(self.context(client, metrics, leadership)?);
        let (readiness, stop) = (Readiness::default(), CancellationToken::new());
        let admin = admin::serve(listener, readiness.clone(), Arc::new(shown), stop.clone());
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            "berth-operator {} runs",
            env!("CARGO_PKG_VERSION")
        );

        let controllers = async {
            if let Some(candidate) = &candidate {
                return self.work_when_elected(candidate, context, readiness, &stop).await;
            }
            context.metrics.leads(true);
            self.work(context, readiness, &stop).await
        };
        let work = async { tokio::try_join!(async { admin.await.context("serve probes") }, controllers) };
        tokio::select! {
            ended = work => ended.map(drop),
            stopped = stop_on_signal(&stop) => stopped,
        }
    }

    async fn work(&self, context: Arc<Context>, readiness: Readiness, stop: &CancellationToken) -> anyhow::Result<()> {
        let ran = runner::run(context, &self.watch_namespaces, readiness, stop.clone()).await;
        ran.context("run the controllers")?;
        anyhow::ensure!(stop.is_cancelled(), "the controllers ended by themselves");
        Ok(())
    }

    /// Works once elected, and gives the Lease back when the last pass has ended. A Lease that is lost ends the process.
    async fn work_when_elected(
        &self,
        candidate: &Candidate,
        context: Arc<Context>,
        readiness: Readiness,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let Some(lease) = candidate.win(stop, || readiness.set()).await else {
            return Ok(());
        };
        readiness.unset();
        context.metrics.leads(true);
        let idle = CancellationToken::new();
        let work = async {
            let worked = self.work(context, readiness, stop).await;
            idle.cancel();
            worked
        };
        let kept = async { candidate.keep(lease, &idle).await.context("lead") };
        let ((), lease) = tokio::try_join!(work, kept)?;
        candidate.release(lease).await.context("give the lead back")
    }

    fn candidate(&self, client: &kube::Client, metrics: &Metrics) -> Candidate {
        let namespace = self.leader_election_namespace.as_deref();
        let namespace = namespace.unwrap_or_else(|| client.default_namespace());
        Candidate::new(
            Cluster::new(client.clone(), metrics.clone()),
            Clock::System,
            namespace,
            format!("{}_{:08x}", self.identity, rand::random::<u32>()),
            self.lease_duration,
        )
    }

    fn context(&self, client: kube::Client, metrics: Metrics, leadership: Leadership) -> anyhow::Result<Context> {
        Ok(Context {
            cluster: Cluster::new(client, metrics.clone()).guarded_by(leadership),
            management: ManagementClient::new(Address::Service).context("set up the HTTP client")?,
            clock: Clock::System,
            defaults: Defaults {
                repository: self.registry_image.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
            sinks: Sinks::new(Pace::default(), Clock::System, metrics.clone()).context("set up the HTTP client")?,
            metrics,
            failures: Failures::default(),
            silences: Failures::default(),
            witness: Arc::new(PodWitness::new().context("set up the client of pods")?),
            schedule: Schedule::default(),
            channels: Channels::new().context("set up the client of channels")?,
            operator_image: self.operator_image.clone(),
        })
    }
}

/// Shorter ones would be lost to an API server that is slow for a moment, longer ones leave a cluster without operator.
fn lease_duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if (Duration::from_secs(3)..=Duration::from_mins(5)).contains(&duration) {
        Ok(duration)
    } else {
        Err("it is to be from 3s to 5m".to_owned())
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
