//! Damage to stored objects, behind the registry's back, in any store.
#![expect(clippy::unwrap_used, reason = "a test's tool stops where it fails")]

use super::content::sha256;
use super::migrate;
use berth_registry::blobs::{BlobStore, ClaimError, End, Options, Position, WriteClaim};
use berth_registry::config::Config;
use berth_registry::metadata::{Metadata, scrub};
use berth_registry::server;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream;
use oci::Digest;
use std::convert::Infallible;

/// The right to write, which nobody else wants.
struct Held;

impl WriteClaim for Held {
    fn confirm(&self) -> BoxFuture<'static, Result<(), ClaimError>> {
        Box::pin(async { Ok(()) })
    }

    async fn multipart_begun(&self, _: &str, _: &str) -> Result<(), ClaimError> {
        Ok(())
    }
}

/// The rows and the objects of a configuration.
pub(crate) struct Objects {
    pub(crate) config: Config,
    pub(crate) metadata: Metadata,
    pub(crate) store: BlobStore,
}

impl Objects {
    pub(crate) async fn open(config: &Config) -> Self {
        migrate(config).await;
        let metadata = Metadata::connect(&server::database_target(&config.database)).await;
        let store = BlobStore::open(&server::store_target(&config.storage), &Options::default()).await;
        Self {
            config: config.clone(),
            metadata: metadata.unwrap(),
            store: store.unwrap(),
        }
    }

    pub(crate) async fn key(&self, digest: &Digest) -> String {
        let mut reader = self.metadata.read().await.unwrap();
        let all = scrub::blobs(&mut reader, None, 100_000).await.unwrap();
        let blob = all.into_iter().find(|blob| blob.digest == *digest).unwrap();
        // None: the test must ask for objects, as small blobs are kept in rows.
        blob.place.object_key().unwrap().to_owned()
    }

    pub(crate) async fn delete(&self, digest: &Digest) {
        self.store.delete(&self.key(digest).await).await.unwrap();
    }

    pub(crate) async fn overwrite(&self, digest: &Digest, content: &[u8]) {
        append_to(&self.store, &self.key(digest).await, content).await;
    }
}

/// Makes or replaces an object.
pub(crate) async fn append_to(store: &BlobStore, key: &str, content: &[u8]) {
    let at = Position {
        object_key: key.to_owned(),
        claim: 1,
        ..Position::default()
    };
    let body = stream::iter([Ok::<_, Infallible>(Bytes::copy_from_slice(content))]);
    let end = End::Last(sha256(content));
    store.append(at, body, end, &Held).await.unwrap();
}
