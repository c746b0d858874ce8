//! What a Job of a new image finds out and does, as its exit code and its last words tell: see docs/operator.md.
#![expect(clippy::panic, reason = "a test's tool stops where it fails")]

use crate::support::serve::{LIMIT, program};
use crate::support::{migrate, stores};
use berth_registry::config::{Config, Database};
use berth_registry::metadata::Metadata;
use berth_registry::metadata::migrations::{
    self, Migration, MigrationError, MigrationSet, Phase, Refusal, Scope, Settings,
};
use berth_registry::server;
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection, SqlStr};
use std::path::Path;
use std::time::Duration;

/// Later than any migration of ours.
const FUTURE: i64 = 29_990_101_000_000;

/// A command on the stores of a test, with its exit code and what it leaves behind for Kubernetes.
struct Job {
    code: i32,
    said: Value,
    last_words: Value,
}

async fn job(arguments: &[&str]) -> (Job, Vec<(String, String)>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let environment = stores::environment(folder.path()).await;
    (run(arguments, &environment, folder.path()), environment, folder)
}

fn run(arguments: &[&str], environment: &[(String, String)], folder: &Path) -> Job {
    let log = folder.join("termination-log");
    let path = log.display().to_string();
    let all = [arguments, &["--output", "json", "--termination-log", &path]].concat();
    let output = program(folder, &all)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    let read = |bytes: &[u8]| serde_json::from_slice(bytes).unwrap_or_else(|_| panic!("not JSON: {told}"));
    Job {
        code: output.status.code().unwrap(),
        said: read(&output.stdout),
        last_words: read(&std::fs::read(&log).unwrap()),
    }
}

fn migration(version: i64, phase: Phase, sql: &'static str) -> Migration {
    Migration {
        version,
        phase,
        description: "of a test".to_owned(),
        sql: SqlStr::from_static(sql),
        checksum: vec![1],
        requires: Vec::new(),
        floor: None,
    }
}

/// A later release: ours and more.
fn later(metadata: &Metadata, more: &[Migration]) -> MigrationSet {
    let ours = MigrationSet::embedded(metadata.engine());
    MigrationSet::new(ours.iter().chain(more).cloned().collect())
}

async fn open(config: &Config) -> Metadata {
    Metadata::connect(&server::database_target(&config.database))
        .await
        .unwrap()
}

#[tokio::test]
async fn a_new_database_has_everything_pending_and_nothing_speaks_against_it() {
    let (found, _environment, _folder) = job(&["preflight"]).await;

    assert_eq!(found.code, 0, "{}", found.said);
    assert_eq!(found.said, found.last_words);
    let told = found.said;
    assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(told["database"]["level"], Value::Null);
    assert_eq!(told["database"]["pending_pre"], told["schema"]["pre"]);
    assert_eq!(told["database"]["is_primary"], true);
    assert_eq!(told["problems"], json!([]));
    let version = told["database"]["version"].as_i64().unwrap();
    let oldest = if told["database"]["engine"] == "postgres" {
        150_000
    } else {
        3_040_000
    };
    assert!(version >= oldest, "{version}");
}

#[tokio::test]
async fn after_the_migration_the_level_is_what_the_release_needs_and_a_repetition_applies_nothing() {
    let (first, environment, folder) = job(&["migrate", "up", "--phase", "pre"]).await;

    let again = run(&["migrate", "up", "--phase", "pre"], &environment, folder.path());
    let found = run(&["preflight"], &environment, folder.path());

    assert_eq!((first.code, again.code, found.code), (0, 0, 0));
    assert_eq!(first.last_words["level_before"], Value::Null);
    assert_eq!(first.last_words["applied"], found.said["schema"]["pre"]);
    assert_eq!(first.last_words["level_after"], found.said["schema"]["level"]);
    assert!(first.last_words["duration_ms"].is_u64());
    assert_eq!(again.last_words["applied"], json!([]));
    assert_eq!(again.last_words["level_before"], again.last_words["level_after"]);
    assert_eq!(found.said["database"]["level"], found.said["schema"]["level"]);
    assert_eq!(found.said["database"]["pending_pre"], json!([]));
}

