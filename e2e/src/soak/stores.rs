//! The two pairs of stores: SQLite and files on a small disk, PostgreSQL and S3 behind a proxy. They can be damaged, and
//! looked into behind the registry's back.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{checker::Rest, disk::Disk, proxy::Proxy};
use crate::{
    cache::Cache,
    http::Request,
    servers::{Postgres, Release, SeaweedFs},
    shell::{self, Log},
};

/// Everything that the soak stores twice over, and what waits to be collected.
const DISK_MIB: usize = 1024;
const INLINE: &str = "4KiB";
const QUERY_LIMIT: Duration = Duration::from_mins(1);
const PREFIX: &str = "soak";

/// Asks SQLite through Python, which this package needs anyway.
const PYTHON: &str = "import json, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=30)
rows = connection.execute(sys.argv[2]).fetchall()
connection.commit()
print(json.dumps(rows))";

/// Tables whose rows are gone at rest.
const PASSING_TABLES: [&str; 5] = [
    "upload_sessions",
    "tombstones",
    "reviews",
    "blob_leases",
    "deleted_tags",
];

/// A pair of stores, for as long as the value lives.
#[derive(Debug)]
pub(super) enum Stores {
    Small {
        disk: Disk,
    },
    Large {
        postgres: Mutex<Postgres>,
        s3: SeaweedFs,
        proxy: Proxy,
    },
}

impl Stores {
    /// SQLite and files.
    ///
    /// # Errors
    /// When there can be no disk.
    pub(super) fn small() -> Result<Self> {
        let disk = Disk::start(DISK_MIB)?;
        Ok(Self::Small { disk })
    }

