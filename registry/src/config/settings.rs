//! The table of settings: every key of the file, and so every `BERTH_…` variable.

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its keys in the file, joined by dots.
    pub path: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Used when it is not given; empty for none.
    pub default: &'static str,
    /// What it does, its unit included.
    pub help: &'static str,
}

impl Setting {
    /// True for what must not be shown.
    pub fn is_secret(&self) -> bool {
        self.kind == Kind::Secret
    }
}

/// What a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// Text that is never shown.
    Secret,
    /// A file or folder.
    Path,
    /// `address:port`.
    Address,
    /// A length of time such as `30s` or `24h`, within bounds that are written the same way.
    Duration(&'static str, &'static str),
    /// A whole number within bounds.
    Number(u64, u64),
    /// `true` or `false`.
    Switch,
    /// One of these words.
    Word(&'static [&'static str]),
    /// `sqlite:<path>` or `postgres://…`.
    DatabaseUrl,
    /// `http://…` or `https://…`.
    HttpUrl,
}

const fn setting(path: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Setting {
    Setting {
        path,
        kind,
        default,
        help,
    }
}

/// Every setting, in the order in which `check-config` shows them.
pub const SETTINGS: &[Setting] = &[
    setting(
        "data_dir",
        Kind::Path,
        "./berth-data",
        "folder of the SQLite file and of the blobs, where those are not elsewhere",
    ),
    setting("http.listen", Kind::Address, "127.0.0.1:5000", "where clients connect"),
    setting(
        "http.drain_timeout",
        Kind::Duration("0s", "24h"),
        "30s",
        "how long requests may go on after SIGTERM",
    ),
    setting(
        "http.max_connections",
        Kind::Number(1, 1_000_000),
        "10000",
        "open connections of clients; more wait until one ends",
    ),
    setting(
        "http.secret",
        Kind::Secret,
        "",
        "shared by all replicas; signs what the operator asks of the management API",
    ),
    setting(
        "admin.listen",
        Kind::Address,
        "127.0.0.1:5001",
        "/livez, /readyz, /metrics and the management API",
    ),
    setting(
        "database.url",
        Kind::DatabaseUrl,
        "",
        "postgres://host:port/name?sslmode=…, or sqlite:<path>; absent: SQLite in data_dir",
    ),
    setting(
        "database.username",
        Kind::Text,
        "",
        "PostgreSQL role; wins over the URL's",
    ),
    setting(
        "database.password",
        Kind::Secret,
        "",
        "its password; wins over the URL's",
    ),
    setting(
        "database.ca_file",
        Kind::Path,
        "",
        "PEM file of the authority that signed PostgreSQL's certificate",
    ),
    setting(
        "database.max_connections",
        Kind::Number(1, 1000),
        "16",
        "PostgreSQL connections of one process",
    ),
    setting(
        "database.partitions",
        // More would not fit into the lock table of a PostgreSQL server with its default settings.
        Kind::Number(1, 128),
        "64",
        "hash partitions of each large PostgreSQL table; read by the first migration only",
    ),
    setting(
        "storage.filesystem.root_directory",
        Kind::Path,
        "",
        "folder of the blobs; absent: blobs in data_dir",
    ),
    setting("storage.s3.bucket", Kind::Text, "", "bucket of the blobs"),
    setting("storage.s3.region", Kind::Text, "us-east-1", "region of the bucket"),
    setting(
        "storage.s3.endpoint",
        Kind::HttpUrl,
        "",
        "URL of a server that speaks S3; absent: Amazon's",
    ),
    setting(
        "storage.s3.root_directory",
        Kind::Text,
        "",
        "prefix of every key in the bucket",
    ),
    setting(
        "storage.s3.path_style",
        Kind::Switch,
        "true",
        "https://host/bucket/key instead of https://bucket.host/key",
    ),
    setting(
        "storage.s3.access_key_id",
        Kind::Text,
        "",
        "absent: web identity or instance profile",
    ),
    setting(
        "storage.s3.secret_access_key",
        Kind::Secret,
        "",
        "goes with access_key_id",
    ),
    setting(
        "uploads.expiry",
        Kind::Duration("1h", "30d"),
        "24h",
        "how long an upload session lives after its last use",
    ),
    setting(
        "log.level",
        Kind::Text,
        "info",
        "error, warn, info, debug or trace, or a filter such as `info,berth_registry=debug`",
    ),
    setting(
        "log.format",
        Kind::Word(&["text", "json"]),
        "text",
        "text for people, json for programs",
    ),
];

/// The environment variable of a setting.
pub fn environment_name(path: &str) -> String {
    format!("BERTH_{}", path.replace('.', "_").to_uppercase())
}

pub(super) fn find(path: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.path == path)
}

/// True for a path that has settings below it.
pub(super) fn is_section(path: &str) -> bool {
    SETTINGS.iter().any(|setting| {
        setting
            .path
            .strip_prefix(path)
            .is_some_and(|rest| rest.starts_with('.'))
    })
}

/// The keys directly below a section; the empty path is the top.
pub(super) fn keys_below(path: &str) -> Vec<&'static str> {
    let below = |setting: &'static Setting| -> Option<&'static str> {
        let rest = if path.is_empty() {
            setting.path
        } else {
            setting.path.strip_prefix(path)?.strip_prefix('.')?
        };
        Some(rest.split('.').next().unwrap_or(rest))
    };
    let mut keys: Vec<&'static str> = SETTINGS.iter().filter_map(below).collect();
    keys.dedup();
    keys
}

/// The known word nearest to a misspelt one.
pub(super) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 5)
        .min()
        .map(|(_, candidate)| candidate)
}
