//! The settings as each part of the program wants them.

use super::collection::{self, Collection};
use super::listener::{self, Http};
use super::problem::Problem;
use super::storage::{self, Redirect, Storage};
use super::values::Values;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Everything the program was told.
#[derive(Debug, Clone)]
pub struct Config {
    /// The listener for clients.
    pub http: Http,
    /// The listener for probes, metrics and management.
    pub admin: Admin,
    /// The rows.
    pub database: Database,
    /// Hash partitions of each large PostgreSQL table.
    pub partitions: u32,
    /// The bytes.
    pub storage: Storage,
    /// The largest blob that the database keeps in place of the store, in bytes.
    pub inline_size: u64,
    /// Who fetches them without us.
    pub redirect: Redirect,
    /// Upload sessions.
    pub uploads: Uploads,
    /// Manifests.
    pub manifests: Manifests,
    /// What clients may delete.
    pub deletion: Deletion,
    /// Garbage.
    pub collection: Collection,
    /// Whether the list of repositories is shown.
    pub catalog: bool,
    /// Whom the metrics are about.
    pub metrics: Metrics,
    /// The log.
    pub log: Log,
}

/// The listener for probes, metrics and management.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Address and port.
    pub listen: SocketAddr,
}

/// Where the rows are.
#[derive(Clone)]
pub enum Database {
    /// A file of one process.
    Sqlite {
        /// The file.
        path: PathBuf,
    },
    /// A server.
    Postgres {
        /// Host, port, name and TLS mode.
        url: String,
        /// Wins over the URL's.
        username: Option<String>,
        /// Wins over the URL's.
        password: Option<String>,
        /// PEM file of the authority that signed its certificate.
        ca_file: Option<PathBuf>,
        /// Connections of this process.
        max_connections: u32,
    },
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite { path } => f.debug_struct("Sqlite").field("path", path).finish(),
            Self::Postgres { .. } => f.debug_struct("Postgres").finish_non_exhaustive(),
        }
    }
}

/// Upload sessions.
#[derive(Debug, Clone)]
pub struct Uploads {
    /// How long a session lives after its last use.
    pub expiry: Duration,
    /// Bytes that all uploads to an object store together may have in memory.
    pub memory: u64,
    /// The largest blob, in bytes; absent: any.
    pub max_size: Option<u64>,
    /// How often expired sessions are ended.
    pub sweep_interval: Duration,
}

/// Manifests.
#[derive(Debug, Clone)]
pub struct Manifests {
    /// The largest, in bytes.
    pub max_size: u64,
    /// Bytes that all manifests that are being pushed may have in memory.
    pub memory: u64,
    /// Blobs and manifests that one may name.
    pub max_references: u32,
    /// Tags that one push may set beside its reference.
    pub max_tags: u32,
    /// What one may name before it is pushed.
    pub sparse: Sparse,
}

/// What a manifest may name before it is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sparse {
    /// Nothing.
    Strict,
    /// The manifests of an index.
    Index,
    /// Blobs too.
    All,
}

/// What clients may delete.
#[derive(Debug, Clone, Copy)]
pub struct Deletion {
    /// Tags.
    pub tags: bool,
    /// Manifests by their digests.
    pub manifests: bool,
    /// Blobs that no manifest names.
    pub blobs: bool,
    /// How long what was deleted can be restored.
    pub retention: Duration,
}

/// Whom the metrics are about.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// The registry.
    pub registry: String,
    /// One process of it.
    pub replica: String,
    /// `main` or `canary`.
    pub stage: String,
}