    /// PostgreSQL and S3.
    ///
    /// # Errors
    /// When one of them cannot be had.
    pub(super) fn large(cache: &Cache, seed: u64, log: &Log) -> Result<Self> {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let postgres = Postgres::start(cache, Release::Newest, loopback, log)?;
        let s3 = SeaweedFs::start(cache, loopback, log)?;
        let proxy = Proxy::start(&s3.endpoint(), seed)?;
        Ok(Self::Large {
            postgres: Mutex::new(postgres),
            s3,
            proxy,
        })
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Small { .. } => "SQLite, files",
            Self::Large { .. } => "PostgreSQL, S3, 2 replicas",
        }
    }

    /// How many servers share them.
    pub(super) fn replicas(&self) -> usize {
        match self {
            Self::Small { .. } => 1,
            Self::Large { .. } => 2,
        }
    }

    pub(super) fn disk(&self) -> Option<&Disk> {
        match self {
            Self::Small { disk } => Some(disk),
            Self::Large { .. } => None,
        }
    }

    pub(super) fn proxy(&self) -> Option<&Proxy> {
        match self {
            Self::Small { .. } => None,
            Self::Large { proxy, .. } => Some(proxy),
        }
    }

    pub(super) fn postgres(&self) -> Option<MutexGuard<'_, Postgres>> {
        match self {
            Self::Small { .. } => None,
            Self::Large { postgres, .. } => Some(postgres.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// What a server has to be told to use them, with a fifth of the blobs in rows.
    pub(super) fn settings(&self) -> Vec<(String, String)> {
        let named = |(name, value): (&str, String)| (name.to_owned(), value);
        match self {
            // Nobody writes late to a file: its writer holds a lock, and dies with the only server.
            Self::Small { disk } => vec![
                named(("BERTH_DATA_DIR", disk.folder().display().to_string())),
                named(("BERTH_GC_QUARANTINE", "0s".to_owned())),
                named(("BERTH_STORAGE_INLINE_SIZE", INLINE.to_owned())),
            ],
            Self::Large { postgres, proxy, .. } => {
                let postgres = postgres.lock().unwrap_or_else(PoisonError::into_inner);
                [
                    ("BERTH_DATABASE_URL", postgres.url()),
                    ("BERTH_DATABASE_PARTITIONS", "4".to_owned()),
                    // Longer than anyone is stopped, and than a write to the store can be late.
                    ("BERTH_GC_QUARANTINE", "40s".to_owned()),
                    ("BERTH_STORAGE_INLINE_SIZE", INLINE.to_owned()),
                    ("BERTH_STORAGE_S3_ENDPOINT", proxy.endpoint()),
                    ("BERTH_STORAGE_S3_BUCKET", SeaweedFs::BUCKET.to_owned()),
                    ("BERTH_STORAGE_S3_ROOT_DIRECTORY", PREFIX.to_owned()),
                    ("BERTH_STORAGE_S3_ACCESS_KEY_ID", SeaweedFs::ACCESS_KEY_ID.to_owned()),
                    (
                        "BERTH_STORAGE_S3_SECRET_ACCESS_KEY",
                        SeaweedFs::SECRET_ACCESS_KEY.to_owned(),
                    ),
                ]
                .map(named)
                .into()
            }
        }
    }

    /// The answer to a question in SQL; of a statement without an answer: nothing.
    ///
    /// # Errors
    /// What the database says.
    pub(super) fn sql(&self, statement: &str) -> Result<Vec<Vec<String>>> {
        match self {
            Self::Small { disk } => {
                let mut python = disk.command(&python()?);
                let database = disk.folder().join("berth.sqlite3");
                let answer = shell::read(python.args(["-c", PYTHON]).arg(database).arg(statement), QUERY_LIMIT)?;
                let rows: Vec<Vec<Value>> = serde_json::from_str(&answer).context("read the rows")?;
                let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                Ok(rows
                    .into_iter()
                    .map(|row| row.into_iter().map(text).collect())
                    .collect())
            }
            Self::Large { postgres, .. } => {
                let postgres = postgres.lock().unwrap_or_else(PoisonError::into_inner);
                let answer = postgres.sql("postgres", statement)?;
                let fields = |line: &str| line.split('|').map(str::to_owned).collect();
                Ok(answer.lines().filter(|line| !line.is_empty()).map(fields).collect())
            }
        }
    }

    /// A digest's column as `sha256:…`.
    fn digest(&self, column: &str) -> String {
        match self {
            Self::Small { .. } => format!("'sha256:' || lower(substr(hex({column}), 3))"),
            Self::Large { .. } => format!("'sha256:' || substr(encode({column}, 'hex'), 3)"),
        }
    }

    /// Everything that passes by itself is due now: time is moved, not waited for.
    ///
    /// # Errors
    /// What the database says.
    pub(super) fn let_time_pass(&self) -> Result<()> {
        for statement in [
            "UPDATE upload_sessions SET expires_at = 1, claimed_until = NULL, claim = NULL",
            "UPDATE blob_leases SET expires_at = expires_at - 86400000000",
            "UPDATE reviews SET due_at = 1",
            "UPDATE tombstones SET not_before = 1",
            "UPDATE deleted_tags SET deleted_at = deleted_at - 86400000000",
            "UPDATE manifests SET deleted_at = deleted_at - 86400000000 WHERE deleted_at IS NOT NULL",
        ] {
            self.move_time(statement)?;
        }
        Ok(())
    }

    /// The collector works meanwhile, and locks rows in another order: of two that wait for each other PostgreSQL ends one,
    /// which may be this one.
    fn move_time(&self, statement: &str) -> Result<()> {
        let mut tried = 1;
        loop {
            match self.sql(statement) {
                Err(failed) if tried < 10 && format!("{failed:#}").contains("deadlock detected") => tried += 1,
                moved => return moved.map(drop),
            }
        }
    }

    /// How many rows wait to be collected, all at one moment: what one table loses another may get.
    ///
    /// # Errors
    /// What the database says.
    pub(super) fn waiting(&self) -> Result<BTreeMap<String, u64>> {
        let hidden = "manifests WHERE deleted_at IS NOT NULL";
        let tables = PASSING_TABLES.iter().chain([&hidden]);
        let counts: Vec<String> = tables
            .map(|table| format!("SELECT '{table}', count(*) FROM {table}"))
            .collect();
        let rows = self.sql(&counts.join(" UNION ALL "))?;
        let counted = rows.iter().map(|row| match &row[..] {
            [table, count] => Ok((table.clone(), count.parse()?)),
            _ => bail!("no count: {row:?}"),
        });
        counted.collect()
    }

    /// What the registry keeps, rows and keys.
    ///
    /// # Errors
    /// What the database or the store says.
    pub(super) fn rest(&self) -> Result<Rest> {
        let digest = |column: &str| self.digest(column);
        let of_repository = "JOIN repositories r ON r.namespace_id = x.namespace_id AND r.id = x.repository_id";
        let blobs = self.sql(&format!(
            "SELECT {}, size, coalesce(object_key, '') FROM blobs",
            digest("digest")
        ))?;
        let links = self.sql(&format!(
            "SELECT r.path, {} FROM blob_links x {of_repository}",
            digest("x.digest")
        ))?;
        let manifests = self.sql(&format!(
            "SELECT r.path, {}, x.content_size FROM manifests x {of_repository}",
            digest("x.digest")
        ))?;
        let tags = self.sql(&format!(
            "SELECT r.path, x.name, {} FROM tags x {of_repository}",
            digest("x.manifest_digest")
        ))?;
        let triple = |row: &Vec<String>| -> Option<(String, String, String)> {
            Some((row.first()?.clone(), row.get(1)?.clone(), row.get(2)?.clone()))
        };
        Ok(Rest {
            blobs: blobs
                .iter()
                .filter_map(triple)
                .map(|(digest, size, key)| Ok((digest, size.parse()?, key)))
                .collect::<Result<_>>()?,
            links: links
                .iter()
                .filter_map(|row| Some((row.first()?.clone(), row.get(1)?.clone())))
                .collect(),
            manifests: manifests
                .iter()
                .filter_map(triple)
                .map(|(path, digest, size)| Ok((path, digest, size.parse()?)))
                .collect::<Result<_>>()?,
            tags: tags.iter().filter_map(triple).collect(),
            passing: self.passing()?,
            waiting: self.waiting()?,
            keys: self.keys()?,
            multiparts: 0,
        })
    }

    /// Every key that a session or a tombstone names.
    fn passing(&self) -> Result<Vec<String>> {
        let mut keys = Vec::new();
        for row in self.sql("SELECT object_key, claims, coalesce(tail_key, object_key) FROM upload_sessions")? {
            let [key, claims, tail] = &row[..] else {
                continue;
            };
            keys.extend((1..=claims.parse::<u64>()?).map(|claim| format!("{key}-{claim}")));
            keys.extend([key.clone(), tail.clone()]);
        }
        let buried = self.sql("SELECT object_key FROM tombstones")?;
        keys.extend(buried.into_iter().flatten());
        Ok(keys)
    }

    fn keys(&self) -> Result<BTreeSet<String>> {
        match self {
            Self::Small { disk } => files_below(&disk.seen_from_outside().join("blobs")),
            Self::Large { s3, .. } => objects_below(s3, PREFIX),
        }
    }

    /// The multipart uploads that are open.
    ///
    /// # Errors
    /// What the store says.
    pub(super) fn multiparts(&self) -> Result<Vec<String>> {
        match self {
            Self::Small { .. } => Ok(Vec::new()),
            Self::Large { s3, .. } => Ok(entries(s3, ".uploads")?.into_iter().map(|(name, _)| name).collect()),
        }
    }
}

/// The paths of all files, from `root` on.
fn files_below(root: &Path) -> Result<BTreeSet<String>> {
    let (mut files, mut todo) = (BTreeSet::new(), vec![PathBuf::new()]);
    while let Some(folder) = todo.pop() {
        for entry in fs::read_dir(root.join(&folder)).with_context(|| format!("list {}", root.display()))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                todo.push(path);
            } else {
                files.insert(path.display().to_string());
            }
        }
    }
    Ok(files)
}

