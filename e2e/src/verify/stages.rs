//! The table of stages, in the order in which they run.

use anyhow::Result;

use super::{
    Run, chart, clients, conformance, corpus, fuzz, kubernetes, measurements, model, mutations, registry, soak, source,
};
use crate::shell::Log;

/// What a stage needs that takes long to build: it is begun before the first stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Kubernetes,
    VersityGw,
    Helm,
    Clients,
    Images,
    Conformance,
}

/// One line of the result.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) name: &'static str,
    /// A name for several stages, or its own.
    group: &'static str,
    pub(super) about: &'static str,
    pub(super) needs: &'static [Need],
    pub(super) run: fn(&Run, &Log) -> Result<()>,
}

impl Stage {
    /// True when `name` is its name or that of its group.
    pub(super) fn is(&self, name: &str) -> bool {
        self.name == name || self.group == name
    }
}

const fn stage(name: &'static str, about: &'static str, run: fn(&Run, &Log) -> Result<()>) -> Stage {
    Stage {
        name,
        group: name,
        about,
        needs: &[],
        run,
    }
}

impl Stage {
    const fn of(self, group: &'static str) -> Self {
        Self { group, ..self }
    }

    const fn needs(self, needs: &'static [Need]) -> Self {
        Self { needs, ..self }
    }
}

pub(super) const STAGES: &[Stage] = &[
    stage("format", "rustfmt and gofmt would change nothing", source::format),
    stage("lint", "clippy finds nothing", source::lint),
    stage("docs", "the documentation builds without a warning", source::docs),
    stage("build", "every test compiles", source::build),
    stage(
        "layering",
        "the data plane's modules use only what is below them",
        registry::layering,
    ),
    stage(
        "unit",
        "tests beside the code, and the examples in its documentation",
        source::unit,
    ),
    stage(
        "model",
        "the collector's protocol keeps its promises in every state, and each of 20 flaws breaks one",
        model::model,
    ),
    stage(
        "operator",
        "the operator's decisions and what it builds",
        kubernetes::operator,
    ),
    stage(
        "measurements",
        "what the operator measures and tries, on a real registry and a real Prometheus",
        measurements::measurements,
    ),
    stage(
        "sqlite",
        "the data plane on SQLite and the file system",
        registry::sqlite,
    ),
    stage(
        "postgres-oldest",
        "the data plane on PostgreSQL 15",
        registry::postgres_oldest,
    )
    .of("postgres"),
    stage(
        "postgres-newest",
        "the data plane on the newest PostgreSQL",
        registry::postgres_newest,
    )
    .of("postgres"),
    stage(
        "s3-sqlite",
        "the data plane on SQLite and an S3 server",
        registry::s3_sqlite,
    )
    .of("s3"),
    stage(
        "s3-postgres",
        "the data plane on PostgreSQL and an S3 server",
        registry::s3_postgres,
    )
    .of("s3"),
    stage(
        "s3-versitygw",
        "the data plane on SQLite and an S3 server of other make",
        registry::s3_versitygw,
    )
    .of("s3")
    .needs(&[Need::VersityGw]),
    stage(
        "azure",
        "the data plane on SQLite and the emulator of Azure's Blob Storage",
        registry::azure,
    ),
    stage(
        "gcs",
        "the data plane on SQLite and a Google Cloud Storage of our own",
        registry::gcs,
    ),
    stage(
        "corpus-sqlite",
        "no bad or odd input surprises the API, its log or its memory: SQLite",
        corpus::sqlite,
    )
    .of("corpus"),
    stage(
        "corpus-postgres",
        "no bad or odd input surprises the API, its log or its memory: PostgreSQL",
        corpus::postgres,
    )
    .of("corpus"),
    stage(
        "fuzz",
        "each fuzz target runs for five seconds and finds nothing",
        fuzz::fuzz,
    ),
    stage(
        "interleavings-sqlite",
        "races staged at points of the real code lose nothing: SQLite",
        registry::interleavings_sqlite,
    )
    .of("interleavings"),
    stage(
        "interleavings-postgres",
        "races staged at points of the real code lose nothing: PostgreSQL",
        registry::interleavings_postgres,
    )
    .of("interleavings"),
    stage(
        "mutations",
        "each fault that is planted in the real code is noticed by a test",
        mutations::mutations,
    ),
    stage(
        "disk",
        "disks that are full, failing, slow or cut off by a kill at any sync lose nothing",
        registry::disk,
    ),
    stage(
        "crash-sqlite",
        "kill -9 amid pushes loses nothing: SQLite, files",
        registry::crash_sqlite,
    )
    .of("crash"),
    stage(
        "crash-sqlite-s3",
        "kill -9 amid pushes loses nothing: SQLite, S3",
        registry::crash_sqlite_s3,
    )
    .of("crash"),
    stage(
        "crash-postgres",
        "kill -9 amid pushes loses nothing: PostgreSQL, files",
        registry::crash_postgres,
    )
    .of("crash"),
    stage(
        "crash-postgres-s3",
        "kill -9 amid pushes loses nothing: PostgreSQL, S3",
        registry::crash_postgres_s3,
    )
    .of("crash"),
    stage(
        "soak-sqlite",
        "an hour's accidents in minutes, and no push is lost: SQLite, files",
        soak::sqlite,
    )
    .of("soak"),
    stage(
        "soak-postgres-s3",
        "an hour's accidents in minutes, and no push is lost: PostgreSQL, S3, 2 replicas",
        soak::postgres_s3,
    )
    .of("soak"),
    stage(
        "clients",
        "docker, containerd, podman and eight more push, pull, copy, delete",
        clients::clients,
    )
    .needs(&[Need::Helm, Need::Clients]),
    stage(
        "conformance-sqlite",
        "the checks of the official programs: SQLite, files",
        conformance::sqlite,
    )
    .of("conformance")
    .needs(&[Need::Conformance]),
    stage(
        "conformance-postgres-s3",
        "the checks of the official programs: PostgreSQL, S3",
        conformance::postgres_s3,
    )
    .of("conformance")
    .needs(&[Need::Conformance]),
    stage(
        "conformance-redirect",
        "the checks of the official programs: PostgreSQL, S3, signed redirects",
        conformance::redirect,
    )
    .of("conformance")
    .needs(&[Need::Conformance]),
    stage(
        "conformance-mistakes",
        "the checks find each of fifteen mistakes",
        conformance::mistakes,
    )
    .of("conformance"),
    stage(
        "chart",
        "the chart lints and renders, its definitions are those in crds/",
        chart::chart,
    )
    .needs(&[Need::Helm]),
    stage(
        "api-server",
        "what the operator applies, against a real API server",
        kubernetes::api_server,
    )
    .needs(&[Need::Kubernetes, Need::Helm]),
    stage(
        "cluster",
        "Berth in a whole cluster: push, pull, replicas, failures",
        kubernetes::cluster,
    )
    .needs(&[Need::Kubernetes, Need::Helm, Need::Images]),
    stage(
        "rollouts",
        "twelve bad releases are stopped while clients push and pull, and good ones pass",
        kubernetes::rollouts,
    )
    .needs(&[Need::Kubernetes, Need::Helm]),
];
