//! The stages of the data plane: the same tests on every pair of a database and a store.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::Result;

use super::{Run, source::integration};
use crate::{
    servers::{Postgres, Release, SeaweedFs},
    shell::Log,
};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const IT: (&str, &str) = ("registry", "it");
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
}

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
    let _s3 = match bytes {
        Bytes::Files => None,
        Bytes::S3 => {
            let server = SeaweedFs::start(&run.cache, LOOPBACK, log)?;
            settings.push(("BERTH_TEST_S3_ENDPOINT", server.endpoint()));
            settings.push(("BERTH_TEST_S3_BUCKET", SeaweedFs::BUCKET.to_owned()));
            settings.push(("BERTH_TEST_S3_ACCESS_KEY_ID", SeaweedFs::ACCESS_KEY_ID.to_owned()));
            settings.push((
                "BERTH_TEST_S3_SECRET_ACCESS_KEY",
                SeaweedFs::SECRET_ACCESS_KEY.to_owned(),
            ));
            Some(server)
        }
    };
    integration(run, target, &settings, log)
}