/// The log.
#[derive(Debug, Clone)]
pub struct Log {
    /// A level or a filter.
    pub level: String,
    /// For people or for programs.
    pub format: LogFormat,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Builds the parts, and says where settings contradict each other.
pub(super) fn build(values: &Values) -> (Config, Vec<Problem>) {
    let data_dir = values.path("data_dir").unwrap_or_default();
    let config = Config {
        http: listener::http(values),
        admin: Admin {
            listen: values.address("admin.listen"),
        },
        database: database(values, data_dir.join("berth.sqlite3")),
        partitions: values.number("database.partitions"),
        storage: storage::storage(values, data_dir.join("blobs")),
        inline_size: values.bytes("storage.inline_size"),
        redirect: storage::redirect(values),
        uploads: Uploads {
            expiry: values.duration("uploads.expiry"),
            memory: values.bytes("uploads.memory"),
            max_size: values.optional_bytes("uploads.max_size"),
            sweep_interval: values.duration("uploads.sweep_interval"),
        },
        manifests: Manifests {
            max_size: values.bytes("manifests.max_size"),
            memory: values.bytes("manifests.memory"),
            max_references: values.number("manifests.max_references"),
            max_tags: values.number("manifests.max_tags"),
            sparse: sparse(values),
        },
        deletion: Deletion {
            tags: values.switch("deletion.tags"),
            manifests: values.switch("deletion.manifests"),
            blobs: values.switch("deletion.blobs"),
            retention: values.duration("deletion.retention"),
        },
        collection: collection::collection(values),
        catalog: values.switch("catalog.enabled"),
        metrics: Metrics {
            registry: values.text("metrics.registry").unwrap_or_default(),
            replica: values.text("metrics.replica").unwrap_or_default(),
            stage: values.text("metrics.stage").unwrap_or_default(),
        },
        log: Log {
            level: values.text("log.level").unwrap_or_default(),
            format: if values.text("log.format").as_deref() == Some("json") {
                LogFormat::Json
            } else {
                LogFormat::Text
            },
        },
    };
    let mut problems = contradictions(values, &config);
    problems.extend(listener::contradictions(values));
    (config, problems)
}

fn sparse(values: &Values) -> Sparse {
    match values.text("manifests.sparse").as_deref() {
        Some("index") => Sparse::Index,
        Some("all") => Sparse::All,
        _ => Sparse::Strict,
    }
}

fn database(values: &Values, default_file: PathBuf) -> Database {
    let Some(url) = values.text("database.url") else {
        return Database::Sqlite { path: default_file };
    };
    if let Some(path) = url.strip_prefix("sqlite:") {
        // Both `sqlite:data/x` and the URL form `sqlite:///data/x`.
        return Database::Sqlite {
            path: PathBuf::from(path.strip_prefix("//").unwrap_or(path)),
        };
    }
    Database::Postgres {
        url,
        username: values.text("database.username"),
        password: values.text("database.password"),
        ca_file: values.path("database.ca_file"),
        max_connections: values.number("database.max_connections"),
    }
}

fn contradictions(values: &Values, config: &Config) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut say = |place: Option<&str>, path: &str, message: &str| {
        let place = place.unwrap_or_default().to_owned();
        found.push(Problem {
            place,
            path: path.to_owned(),
            message: message.to_owned(),
        });
    };
    if matches!(config.database, Database::Sqlite { .. }) {
        for path in ["database.username", "database.password", "database.ca_file"] {
            if let Some(place) = values.place(path) {
                say(
                    Some(place),
                    path,
                    "means nothing to SQLite; set database.url to a postgres:// URL or leave it out",
                );
            }
        }
    }
    if config.http.listen == config.admin.listen && config.http.listen.port() != 0 {
        let place = values.place("admin.listen").or_else(|| values.place("http.listen"));
        say(
            place,
            "admin.listen",
            "is the same address as http.listen; give it a port of its own",
        );
    }
    if config.manifests.memory / 2 < config.manifests.max_size {
        let place = values
            .place("manifests.memory")
            .or_else(|| values.place("manifests.max_size"));
        say(
            place,
            "manifests.memory",
            "is less than two of the largest manifests; raise it to twice manifests.max_size",
        );
    }
    found.extend(storage::contradictions(values));
    found
}