/// The keys of all objects below a prefix, without it.
fn objects_below(s3: &SeaweedFs, prefix: &str) -> Result<BTreeSet<String>> {
    let (mut keys, mut todo) = (BTreeSet::new(), vec![prefix.to_owned()]);
    while let Some(folder) = todo.pop() {
        for (name, is_folder) in entries(s3, &folder)? {
            let path = format!("{folder}/{name}");
            if is_folder {
                todo.push(path);
            } else {
                keys.insert(path[prefix.len() + 1..].to_owned());
            }
        }
    }
    Ok(keys)
}

/// The names in a folder of the bucket, and whether they are folders; none where there is no folder.
fn entries(s3: &SeaweedFs, folder: &str) -> Result<Vec<(String, bool)>> {
    const FOLDER: u64 = 1 << 31;
    const PAGE: usize = 1000;
    let mut all: Vec<(String, bool)> = Vec::new();
    loop {
        let last = all.last().map(|(name, _)| name.clone()).unwrap_or_default();
        let url = format!(
            "{}/buckets/{}/{folder}/?limit={PAGE}&lastFileName={last}",
            s3.files(),
            SeaweedFs::BUCKET
        );
        let answer = Request::new("GET", &url).header("Accept", "application/json").send()?;
        if answer.status == 404 {
            return Ok(all);
        }
        ensure!(
            answer.status == 200,
            "the store lists {folder} with status {}",
            answer.status
        );
        let page: Value = serde_json::from_slice(&answer.body).context("read a page of the store")?;
        let found = page["Entries"].as_array().map_or(&[][..], Vec::as_slice);
        for entry in found {
            let path = entry["FullPath"].as_str().context("an entry without a path")?;
            let name = path.rsplit('/').next().unwrap_or(path).to_owned();
            all.push((name, entry["Mode"].as_u64().unwrap_or(0) & FOLDER != 0));
        }
        if found.len() < PAGE {
            return Ok(all);
        }
    }
}

/// The system's own interpreter has SQLite in it.
fn python() -> Result<PathBuf> {
    let own = PathBuf::from("/usr/bin/python3");
    if own.is_file() {
        return Ok(own);
    }
    shell::which("python3").context("there is no Python 3 to look into SQLite with")
}
