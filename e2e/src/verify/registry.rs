//! The stages of the data plane: the same tests on every pair of a database and a store.

use std::{
    any::Any,
    net::{IpAddr, Ipv4Addr},
};

use anyhow::Result;

use super::{Run, source::integration, test_binaries::pass};
use crate::{
    servers::{Azurite, Postgres, Release, SeaweedFs, VersityGw},
    shell::Log,
    tools::apt,
};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const IT: (&str, &str) = ("registry", "it");
const INTERLEAVINGS: &str = "interleavings::";
const CRASH: (&str, &str) = ("registry", "crash");

/// Where rows are kept.
#[derive(Clone, Copy)]
enum Rows {
    Sqlite,
    Postgres(Release),
}

/// Where bytes are kept.
#[derive(Clone, Copy)]
enum Bytes {
    Files,
    S3,
    VersityGw,
    Azure,
    /// The one that the tests bring along.
    OwnGcs,
}

/// A variable of the tests and its value.
type Setting = (&'static str, String);

pub(super) fn layering(run: &Run, log: &Log) -> Result<()> {
    integration(run, ("registry", "layering"), &[], log)
}

pub(super) fn sqlite(run: &Run, log: &Log) -> Result<()> {
    on(run, IT, (Rows::Sqlite, Bytes::Files), log)
}

pub(super) fn postgres_oldest(run: &Run, log: &Log) -> Result<()> {
    on(run, IT, (Rows::Postgres(Release::Oldest), Bytes::Files), log)
}

pub(super) fn postgres_newest(run: &Run, log: &Log) -> Result<()> {
    on(run, IT, (Rows::Postgres(Release::Newest), Bytes::Files), log)
}

pub(super) fn s3_sqlite(run: &Run, log: &Log) -> Result<()> {
    on(run, IT, (Rows::Sqlite, Bytes::S3), log)
}

pub(super) fn s3_postgres(run: &Run, log: &Log) -> Result<()> {
    on(run, IT, (Rows::Postgres(Release::Newest), Bytes::S3), log)
}

pub(super) fn s3_versitygw(run: &Run, log: &Log) -> Result<()> {
    on(run, IT, (Rows::Sqlite, Bytes::VersityGw), log)
}

pub(super) fn azure(run: &Run, log: &Log) -> Result<()> {
    on(run, IT, (Rows::Sqlite, Bytes::Azure), log)
}

pub(super) fn gcs(run: &Run, log: &Log) -> Result<()> {
    on(run, IT, (Rows::Sqlite, Bytes::OwnGcs), log)
}

pub(super) fn interleavings_sqlite(run: &Run, log: &Log) -> Result<()> {
    let mut command = run.staged.integration("registry", "it", log)?.command();
    command.arg(INTERLEAVINGS);
    pass(command, log)
}

pub(super) fn interleavings_postgres(run: &Run, log: &Log) -> Result<()> {
    let server = Postgres::start(&run.cache, Release::Newest, LOOPBACK, log)?;
    let mut command = run.staged.integration("registry", "it", log)?.command();
    command.arg(INTERLEAVINGS).env("BERTH_TEST_DATABASE_URL", server.url());
    pass(command, log)
}

pub(super) fn disk(run: &Run, log: &Log) -> Result<()> {
    apt::ensure(&apt::DISKS, &run.cache, log)?;
    integration(run, ("registry", "disk"), &[], log)
}

pub(super) fn crash_sqlite(run: &Run, log: &Log) -> Result<()> {
    on(run, CRASH, (Rows::Sqlite, Bytes::Files), log)
}

pub(super) fn crash_sqlite_s3(run: &Run, log: &Log) -> Result<()> {
    on(run, CRASH, (Rows::Sqlite, Bytes::S3), log)
}

pub(super) fn crash_postgres(run: &Run, log: &Log) -> Result<()> {
    on(run, CRASH, (Rows::Postgres(Release::Newest), Bytes::Files), log)
}

pub(super) fn crash_postgres_s3(run: &Run, log: &Log) -> Result<()> {
    on(run, CRASH, (Rows::Postgres(Release::Newest), Bytes::S3), log)
}

/// Runs one target's tests on a pair of stores; without settings they use SQLite and files.
fn on(run: &Run, target: (&str, &str), (rows, bytes): (Rows, Bytes), log: &Log) -> Result<()> {
    let mut settings = Vec::new();
    // The servers live until the tests have ended.
    let _postgres = match rows {
        Rows::Sqlite => None,
        Rows::Postgres(release) => {
            let server = Postgres::start(&run.cache, release, LOOPBACK, log)?;
            settings.push(("BERTH_TEST_DATABASE_URL", server.url()));
            Some(server)
        }
    };
    let (store, _store) = store(run, bytes, log)?;
    settings.extend(store);
    integration(run, target, &settings, log)
}

/// Starts a store; it lives as long as the second value.
fn store(run: &Run, bytes: Bytes, log: &Log) -> Result<(Vec<Setting>, Box<dyn Any>)> {
    let started: (Vec<Setting>, Box<dyn Any>) = match bytes {
        Bytes::Files => (Vec::new(), Box::new(())),
        Bytes::S3 => {
            let server = SeaweedFs::start(&run.cache, LOOPBACK, log)?;
            let key = (SeaweedFs::ACCESS_KEY_ID, SeaweedFs::SECRET_ACCESS_KEY);
            (s3(server.endpoint(), SeaweedFs::BUCKET, key), Box::new(server))
        }
        Bytes::VersityGw => {
            let server = VersityGw::start(&run.cache, LOOPBACK, log)?;
            let key = (VersityGw::ACCESS_KEY_ID, VersityGw::SECRET_ACCESS_KEY);
            (s3(server.endpoint(), VersityGw::BUCKET, key), Box::new(server))
        }
        Bytes::Azure => {
            let server = Azurite::start(&run.cache, LOOPBACK, log)?;
            let settings = vec![
                ("BERTH_TEST_AZURE_ENDPOINT", server.endpoint()),
                ("BERTH_TEST_AZURE_ACCOUNT", Azurite::ACCOUNT.to_owned()),
                ("BERTH_TEST_AZURE_CONTAINER", Azurite::CONTAINER.to_owned()),
                ("BERTH_TEST_AZURE_ACCESS_KEY", Azurite::ACCESS_KEY.to_owned()),
            ];
            (settings, Box::new(server))
        }
        Bytes::OwnGcs => (vec![("BERTH_TEST_GCS", "own".to_owned())], Box::new(())),
    };
    Ok(started)
}

fn s3(endpoint: String, bucket: &str, (id, secret): (&str, &str)) -> Vec<Setting> {
    vec![
        ("BERTH_TEST_S3_ENDPOINT", endpoint),
        ("BERTH_TEST_S3_BUCKET", bucket.to_owned()),
        ("BERTH_TEST_S3_ACCESS_KEY_ID", id.to_owned()),
        ("BERTH_TEST_S3_SECRET_ACCESS_KEY", secret.to_owned()),
    ]
}
