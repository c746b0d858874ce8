//! Schema migrations in two phases, `pre` and `post` deploy; the rules are in `migrations/README.md`.
//!
//! Guarantees: a migration takes effect exactly once, however many runs there are at once and wherever one dies;
//! a server refuses a schema that it does not support ([`SchemaStatus::ensure_supported`]).

mod contract;
#[cfg(test)]
mod fixtures;
mod plan;
mod preflight;
mod refusal;
mod run;

pub use contract::{Contract, Rollback, Schema};
pub use plan::{Applied, Unsupported};
pub use preflight::{Database, Preflight, Problem, preflight};
pub use refusal::{OLDEST_POSTGRES, Refusal};
pub(super) use run::ALL;
pub use run::{MigrationError, Report, Settings, ensure_engine, status, up};

use super::statement::Engine;
use crate::flaws::{self, FlawedMigration};
use crate::release::{self, Release};
use sqlx::{SqlSafeStr, SqlStr};

/// When a migration runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Before pods of the new version start.
    Pre,
    /// After the new version has proved itself.
    Post,
}

impl Phase {
    /// `pre` or `post`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pre => "pre",
            Self::Post => "post",
        }
    }
}

/// Which phases a run takes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Scope {
    /// Only what must run before the new version starts.
    Pre,
    /// Only what runs after the new version has proved itself.
    Post,
    /// Both, in the order of their versions.
    All,
}

impl Scope {
    fn takes(self, phase: Phase) -> bool {
        match self {
            Self::Pre => phase == Phase::Pre,
            Self::Post => phase == Phase::Post,
            Self::All => true,
        }
    }

    /// `pre`, `post` or `all`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pre => "pre",
            Self::Post => "post",
            Self::All => "all",
        }
    }
}

/// One migration as this program knows it.
#[derive(Debug, Clone)]
pub struct Migration {
    /// Its UTC time as a number; orders all migrations of both phases.
    pub version: i64,
    /// When it runs.
    pub phase: Phase,
    /// What it does, in words.
    pub description: String,
    /// The statements.
    pub sql: SqlStr,
    /// Of the file.
    pub checksum: Vec<u8>,
    /// Migrations that must have run before.
    pub requires: Vec<i64>,
    /// The oldest newest-known migration of a server that can live with this one.
    pub floor: Option<i64>,
}

/// Every migration of one engine that this program knows, in order.
#[derive(Debug, Clone)]
pub struct MigrationSet {
    migrations: Vec<Migration>,
    /// The releases that they came with, this one last.
    releases: Vec<Release>,
}

static SQLITE_PRE: sqlx::migrate::Migrator = sqlx::migrate!("../migrations/sqlite/pre");
static SQLITE_POST: sqlx::migrate::Migrator = sqlx::migrate!("../migrations/sqlite/post");
static POSTGRES_PRE: sqlx::migrate::Migrator = sqlx::migrate!("../migrations/postgres/pre");
static POSTGRES_POST: sqlx::migrate::Migrator = sqlx::migrate!("../migrations/postgres/post");

impl MigrationSet {
    /// The migrations built into this program.
    pub fn embedded(engine: Engine) -> Self {
        let (pre, post) = match engine {
            Engine::Sqlite => (&SQLITE_PRE, &SQLITE_POST),
            Engine::Postgres => (&POSTGRES_PRE, &POSTGRES_POST),
        };
        let pre = pre.iter().map(|file| Migration::of(file, Phase::Pre));
        let post = post.iter().map(|file| Migration::of(file, Phase::Post));
        let flawed = flaws::migrations().into_iter().map(Migration::flawed);
        Self::new(pre.chain(post).chain(flawed).collect()).since(release::releases().to_vec())
    }

    /// A set in the order of versions.
    pub fn new(mut migrations: Vec<Migration>) -> Self {
        migrations.sort_by_key(|migration| migration.version);
        Self {
            migrations,
            releases: Vec::new(),
        }
    }

    /// The same, which came with these releases, the oldest first.
    #[must_use]
    pub fn since(mut self, releases: Vec<Release>) -> Self {
        self.releases = releases;
        self
    }

    /// In the order of versions.
    pub fn iter(&self) -> impl Iterator<Item = &Migration> {
        self.migrations.iter()
    }

    /// The newest version that this program knows.
    pub fn newest(&self) -> Option<i64> {
        self.migrations.last().map(|migration| migration.version)
    }

    /// The newest version that must have run before this program serves.
    pub fn required(&self) -> Option<i64> {
        self.migrations
            .iter()
            .rev()
            .find(|migration| migration.phase == Phase::Pre)
            .map(|migration| migration.version)
    }
}

impl Migration {
    fn of(file: &sqlx::migrate::Migration, phase: Phase) -> Self {
        let head = || file.sql.as_str().lines().take_while(|line| line.starts_with("--"));
        let value = |line: &str, key: &str| line.strip_prefix(key)?.trim().parse::<i64>().ok();
        Self {
            version: file.version,
            phase,
            description: file.description.to_string(),
            sql: file.sql.clone(),
            checksum: file.checksum.to_vec(),
            requires: head().filter_map(|line| value(line, "-- requires:")).collect(),
            floor: head().find_map(|line| value(line, "-- floor:")),
        }
    }

    fn flawed(flaw: FlawedMigration) -> Self {
        Self {
            version: flaw.version,
            phase: if flaw.post { Phase::Post } else { Phase::Pre },
            description: "of a test".to_owned(),
            checksum: flaw.sql.as_bytes().to_vec(),
            sql: sqlx::AssertSqlSafe(flaw.sql).into_sql_str(),
            requires: flaw.requires,
            floor: flaw.floor,
        }
    }
}

/// As programs are told: text, because a version has more digits than some of them keep.
pub fn ids(versions: impl IntoIterator<Item = i64>) -> Vec<String> {
    versions.into_iter().map(|version| version.to_string()).collect()
}

/// How a database stands to the migrations of this program.
#[derive(Debug, Clone)]
pub struct SchemaStatus {
    /// What has run, in order.
    pub applied: Vec<Applied>,
    /// Pre-deploy migrations still to run.
    pub pending_pre: Vec<i64>,
    /// Post-deploy migrations still to run.
    pub pending_post: Vec<i64>,
    /// The newest version that must have run before this program serves.
    pub required: Option<i64>,
    newest_known: Option<i64>,
}

impl SchemaStatus {
    /// The newest version that has run.
    pub fn version(&self) -> Option<i64> {
        self.applied.last().map(|applied| applied.version)
    }

    /// What a program must know to serve it.
    pub fn floor(&self) -> Option<i64> {
        self.applied.iter().filter_map(|applied| applied.floor).max()
    }

    /// Refuses a schema that this program cannot serve.
    ///
    /// Newer migrations than this program knows are fine, as long as none of them names a floor above it.
    ///
    /// # Errors
    /// What is missing, or which migration shuts this program out.
    pub fn ensure_supported(&self) -> Result<(), Unsupported> {
        plan::ensure_supported(self)
    }
}
