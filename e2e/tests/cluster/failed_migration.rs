//! A migration that fails: what serves goes on serving, and a person is told what to do.

use anyhow::{Context, Result};
use e2e::{
    cluster::{HOST, condition},
    servers::{Postgres, Release},
};
use serde_json::{Value, json};

use crate::harness::Namespace;

/// A spec that keeps its rows in `database`.
fn spec_on(postgres: &Postgres, database: &str) -> Value {
    json!({"database": {"postgres": {
        "host": HOST.to_string(), "port": postgres.port(), "name": database, "sslMode": "disable",
        "credentialsRef": {"name": "database"},
    }}})
}

/// A server with a database that `berth` owns and one that it does not: since PostgreSQL 15 it may make no tables there.
fn two_databases(namespace: &Namespace) -> Result<Postgres> {
    let postgres = Postgres::start(&namespace.cache, Release::Oldest, HOST.into(), &namespace.log)?;
    postgres.sql("postgres", "CREATE ROLE berth LOGIN PASSWORD 'berth'")?;
    postgres.sql("postgres", "CREATE DATABASE good OWNER berth")?;
    postgres.sql("postgres", "CREATE DATABASE forbidden")?;
    namespace.apply_secret("database", &[("username", "berth"), ("password", "berth")])?;
    Ok(postgres)
}

/// Waits until the operator has given up on the migration.
fn wait_until_failed(namespace: &Namespace) -> Result<Value> {
    namespace.wait_for_registry("registry", "says that the migration failed", |registry| {
        condition(registry, "DatabaseMigrated") == Some("False") && condition(registry, "Degraded") == Some("True")
    })
}

#[test]
fn a_failed_migration_leaves_the_running_version_serving() {
    let namespace = Namespace::new("migration").unwrap();
    let postgres = two_databases(&namespace).unwrap();
    namespace
        .apply_registry("registry", &spec_on(&postgres, "good"))
        .unwrap();
    namespace.wait_until_ready("registry").unwrap();
    let (sample, image) = namespace.push(&namespace.service("registry").unwrap()).unwrap();
    let serving = namespace.get("deployment/registry").unwrap()["spec"].clone();

    namespace
        .apply_registry("registry", &spec_on(&postgres, "forbidden"))
        .unwrap();
    wait_until_failed(&namespace).unwrap();

    assert_eq!(
        namespace.get("deployment/registry").unwrap()["spec"],
        serving,
        "the Deployment is as it was"
    );
    namespace.pull(&sample, &image).unwrap();
}

#[test]
fn a_failed_migration_says_what_to_do_and_that_heals_it() {
    let namespace = Namespace::new("remedy").unwrap();
    let postgres = two_databases(&namespace).unwrap();
    namespace
        .apply_registry("registry", &spec_on(&postgres, "forbidden"))
        .unwrap();
    wait_until_failed(&namespace).unwrap();

    let described = namespace
        .run(&["describe", "registries.berth.dev", "registry"])
        .unwrap();

    assert!(
        described.contains("MigrationFailed"),
        "the reason is there: {described}"
    );
    assert!(
        described.contains("permission denied"),
        "the Job's own words are there: {described}"
    );
    let remedy = remedy(&described).unwrap();
    postgres
        .sql("postgres", "ALTER DATABASE forbidden OWNER TO berth")
        .unwrap();
    namespace.kubectl.run(&remedy).unwrap();
    namespace.wait_until_ready("registry").unwrap();
    let (sample, image) = namespace.push(&namespace.service("registry").unwrap()).unwrap();
    namespace.pull(&sample, &image).unwrap();
}

/// The arguments of the command that the Registry tells a person to run: `kubectl delete job …`.
fn remedy(described: &str) -> Result<Vec<&str>> {
    let command = described.split('`').find_map(|words| words.strip_prefix("kubectl "));
    Ok(command
        .with_context(|| format!("no command is named: {described}"))?
        .split(' ')
        .collect())
}
