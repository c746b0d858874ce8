//! The schema: brought up once, by whoever comes first, and refused when it does not fit.

use crate::support::stores;
use berth_registry::metadata::migrations::{self, MigrationSet, Scope};
use berth_registry::metadata::{self, Engine, Metadata};
use berth_registry::server;
use futures::future::join_all;

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

    let applied: Vec<i64> = join_all(runs).await.concat();

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
