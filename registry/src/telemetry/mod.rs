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

/// A registry of measures that knows which build it measures.
pub fn measures(engine: &str, storage: &str) -> Registry {
    let mut registry = Registry::with_prefix("berth_registry");
    let info = Family::<Vec<(String, String)>, Gauge>::default();
    let labels = [
        ("version", release::version()),
        ("database", engine),
        ("storage", storage),
    ];
    info.get_or_create(&labels.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec())
        .set(1);
    registry.register("build", "Always 1; the labels say what is running", info);
    registry
}
