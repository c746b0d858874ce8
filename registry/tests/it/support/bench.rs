//! The workflows without HTTP, over stores of their own and a clock that stands.
#![expect(clippy::unwrap_used, reason = "a test's tool stops where it fails")]

use super::content::{image, sha256};
use super::{migrate, stores};
use berth_registry::blobs::{BlobStore, Options};
use berth_registry::clock::Clock;
use berth_registry::config::Config;
use berth_registry::distribution::{Chunk, Distribution, Limits, ManifestPut, Rules};
use berth_registry::metadata::Metadata;
use berth_registry::server;
use bytes::Bytes;
use futures::stream;
use oci::{Digest, Reference, RepositoryName, media_type};

pub(crate) struct Bench {
    pub(crate) config: Config,
    pub(crate) metadata: Metadata,
    pub(crate) distribution: Distribution,
    pub(crate) clock: Clock,
    limits: Limits,
    _folder: tempfile::TempDir,
}

impl Bench {
    pub(crate) async fn with(limits: Limits) -> Self {
        let (config, folder) = stores::fresh().await;
        migrate(&config).await;
        let metadata = Metadata::connect(&server::database_target(&config.database))
            .await
            .unwrap();
        let clock = Clock::standing_at(1_000_000_000_000_000);
        Self {
            distribution: workflows(&config, &metadata, &clock, &limits).await,
            config,
            metadata,
            clock,
            limits,
            _folder: folder,
        }
    }

    /// The workflows of another replica, or of a process that starts after a crash.
    pub(crate) async fn another(&self) -> Distribution {
        workflows(&self.config, &self.metadata, &self.clock, &self.limits).await
    }

    pub(crate) async fn push_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let (digest, repository) = (sha256(bytes), named(repository));
        let upload = self.distribution.start_upload(&repository).await.unwrap();
        let chunk = Chunk {
            range: None,
            length: None,
            body: stream::iter([Ok(Bytes::copy_from_slice(bytes))]),
        };
        let finished = self.distribution.finish_upload(&repository, upload.id, digest, chunk);
        finished.await.unwrap();
        digest
    }

    pub(crate) async fn put(&self, repository: &str, tag: &str, media_type: &str, body: &str) -> Digest {
        let put = ManifestPut {
            reference: &Reference::Tag(tag.parse().unwrap()),
            tags: &[],
            content_type: Some(media_type),
            payload: body.as_bytes(),
        };
        let stored = self.distribution.put_manifest(&named(repository), put).await.unwrap();
        stored.digest
    }

    /// An image of one layer.
    pub(crate) async fn push_image(&self, repository: &str, tag: &str) -> Digest {
        let config = self.push_blob(repository, b"{}").await;
        let layer = self.push_blob(repository, b"layer").await;
        let body = image(&config, &[layer]);
        self.put(repository, tag, media_type::OCI_MANIFEST, &body).await
    }

    pub(crate) async fn delete(&self, repository: &str, reference: &str) {
        let (repository, reference) = (named(repository), reference.parse().unwrap());
        let deleted = self.distribution.delete_manifest(&repository, &reference);
        deleted.await.unwrap();
    }

    pub(crate) async fn rows(&self, sql: &'static str) -> i64 {
        stores::count(&self.config, sql).await
    }
}

async fn workflows(config: &Config, metadata: &Metadata, clock: &Clock, limits: &Limits) -> Distribution {
    let store = BlobStore::open(&server::store_target(&config.storage), &Options::default())
        .await
        .unwrap();
    Distribution::new(metadata.clone(), store, clock.clone(), limits.clone(), Rules::default())
}

pub(crate) fn named(repository: &str) -> RepositoryName {
    repository.parse().unwrap()
}
