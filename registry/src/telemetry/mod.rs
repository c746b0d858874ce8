//! What the program tells of itself: log lines and measures.

mod causes;

pub use causes::causes;

use crate::release;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The log filter cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("log.level: `{filter}` is neither a level nor a filter such as `info,berth_registry=debug`")]
pub struct FilterError {
    filter: String,
    #[source]
    source: tracing_subscriber::filter::ParseError,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people; coloured on a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

/// Reads a log filter.
///
/// # Errors
/// When it cannot be read.
pub fn check_filter(filter: &str) -> Result<EnvFilter, FilterError> {
    EnvFilter::try_new(filter).map_err(|source| FilterError {
        filter: filter.to_owned(),
        source,
    })
}

/// Starts the log on standard error. Later calls change nothing.
///
/// # Errors
/// When the filter cannot be read.
pub fn start_log(filter: &str, format: Format) -> Result<(), FilterError> {
    let parsed = check_filter(filter)?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let started = match format {
        Format::Text => {
            let lines = lines.with_ansi(std::io::stderr().is_terminal());
            tracing_subscriber::registry().with(parsed).with(lines).try_init()
        }
        Format::Json => {
            let lines = lines.json().flatten_event(true);
            tracing_subscriber::registry().with(parsed).with(lines).try_init()
        }
    };
    // A second start in one process (tests) keeps the first log.
    drop(started);
    Ok(())
}

/// Whom the measures are about.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The registry, the same for all its replicas.
    pub registry: &'a str,
    /// One process of it.
    pub replica: &'a str,
    /// `main` or `canary`.
    pub stage: &'a str,
}

impl<'a> Subject<'a> {
    /// What tells the requests to one version and stage from those to another.
    pub fn labels(&self) -> [(&'static str, &'a str); 3] {
        [
            ("registry", self.registry),
            ("stage", self.stage),
            ("version", release::version()),
        ]
    }
}

/// A registry of measures that knows whom and which build it measures.
pub fn measures(engine: &str, storage: &str, subject: &Subject<'_>) -> Registry {
    let mut registry = Registry::with_prefix("berth_registry");
    let build = [
        ("version", release::version()),
        ("database", engine),
        ("storage", storage),
    ];
    registry.register("build", "Always 1; the labels say what is running", always(&build));
    let info = [subject.labels().as_slice(), &[("replica", subject.replica)]].concat();
    registry.register(
        "info",
        "Always 1; the labels say which registry, version, stage and replica this is",
        always(&info),
    );
    registry
}

fn always(labels: &[(&'static str, &str)]) -> Family<Vec<(String, String)>, Gauge> {
    let family = Family::<Vec<(String, String)>, Gauge>::default();
    let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
    family.get_or_create(&labels.iter().map(owned).collect()).set(1);
    family
}
