//! The settings as each part of the program wants them.

use super::problem::Problem;
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
    /// Upload sessions.
    pub uploads: Uploads,
    /// The log.
    pub log: Log,
}

/// The listener for clients.
#[derive(Clone)]
pub struct Http {
    /// Address and port.
    pub listen: SocketAddr,
    /// How long requests may go on after SIGTERM.
    pub drain_timeout: Duration,
    /// Open connections; more wait until one ends.
    pub max_connections: u32,
    /// Signs what the operator asks of the management API; without it that API is off.
    pub secret: Option<String>,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http")
            .field("listen", &self.listen)
            .field("drain_timeout", &self.drain_timeout)
            .finish_non_exhaustive()
    }
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

/// Where the bytes are.
#[derive(Debug, Clone)]
pub enum Storage {
    /// A folder.
    Filesystem {
        /// The folder.
        root: PathBuf,
    },
    /// A bucket.
    S3(S3),
}

/// A bucket and how to reach it.
#[derive(Clone)]
pub struct S3 {
    /// Its name.
    pub bucket: String,
    /// Its region.
    pub region: String,
    /// The server's URL, where it is not Amazon's.
    pub endpoint: Option<String>,
    /// A prefix of every key.
    pub root_directory: String,
    /// `https://host/bucket/key` instead of `https://bucket.host/key`.
    pub path_style: bool,
    /// Absent: web identity or instance profile.
    pub access_key_id: Option<String>,
    /// Goes with it.
    pub secret_access_key: Option<String>,
}

impl fmt::Debug for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3")
            .field("bucket", &self.bucket)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// Upload sessions.
#[derive(Debug, Clone)]
pub struct Uploads {
    /// How long a session lives after its last use.
    pub expiry: Duration,
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
        http: Http {
            listen: values.address("http.listen"),
            drain_timeout: values.duration("http.drain_timeout"),
            max_connections: values.number("http.max_connections"),
            secret: values.text("http.secret"),
        },
        admin: Admin {
            listen: values.address("admin.listen"),
        },
        database: database(values, data_dir.join("berth.sqlite3")),
        partitions: values.number("database.partitions"),
        storage: storage(values, data_dir.join("blobs")),
        uploads: Uploads {
            expiry: values.duration("uploads.expiry"),
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
    let problems = contradictions(values, &config);
    (config, problems)
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

fn storage(values: &Values, default_root: PathBuf) -> Storage {
    if values.section("storage.s3").is_none() {
        let root = values.path("storage.filesystem.root_directory").unwrap_or(default_root);
        return Storage::Filesystem { root };
    }
    Storage::S3(S3 {
        bucket: values.text("storage.s3.bucket").unwrap_or_default(),
        region: values.text("storage.s3.region").unwrap_or_default(),
        endpoint: values.text("storage.s3.endpoint"),
        root_directory: values.text("storage.s3.root_directory").unwrap_or_default(),
        path_style: values.switch("storage.s3.path_style"),
        access_key_id: values.text("storage.s3.access_key_id"),
        secret_access_key: values.text("storage.s3.secret_access_key"),
    })
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
    let s3 = values.section("storage.s3");
    if s3.is_some() && values.section("storage.filesystem").is_some() {
        let message = "storage.filesystem and storage.s3 are both given; keep the one that holds the blobs";
        say(s3, "storage", message);
    }
    if s3.is_some() && values.text("storage.s3.bucket").is_none() {
        say(
            s3,
            "storage.s3.bucket",
            "is missing; name the bucket, or leave storage.s3 out for local files",
        );
    }
    let (id, secret) = ("storage.s3.access_key_id", "storage.s3.secret_access_key");
    if values.place(id).is_some() != values.place(secret).is_some() {
        let (given, missing) = if values.place(id).is_some() {
            (id, secret)
        } else {
            (secret, id)
        };
        say(
            values.place(given),
            missing,
            &format!("is missing; {given} is of no use without it"),
        );
    }
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
    found
}