#[tokio::test]
async fn a_release_below_the_floor_of_the_database_is_refused_with_what_to_do() {
    let (_, environment, folder) = job(&["migrate", "up"]).await;
    let config = stores::loaded(&environment);
    let closing = Migration {
        floor: Some(FUTURE),
        ..migration(FUTURE + 1, Phase::Post, "SELECT 1")
    };
    let metadata = open(&config).await;
    let set = later(&metadata, &[migration(FUTURE, Phase::Pre, "SELECT 1"), closing]);
    let settings = server::migration_settings(&config);
    migrations::up(&metadata, &set, Scope::Pre, &settings).await.unwrap();
    let ahead = run(&["preflight"], &environment, folder.path());
    migrations::up(&metadata, &set, Scope::Post, &settings).await.unwrap();
    metadata.close().await;

    let found = run(&["preflight"], &environment, folder.path());
    let moved = run(&["migrate", "up", "--phase", "pre"], &environment, folder.path());
    let served = server::start(&config).await.unwrap_err();

    assert_eq!(ahead.code, 0, "newer migrations alone shut nobody out: {}", ahead.said);
    assert_eq!((found.code, moved.code), (40, 40));
    assert_eq!(found.said["problems"][0]["code"], "SchemaTooNew");
    assert_eq!(found.said["database"]["floor"], FUTURE.to_string());
    let remedy = found.said["problems"][0]["remedy"].as_str().unwrap();
    assert!(remedy.contains("newer version"), "{remedy}");
    assert!(found.said["error"].as_str().unwrap().contains(remedy), "{}", found.said);
    let told = moved.last_words["error"].as_str().unwrap();
    assert!(
        told.contains("newer than this program can serve") && told.contains("newer version"),
        "{told}"
    );
    assert!(format!("{served:#}").contains("newer version"), "{served:#}");
}

#[tokio::test]
async fn a_database_that_is_away_cannot_be_found_out_about() {
    let folder = tempfile::tempdir().unwrap();
    let url = (
        "BERTH_DATABASE_URL".to_owned(),
        "postgres://u@127.0.0.1:1/db".to_owned(),
    );

    let found = run(&["preflight"], std::slice::from_ref(&url), folder.path());
    let moved = run(&["migrate", "up"], &[url], folder.path());

    assert_eq!((found.code, moved.code), (1, 1));
    assert!(found.said["problems"].is_null());
    assert!(found.last_words["error"].as_str().unwrap().contains("127.0.0.1:1"));
    assert!(moved.last_words["error"].as_str().unwrap().contains("127.0.0.1:1"));
}

#[tokio::test]
async fn each_phase_waits_for_the_migrations_of_the_other_that_it_needs() {
    let (config, _folder) = stores::fresh().await;
    let metadata = open(&config).await;
    let settings = server::migration_settings(&config);
    let waiting = Migration {
        requires: vec![FUTURE],
        ..migration(FUTURE + 1, Phase::Pre, "CREATE TABLE third (id integer)")
    };
    let set = later(
        &metadata,
        &[
            migration(FUTURE, Phase::Post, "CREATE TABLE second (id integer)"),
            waiting,
        ],
    );

    let post_first = migrations::up(&metadata, &set, Scope::Post, &settings)
        .await
        .unwrap_err();
    migrate(&config).await;
    let pre_first = migrations::up(&metadata, &set, Scope::Pre, &settings)
        .await
        .unwrap_err();
    let post = migrations::up(&metadata, &set, Scope::Post, &settings).await.unwrap();
    let pre = migrations::up(&metadata, &set, Scope::Pre, &settings).await.unwrap();

    for refused in [post_first, pre_first] {
        let pending = matches!(&refused, MigrationError::Refused(Refusal::DependencyPending { .. }));
        assert!(pending, "{refused}");
    }
    assert_eq!((post.applied, pre.applied), (vec![FUTURE], vec![FUTURE + 1]));
}

#[tokio::test]
async fn a_server_starts_with_post_deploy_migrations_pending_and_with_newer_ones_that_it_does_not_know() {
    let (config, _folder) = stores::fresh().await;
    migrate(&config).await;
    let metadata = open(&config).await;
    let set = later(
        &metadata,
        &[
            migration(FUTURE, Phase::Pre, "CREATE TABLE added (id integer)"),
            migration(FUTURE + 1, Phase::Post, "DROP TABLE added"),
        ],
    );
    let settings = server::migration_settings(&config);
    migrations::up(&metadata, &set, Scope::Pre, &settings).await.unwrap();
    let status = migrations::status(&metadata, &set).await.unwrap();
    metadata.close().await;

    assert_eq!(status.pending_post, [FUTURE + 1]);
    assert_eq!(
        status.ensure_supported(),
        Ok(()),
        "the later release serves before its post-deploy migrations"
    );
    let older = server::start(&config).await.unwrap();
    older.stop();
    older.join().await.unwrap();
}

#[tokio::test]
async fn of_a_run_that_fails_half_way_the_first_migrations_stay_and_are_told() {
    let (config, _folder) = stores::fresh().await;
    migrate(&config).await;
    let metadata = open(&config).await;
    let set = later(
        &metadata,
        &[
            migration(FUTURE, Phase::Pre, "CREATE TABLE stays (id integer)"),
            migration(
                FUTURE + 1,
                Phase::Pre,
                "CREATE TABLE goes (id integer); SELECT nothing_of_the_kind",
            ),
        ],
    );

    let failed = migrations::up(&metadata, &set, Scope::Pre, &server::migration_settings(&config))
        .await
        .unwrap_err();

    let MigrationError::Failed { version, applied, .. } = failed else {
        panic!("{failed}");
    };
    assert_eq!((version, applied), (FUTURE + 1, vec![FUTURE]));
    let status = migrations::status(&metadata, &set).await.unwrap();
    assert_eq!(status.pending_pre, [FUTURE + 1]);
    assert_eq!(stores::count(&config, "SELECT count(*) FROM stays").await, 0);
    migrations::up(
        &metadata,
        &later(
            &metadata,
            &[migration(FUTURE + 2, Phase::Pre, "CREATE TABLE goes (id integer)")],
        ),
        Scope::Pre,
        &server::migration_settings(&config),
    )
    .await
    .unwrap();
}

