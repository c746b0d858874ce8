//! The schema: brought up once, by whoever comes first, and refused when it does not fit.

use crate::support::stores;
use berth_registry::config::Database;
use berth_registry::metadata::migrations::{self, MigrationError, MigrationSet, Scope, Settings};
use berth_registry::metadata::{self, Engine, Metadata};
use berth_registry::server;
use futures::future::join_all;
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;
use std::time::Duration;

#[tokio::test]
async fn several_runs_at_once_apply_each_migration_once() {
    let (config, _folder) = stores::fresh().await;
    let target = server::database_target(&config.database);
    let runs = (0..4).map(|_| async {
        let metadata = Metadata::connect(&target).await.unwrap();
        let set = MigrationSet::embedded(metadata.engine());
        let settings = server::migration_settings(&config);
        migrations::up(&metadata, &set, Scope::All, &settings)
            .await
            .unwrap()
            .applied
    });

    let mut applied: Vec<i64> = join_all(runs).await.concat();
    applied.sort_unstable();

    let known: Vec<i64> = MigrationSet::embedded(target.engine())
        .iter()
        .map(|migration| migration.version)
        .collect();
    assert_eq!(applied, known);
}

#[tokio::test]
async fn a_second_run_has_nothing_to_do_and_says_so() {
    let (config, _folder) = stores::fresh().await;
    crate::support::migrate(&config).await;
    let metadata = Metadata::connect(&server::database_target(&config.database))
        .await
        .unwrap();
    let set = MigrationSet::embedded(metadata.engine());

    let report = migrations::up(&metadata, &set, Scope::All, &server::migration_settings(&config))
        .await
        .unwrap();
    let status = migrations::status(&metadata, &set).await.unwrap();

    assert!(report.applied.is_empty());
    assert_eq!(status.version(), set.newest());
    assert_eq!(status.ensure_supported(), Ok(()));
}

#[tokio::test]
async fn a_server_that_may_not_migrate_by_itself_refuses_an_old_schema_and_says_what_to_do() {
    let (config, _folder) = stores::fresh().await;

    let started = server::start(&config).await;

    if server::database_target(&config.database).engine() == Engine::Sqlite {
        // The one process that owns the file brings it up itself.
        assert!(started.is_ok());
        return;
    }
    let told = format!("{:#}", started.unwrap_err());
    assert!(told.contains("berth-registry migrate up --phase pre"), "{told}");
}

#[tokio::test]
async fn every_statement_fits_the_schema() {
    let (config, _folder) = stores::fresh().await;
    crate::support::migrate(&config).await;
    let metadata = Metadata::connect(&server::database_target(&config.database))
        .await
        .unwrap();

    let prepared = metadata::prepare_all(&mut metadata.read().await.unwrap())
        .await
        .unwrap();

    assert!(prepared > 30, "only {prepared} statements");
}

#[tokio::test]
async fn both_engines_have_the_same_migrations_in_the_same_phases() {
    let of = |engine| {
        MigrationSet::embedded(engine)
            .iter()
            .map(|m| (m.version, m.phase))
            .collect::<Vec<_>>()
    };

    assert_eq!(of(Engine::Sqlite), of(Engine::Postgres));
}

#[tokio::test]
async fn a_run_that_finds_the_lock_held_says_so() {
    let (config, _folder) = stores::fresh().await;
    let Database::Postgres { url, .. } = &config.database else {
        // SQLite's lock is waited for within the file's own timeout, too long for a test.
        return;
    };
    let mut holder = url.parse::<PgConnectOptions>().unwrap().connect().await.unwrap();
    sqlx::query("SELECT pg_advisory_lock(422608794728)")
        .execute(&mut holder)
        .await
        .unwrap();
    let metadata = Metadata::connect(&server::database_target(&config.database))
        .await
        .unwrap();
    let settings = Settings {
        patience: Duration::ZERO,
        ..server::migration_settings(&config)
    };

    let set = MigrationSet::embedded(metadata.engine());
    let refused = migrations::up(&metadata, &set, Scope::All, &settings)
        .await
        .unwrap_err();

    assert!(matches!(refused, MigrationError::Locked), "{refused:?}");
    let status = migrations::status(&metadata, &set).await.unwrap();
    assert!(status.applied.is_empty());
}

#[tokio::test]
async fn the_first_migration_makes_as_many_partitions_as_it_is_told() {
    let (config, _folder) = stores::fresh().await;
    let Database::Postgres { url, .. } = &config.database else {
        return;
    };
    let metadata = Metadata::connect(&server::database_target(&config.database))
        .await
        .unwrap();
    let settings = Settings {
        partitions: 64,
        ..server::migration_settings(&config)
    };

    let set = MigrationSet::embedded(metadata.engine());
    migrations::up(&metadata, &set, Scope::All, &settings).await.unwrap();

    let mut connection = url.parse::<PgConnectOptions>().unwrap().connect().await.unwrap();
    let partitions: i64 =
        sqlx::query_scalar("SELECT count(*) FROM pg_inherits WHERE inhparent = 'manifests'::regclass")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    assert_eq!(partitions, 64);
}
