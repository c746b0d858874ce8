//! The database and the object store that the settings name, opened.

use crate::blobs::{self, BlobStore, BodyChecksum};
use crate::clock::Clock;
use crate::config::{self, Config, Database, RedirectMode, Storage};
use crate::http::{Redirect, Redirected};
use crate::metadata::migrations::{self, MigrationSet, Scope, Settings};
use crate::metadata::{self, Engine, Metadata, PostgresOptions, uploads};
use anyhow::{Context, anyhow};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// For another run of migrations.
const MIGRATION_PATIENCE: Duration = Duration::from_mins(1);
/// For a table that requests use: they queue behind who waits.
const MIGRATION_LOCK_TIMEOUT: Duration = Duration::from_secs(5);

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
            public_endpoint: s3.public_endpoint.clone(),
            root_directory: s3.root_directory.clone(),
            path_style: s3.path_style,
            access_key_id: s3.access_key_id.clone(),
            secret_access_key: s3.secret_access_key.clone(),
            checksum: match s3.checksum.as_str() {
                "crc64nvme" => BodyChecksum::Crc64Nvme,
                "none" => BodyChecksum::None,
                _ => BodyChecksum::Sha256,
            },
            equal_parts: s3.equal_parts,
        }),
        Storage::Azure(azure) => blobs::Target::Azure(blobs::AzureOptions {
            container: azure.container.clone(),
            account: azure.account.clone(),
            endpoint: azure.endpoint.clone(),
            root_directory: azure.root_directory.clone(),
            access_key: azure.access_key.clone(),
            sas_token: azure.sas_token.clone(),
        }),
        Storage::Gcs(gcs) => blobs::Target::Gcs(blobs::GcsOptions {
            bucket: gcs.bucket.clone(),
            endpoint: gcs.endpoint.clone(),
            root_directory: gcs.root_directory.clone(),
            service_account_file: gcs.service_account_file.clone(),
        }),
    }
}

/// Opens the store that the settings name, and proves that it can sign where clients are to be redirected.
pub(super) async fn open_store(config: &Config) -> anyhow::Result<BlobStore> {
    let redirect = &config.redirect;
    let edge = redirect.edge.as_ref().map(|edge| {
        Ok::<_, anyhow::Error>(blobs::EdgeOptions {
            base_url: edge.base_url.parse().context("read storage.redirect.base_url")?,
            key_name: edge.key_name.clone(),
            key: edge.key.clone(),
        })
    });
    let options = blobs::Options {
        upload_memory: config.uploads.memory,
        edge: edge.transpose()?,
    };
    let store = BlobStore::open(&store_target(&config.storage), &options)
        .await
        .context("open the object store")?;
    if redirect.mode != RedirectMode::Never {
        let signed = store.signed_url("blobs/a-start", 0, redirect.lifetime).await;
        signed.context(
            "sign a URL, as storage.redirect.mode wants it; give the store credentials that can, or set it to `never`",
        )?;
    }
    Ok(store)
}

/// Which clients the settings send to the store.
pub(super) fn redirect(settings: &config::Redirect) -> Redirect {
    let clients = match &settings.mode {
        RedirectMode::Never => Redirected::None,
        RedirectMode::Always => Redirected::All,
        RedirectMode::Matching { user_agents, networks } => Redirected::Matching {
            user_agents: user_agents.clone(),
            networks: networks.clone(),
        },
    };
    Redirect {
        clients,
        lifetime: settings.lifetime,
    }
}

/// What a migration run is told by the settings.
pub fn migration_settings(config: &Config) -> Settings {
    Settings {
        partitions: config.partitions,
        patience: MIGRATION_PATIENCE,
        lock_timeout: MIGRATION_LOCK_TIMEOUT,
        statement_timeout: Duration::ZERO,
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
        Database::Sqlite { path } => Some(own(path)?.ok_or_else(|| in_use(path))?),
        Database::Postgres { .. } => None,
    };
    metadata.renew_log().await?;
    migrations::ensure_engine(&metadata)
        .await
        .context("check the database server")?;
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

/// Locks a file beside the database; `None`: another process has it. SQLite itself would let two servers in, and each
/// would end the other's uploads.
pub(super) fn own(database: &Path) -> anyhow::Result<Owned> {
    let path = lock_of(database);
    let shown = path.display();
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("open {shown}"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(failed)) => Err(failed).with_context(|| {
            format!(
                "lock {shown}: SQLite needs a file system with locks; move data_dir, or use PostgreSQL (database.url)"
            )
        }),
    }
}

fn lock_of(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    path.into()
}

fn in_use(database: &Path) -> anyhow::Error {
    anyhow!(
        "another server uses the database {}: {} is locked; stop that server, or give this one a data_dir of its own; \
         several servers on the same content need PostgreSQL (database.url)",
        database.display(),
        lock_of(database).display()
    )
}