/// None on SQLite, which has no locks of tables and no clock for statements.
async fn connected(config: &Config) -> Option<PgConnection> {
    let Database::Postgres { url, .. } = &config.database else {
        return None;
    };
    Some(url.parse::<PgConnectOptions>().unwrap().connect().await.unwrap())
}

#[tokio::test]
async fn a_migration_waits_for_a_busy_table_no_longer_than_it_may_and_leaves_nothing() {
    let (config, _folder) = stores::fresh().await;
    let Some(mut holder) = connected(&config).await else {
        return;
    };
    migrate(&config).await;
    let metadata = open(&config).await;
    let set = later(
        &metadata,
        &[migration(
            FUTURE,
            Phase::Pre,
            "ALTER TABLE repositories ADD COLUMN extra text",
        )],
    );
    sqlx::raw_sql("BEGIN; LOCK TABLE repositories IN ACCESS SHARE MODE")
        .execute(&mut holder)
        .await
        .unwrap();
    let settings = Settings {
        lock_timeout: Duration::from_millis(100),
        ..server::migration_settings(&config)
    };

    let refused = migrations::up(&metadata, &set, Scope::Pre, &settings)
        .await
        .unwrap_err();

    assert!(refused.is_lock_timeout(), "{refused}");
    assert_eq!(migrations::status(&metadata, &set).await.unwrap().pending_pre, [FUTURE]);
    sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
    migrations::up(&metadata, &set, Scope::Pre, &settings).await.unwrap();
}

#[tokio::test]
async fn a_statement_of_a_migration_takes_no_longer_than_it_may() {
    let (config, _folder) = stores::fresh().await;
    let Some(_) = connected(&config).await else {
        return;
    };
    migrate(&config).await;
    let metadata = open(&config).await;
    let set = later(&metadata, &[migration(FUTURE, Phase::Pre, "SELECT pg_sleep(60)")]);
    let settings = Settings {
        statement_timeout: Duration::from_millis(100),
        ..server::migration_settings(&config)
    };

    let refused = migrations::up(&metadata, &set, Scope::Pre, &settings)
        .await
        .unwrap_err();

    assert!(!refused.is_lock_timeout());
    assert!(matches!(refused, MigrationError::Failed { .. }), "{refused}");
}

#[tokio::test]
async fn a_migration_that_was_cut_off_does_not_keep_the_next_one_out() {
    let (config, _folder) = stores::fresh().await;
    let Some(mut watching) = connected(&config).await else {
        return;
    };
    migrate(&config).await;
    let metadata = open(&config).await;
    let hanging = later(&metadata, &[migration(FUTURE, Phase::Pre, "SELECT pg_sleep(3600)")]);
    let mut settings = server::migration_settings(&config);
    let (cut_off, under_way) = (metadata.clone(), settings.clone());
    let mut runs = tokio::task::JoinSet::new();
    runs.spawn(async move { migrations::up(&cut_off, &hanging, Scope::Pre, &under_way).await });
    let sleeping =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
    let sleeps = async {
        while sqlx::query_scalar::<_, i64>(sleeping)
            .fetch_one(&mut watching)
            .await
            .unwrap()
            == 0
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, sleeps).await.unwrap();

    runs.shutdown().await;

    settings.patience = LIMIT;
    let next = later(&metadata, &[migration(FUTURE + 1, Phase::Pre, "SELECT 1")]);
    let done = migrations::up(&metadata, &next, Scope::Pre, &settings).await.unwrap();
    assert_eq!(done.applied, [FUTURE + 1]);
}

#[tokio::test]
async fn a_job_that_finds_another_at_work_says_by_its_code_to_try_again() {
    let folder = tempfile::tempdir().unwrap();
    let environment = stores::environment(folder.path()).await;
    let Some(mut holder) = connected(&stores::loaded(&environment)).await else {
        return;
    };
    sqlx::query("SELECT pg_advisory_lock(422608794728)")
        .execute(&mut holder)
        .await
        .unwrap();

    let refused = run(&["migrate", "up", "--wait", "0s"], &environment, folder.path());

    assert_eq!(refused.code, 20, "{}", refused.said);
    assert_eq!(refused.last_words["applied"], json!([]));
}

#[tokio::test]
async fn the_contract_needs_no_database() {
    let folder = tempfile::tempdir().unwrap();

    let output = program(folder.path(), &["contract"]).output().unwrap();

    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(told["rollback"]["cannot_rollback"], false);
    assert_eq!(told["schema"]["level"], told["schema"]["max_known"]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
