//! The database and the store of a test: SQLite and files, unless the environment names servers.
//!
//! - `BERTH_TEST_DATABASE_URL`: a PostgreSQL role that may create databases; each test gets one of its own.
//! - `BERTH_TEST_S3_ENDPOINT`, `_BUCKET`, `_ACCESS_KEY_ID`, `_SECRET_ACCESS_KEY`: each test gets a prefix of its own.
//! - `BERTH_TEST_AZURE_ENDPOINT`, `_ACCOUNT`, `_CONTAINER`, `_ACCESS_KEY`: likewise.
//! - `BERTH_TEST_GCS=own`: likewise, on the server in the folder gcs.
//!
//! `cargo verify` starts the servers and sets the variables.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's tool stops where it fails")]

// Named here, so that other test targets get it with this file.
#[path = "gcs/mod.rs"]
mod gcs;

use berth_registry::config::{self, Config, Database, Sources};
use sqlx::{ConnectOptions, Connection, Executor};
use std::path::Path;

/// For tests that look at objects of a few bytes.
pub(crate) const ALL_IN_THE_STORE: (&str, &str) = ("BERTH_STORAGE_INLINE_SIZE", "0B");

/// Settings for a registry that shares nothing with any other.
pub(crate) async fn fresh() -> (Config, tempfile::TempDir) {
    fresh_with(&[]).await
}

/// The same with more settings, as variables.
pub(crate) async fn fresh_with(settings: &[(&str, &str)]) -> (Config, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut environment = environment(folder.path()).await;
    let more = settings
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    environment.extend(more);
    let loaded = config::load(&Sources {
        environment,
        ..Sources::default()
    })
    .unwrap();
    (loaded.config, folder)
}

/// What such variables are to a server.
pub(crate) fn loaded(environment: &[(String, String)]) -> Config {
    let sources = Sources {
        environment: environment.to_vec(),
        ..Sources::default()
    };
    config::load(&sources).unwrap().config
}

/// Settings for a bucket: none where the environment names one, for it is used anyway; else those of our own server.
pub(crate) fn some_bucket() -> Vec<(String, String)> {
    let named = BUCKETS.iter().any(|store| named(store.kind)) || variable("BERTH_TEST_GCS").is_some();
    if named { Vec::new() } else { own_gcs() }
}

/// The same settings as variables, for a server in a process of its own.
pub(crate) async fn environment(folder: &Path) -> Vec<(String, String)> {
    let mut variables: Vec<(String, String)> = [
        ("BERTH_DATA_DIR", folder.display().to_string()),
        ("BERTH_HTTP_LISTEN", "127.0.0.1:0".to_owned()),
        ("BERTH_ADMIN_LISTEN", "127.0.0.1:0".to_owned()),
        ("BERTH_HTTP_SECRET", "a secret of this test".to_owned()),
        ("BERTH_DATABASE_PARTITIONS", "4".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    if let Some(admin) = variable("BERTH_TEST_DATABASE_URL") {
        variables.push(("BERTH_DATABASE_URL".to_owned(), fresh_database(&admin).await));
    }
    for store in BUCKETS {
        variables.extend(bucket(store));
    }
    if variable("BERTH_TEST_GCS").as_deref() == Some("own") {
        variables.extend(own_gcs());
    }
    variables
}

/// A kind of store, and what is to be said of it: the end of a test's variable, that of the setting's.
struct Bucket {
    kind: &'static str,
    settings: &'static [&'static str],
}

const BUCKETS: [Bucket; 2] = [
    Bucket {
        kind: "S3",
        settings: &["ENDPOINT", "BUCKET", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY"],
    },
    Bucket {
        kind: "AZURE",
        settings: &["ENDPOINT", "ACCOUNT", "CONTAINER", "ACCESS_KEY"],
    },
];

/// True when the environment names a server of this kind.
fn named(kind: &str) -> bool {
    variable(&format!("BERTH_TEST_{kind}_ENDPOINT")).is_some()
}

/// The settings for a kind of store, if the environment names a server of it; all of them must be named then.
fn bucket(Bucket { kind, settings }: Bucket) -> Vec<(String, String)> {
    if !named(kind) {
        return Vec::new();
    }
    let setting = |end: &&str| {
        let name = format!("BERTH_TEST_{kind}_{end}");
        let value = variable(&name).unwrap_or_else(|| panic!("{name} goes with BERTH_TEST_{kind}_ENDPOINT"));
        (format!("BERTH_STORAGE_{kind}_{end}"), value)
    };
    let root = (format!("BERTH_STORAGE_{kind}_ROOT_DIRECTORY"), fresh_prefix());
    settings.iter().map(setting).chain([root]).collect()
}

fn fresh_prefix() -> String {
    uuid::Uuid::new_v4().to_string()
}

fn own_gcs() -> Vec<(String, String)> {
    let server = gcs::server();
    [
        ("BERTH_STORAGE_GCS_ENDPOINT", server.endpoint.clone()),
        ("BERTH_STORAGE_GCS_BUCKET", gcs::BUCKET.to_owned()),
        (
            "BERTH_STORAGE_GCS_SERVICE_ACCOUNT_FILE",
            server.service_account_file.display().to_string(),
        ),
        ("BERTH_STORAGE_GCS_ROOT_DIRECTORY", fresh_prefix()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

#[expect(
    clippy::disallowed_methods,
    reason = "which servers a test uses is no setting of the product"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

async fn fresh_database(admin: &str) -> String {
    let options: sqlx::postgres::PgConnectOptions = admin.parse().unwrap();
    let name = format!("berth_{}", uuid::Uuid::new_v4().simple());
    let mut connection = options.connect().await.unwrap();
    connection
        .execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .await
        .unwrap();
    connection.close().await.unwrap();
    let mut url = url::Url::parse(admin).unwrap();
    url.set_path(&name);
    url.to_string()
}

/// How many rows a `SELECT count(*)` of a test counts.
pub(crate) async fn count(config: &Config, sql: &'static str) -> i64 {
    match &config.database {
        Database::Sqlite { path } => {
            let connection = rusqlite::Connection::open(path).unwrap();
            connection.query_row(sql, [], |row| row.get(0)).unwrap()
        }
        Database::Postgres { url, .. } => {
            let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
            let mut connection = options.connect().await.unwrap();
            sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
        }
    }
}

/// Changes rows behind the server's back.
pub(crate) async fn execute(config: &Config, sql: &'static str) {
    match &config.database {
        Database::Sqlite { path } => {
            let path = path.clone();
            // The server, which this waits for, may be on the same thread.
            let executed = tokio::task::spawn_blocking(move || {
                let connection = rusqlite::Connection::open(path).unwrap();
                connection.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
                connection.execute_batch(sql).unwrap();
            });
            executed.await.unwrap();
        }
        Database::Postgres { url, .. } => {
            let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
            let mut connection = options.connect().await.unwrap();
            connection.execute(sql).await.unwrap();
        }
    }
}

/// How often the database had to fail a transaction because several waited for each other in a circle, once nobody is
/// connected any more: PostgreSQL counts it when a connection ends. SQLite has one writer.
pub(crate) async fn circles(config: Config) -> i64 {
    let Database::Postgres { .. } = config.database else {
        return 0;
    };
    let others = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'berth-registry'";
    let gone = async {
        while count(&config, others).await > 0 {
            tokio::task::yield_now().await;
        }
    };
    let limit = std::time::Duration::from_secs(30);
    tokio::time::timeout(limit, gone).await.unwrap();
    let circles = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    count(&config, circles).await
}
