//! The database and the object store that the settings name, opened.

use crate::blobs;
use crate::clock::Clock;
use crate::config::{Config, Database, Storage};
use crate::metadata::migrations::{self, MigrationSet, Scope, Settings};
use crate::metadata::{self, Engine, Metadata, PostgresOptions, uploads};
use anyhow::{Context, bail};
use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

const MIGRATION_LOCK_TIMEOUT: Duration = Duration::from_mins(1);

/// How the settings name the database.
pub fn database_target(database: &Database) -> metadata::Target {
    match database {
        Database::Sqlite { path } => metadata::Target::Sqlite(path.clone()),
        Database::Postgres {
            url,
            username,
            password,
            ca_file,
            max_connections,
        } => metadata::Target::Postgres(PostgresOptions {
            url: url.clone(),
            username: username.clone(),
            password: password.clone(),
            ca_file: ca_file.clone(),
            max_connections: *max_connections,
        }),
    }
}

/// How the settings name the store.
pub fn store_target(storage: &Storage) -> blobs::Target {
    match storage {
        Storage::Filesystem { root } => blobs::Target::Filesystem(root.clone()),
        Storage::S3(s3) => blobs::Target::S3(blobs::S3Options {
            bucket: s3.bucket.clone(),
            region: s3.region.clone(),
            endpoint: s3.endpoint.clone(),
            root_directory: s3.root_directory.clone(),
            path_style: s3.path_style,
            access_key_id: s3.access_key_id.clone(),
            secret_access_key: s3.secret_access_key.clone(),
        }),
    }
}

/// What a migration run is told by the settings.
pub fn migration_settings(config: &Config) -> Settings {
    Settings {
        partitions: config.partitions,
        lock_timeout: MIGRATION_LOCK_TIMEOUT,
        clock: Clock::default(),
    }
}

/// What is held while a SQLite file is this server's own.
pub(super) type Owned = Option<File>;

pub(super) async fn open_metadata(config: &Config) -> anyhow::Result<(Metadata, Owned)> {
    let metadata = Metadata::connect(&database_target(&config.database))
        .await
        .context("open the database")?;
    let owned = match &config.database {
        Database::Sqlite { path } => Some(own(path)?),
        Database::Postgres { .. } => None,
    };
    let set = MigrationSet::embedded(metadata.engine());
    if metadata.engine() == Engine::Sqlite {
        // One process owns the file: nobody else could have been told to migrate it, and no claim can be alive.
        migrations::up(&metadata, &set, Scope::Pre, &migration_settings(config))
            .await
            .context("migrate SQLite")?;
    }
    migrations::status(&metadata, &set)
        .await
        .context("read the schema's version")?
        .ensure_supported()?;
    if metadata.engine() == Engine::Sqlite {
        let mut tx = metadata.begin().await?;
        uploads::release_all(&mut tx).await?;
        tx.commit().await?;
    }
    Ok((metadata, owned))
}

/// Locks a file beside the database. SQLite itself would let two servers in, and each would end the other's uploads.
fn own(database: &Path) -> anyhow::Result<File> {
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    let shown = Path::new(&path).display();
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("open {shown}"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!(
            "another server uses the database {}: {shown} is locked; stop that server, or give this one a data_dir of \
             its own; several servers on the same content need PostgreSQL (database.url)",
            database.display()
        ),
        Err(TryLockError::Error(failed)) => Err(failed).with_context(|| {
            format!(
                "lock {shown}: SQLite needs a file system with locks; move data_dir, or use PostgreSQL (database.url)"
            )
        }),
    }
}
