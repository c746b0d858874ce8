//! The workflows over fresh stores, with a clock that a test moves and a collector that it turns by hand.

use crate::support::content::sha256;
use crate::support::{migrate, stores};
use berth_registry::blobs::{BlobStore, Options};
use berth_registry::clock::Clock;
use berth_registry::config::{Config, Storage};
use berth_registry::distribution::{
    BodyError, Chunk, Delays, Distribution, Limits, ManifestPut, Reaped, Reviewed, Reviews, Rules,
};
use berth_registry::metadata::Metadata;
use berth_registry::metadata::blobs::Place;
use berth_registry::server;
use bytes::Bytes;
use futures::stream;
use oci::{Digest, Reference, RepositoryName};
use std::path::Path;
use std::time::Duration;

pub(crate) const HOUR: Duration = Duration::from_hours(1);
pub(crate) const DAY: Duration = Duration::from_hours(24);
pub(crate) const REPOSITORY: &str = "team/app";
const BATCH: u32 = 100;

pub(crate) struct World {
    pub(crate) distribution: Distribution,
    pub(crate) metadata: Metadata,
    pub(crate) store: BlobStore,
    pub(crate) clock: Clock,
    pub(crate) config: Config,
    _folder: tempfile::TempDir,
}

/// No grace and no quarantine, and promises that end at once: what protects is the protocol alone.
pub(crate) fn hasty() -> Limits {
    Limits {
        delays: Delays::all(Duration::ZERO),
        quarantine: Duration::ZERO,
        lease: Duration::from_micros(1),
        ..Limits::default()
    }
}

impl World {
    pub(crate) async fn new(limits: Limits, rules: Rules) -> Self {
        let (config, folder) = stores::fresh().await;
        migrate(&config).await;
        let metadata = Metadata::connect(&server::database_target(&config.database))
            .await
            .unwrap();
        let store = BlobStore::open(&server::store_target(&config.storage), &Options::default())
            .await
            .unwrap();
        let clock = Clock::standing_at(1_000_000_000_000_000);
        let distribution = Distribution::new(metadata.clone(), store.clone(), clock.clone(), limits, rules);
        Self {
            distribution,
            metadata,
            store,
            clock,
            config,
            _folder: folder,
        }
    }

    pub(crate) async fn hasty() -> Self {
        Self::new(hasty(), Rules::default()).await
    }

    /// As the settings are when nobody sets any.
    pub(crate) async fn patient() -> Self {
        Self::new(Limits::default(), Rules::default()).await
    }

    /// The same stores under other settings: another replica.
    pub(crate) fn replica(&self, limits: Limits) -> Distribution {
        let (metadata, store) = (self.metadata.clone(), self.store.clone());
        Distribution::new(metadata, store, self.clock.clone(), limits, Rules::default())
    }

    pub(crate) async fn push_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        self.push_blob_with(&self.distribution, repository, bytes).await
    }

    /// By way of another replica.
    pub(crate) async fn push_blob_with(&self, replica: &Distribution, repository: &str, bytes: &[u8]) -> Digest {
        let (name, digest) = (name(repository), sha256(bytes));
        let upload = replica.start_upload(&name).await.unwrap();
        replica
            .finish_upload(&name, upload.id, digest, chunk(bytes))
            .await
            .unwrap();
        digest
    }

    /// Pushes a manifest under a tag, or under its digest when there is none.
    pub(crate) async fn push_manifest(
        &self,
        repository: &str,
        tag: Option<&str>,
        media_type: &str,
        body: &str,
    ) -> Digest {
        let digest = sha256(body.as_bytes());
        let reference: Reference = tag.map_or_else(|| digest.to_string(), str::to_owned).parse().unwrap();
        let put = ManifestPut {
            reference: &reference,
            tags: &[],
            content_type: Some(media_type),
            payload: body.as_bytes(),
        };
        self.distribution.put_manifest(&name(repository), put).await.unwrap();
        digest
    }

    /// Pushes an image with a config and one layer of its own.
    pub(crate) async fn push_image(&self, repository: &str, tag: Option<&str>, seed: &str) -> Image {
        let config = self.push_blob(repository, format!("config of {seed}").as_bytes()).await;
        let layer = self.push_blob(repository, format!("layer of {seed}").as_bytes()).await;
        let body = crate::support::content::image(&config, &[layer]);
        let manifest = self
            .push_manifest(repository, tag, oci::media_type::OCI_MANIFEST, &body)
            .await;
        Image {
            manifest,
            config,
            layer,
        }
    }

    pub(crate) async fn delete(&self, repository: &str, reference: impl ToString) {
        let reference: Reference = reference.to_string().parse().unwrap();
        self.distribution
            .delete_manifest(&name(repository), &reference)
            .await
            .unwrap();
    }

    /// Reviews everything that is due, and what becomes due by that.
    pub(crate) async fn collect(&self) -> Reviewed {
        let mut total = Reviewed::default();
        loop {
            let mut round = Reviewed::default();
            for kind in Reviews::ALL {
                round.add(&self.distribution.review(kind, BATCH).await.unwrap());
            }
            total.add(&round);
            if round.reviewed == 0 {
                return total;
            }
        }
    }

    /// Deletes every object whose time has come.
    pub(crate) async fn reap(&self) -> Reaped {
        let mut total = Reaped::default();
        loop {
            let round = self.distribution.reap(BATCH).await.unwrap();
            total.add(&round);
            if round.claimed == 0 {
                return total;
            }
        }
    }

    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        stores::count(&self.config, sql).await
    }

    pub(crate) async fn execute(&self, sql: &'static str) {
        stores::execute(&self.config, sql).await;
    }

    pub(crate) async fn has_manifest(&self, repository: &str, digest: Digest) -> bool {
        let reference = Reference::Digest(digest);
        self.distribution.manifest(&name(repository), &reference).await.is_ok()
    }

    /// True when the repository gives the blob's bytes out.
    pub(crate) async fn has_blob(&self, repository: &str, digest: Digest) -> bool {
        let Ok(blob) = self.distribution.blob(&name(repository), &digest).await else {
            return false;
        };
        let actual = match &blob.place {
            Place::Object(key) => self.store.hash(key, blob.size, digest.algorithm()).await.unwrap(),
            Place::Row(content) => sha256(content),
        };
        assert_eq!(actual, digest, "a row without its bytes");
        true
    }

    /// Files of the store; `None` where it is no folder.
    pub(crate) fn files(&self) -> Option<usize> {
        match &self.config.storage {
            Storage::Filesystem { root } => Some(files_below(root)),
            Storage::S3(_) | Storage::Azure(_) | Storage::Gcs(_) => None,
        }
    }
}

/// An image that was pushed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Image {
    pub(crate) manifest: Digest,
    pub(crate) config: Digest,
    pub(crate) layer: Digest,
}

pub(crate) fn name(repository: &str) -> RepositoryName {
    repository.parse().unwrap()
}

pub(crate) fn chunk(bytes: &[u8]) -> Chunk<impl futures::Stream<Item = Result<Bytes, BodyError>> + Send + Unpin> {
    Chunk {
        range: None,
        length: None,
        body: stream::iter([Ok(Bytes::copy_from_slice(bytes))]),
    }
}

fn files_below(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap();
    let count = |entry: std::fs::DirEntry| {
        let path = entry.path();
        if path.is_dir() { files_below(&path) } else { 1 }
    };
    entries.map(|entry| count(entry.unwrap())).sum()
}
