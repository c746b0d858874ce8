//! A pair of a database and a store, and registries of their own on it.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use anyhow::Result;

use super::Run;
use crate::{
    servers::{Postgres, Registry, Release, SeaweedFs},
    shell::Log,
};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Which pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pair {
    SqliteAndFiles,
    PostgresAndS3,
}

impl Pair {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SqliteAndFiles => "SQLite, files",
            Self::PostgresAndS3 => "PostgreSQL, S3",
        }
    }
}

/// The pair's servers, for as long as the value lives.
#[derive(Debug)]
pub(super) struct Stores {
    servers: Option<(Postgres, SeaweedFs)>,
}

impl Stores {
    pub(super) fn start(run: &Run, pair: Pair, log: &Log) -> Result<Self> {
        let servers = match pair {
            Pair::SqliteAndFiles => None,
            Pair::PostgresAndS3 => Some((
                Postgres::start(&run.cache, Release::Newest, LOOPBACK, log)?,
                SeaweedFs::start(&run.cache, LOOPBACK, log)?,
            )),
        };
        Ok(Self { servers })
    }

    /// A registry with a database and a store that no other has; `name` is a word of lower-case letters.
    pub(super) fn registry(
        &self,
        program: &Path,
        (name, settings): (&str, &[(&'static str, &str)]),
        log: &Log,
    ) -> Result<Registry> {
        let mut all: Vec<(&str, String)> = settings
            .iter()
            .map(|(key, value)| (*key, (*value).to_owned()))
            .collect();
        if let Some((postgres, s3)) = &self.servers {
            postgres.sql("postgres", &format!("CREATE DATABASE {name}"))?;
            let url = format!("postgres://postgres@127.0.0.1:{}/{name}", postgres.port());
            all.extend([
                ("BERTH_DATABASE_URL", url),
                ("BERTH_DATABASE_PARTITIONS", "4".to_owned()),
                ("BERTH_STORAGE_S3_ENDPOINT", s3.endpoint()),
                ("BERTH_STORAGE_S3_BUCKET", SeaweedFs::BUCKET.to_owned()),
                ("BERTH_STORAGE_S3_ROOT_DIRECTORY", name.to_owned()),
                ("BERTH_STORAGE_S3_ACCESS_KEY_ID", SeaweedFs::ACCESS_KEY_ID.to_owned()),
                (
                    "BERTH_STORAGE_S3_SECRET_ACCESS_KEY",
                    SeaweedFs::SECRET_ACCESS_KEY.to_owned(),
                ),
            ]);
        }
        Registry::start(program, &all, log)
    }
}
