//! The workflows as the settings want them.

use crate::blobs::BlobStore;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::distribution::{Deletion, Distribution, Limits, Rules, Sparse};
use crate::metadata::Metadata;

pub(super) fn distribution(config: &Config, metadata: Metadata, store: BlobStore, clock: Clock) -> Distribution {
    Distribution::new(metadata, store, clock, limits(config), rules(config))
}

fn limits(config: &Config) -> Limits {
    let manifests = &config.manifests;
    let whole = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    Limits {
        upload_expiry: config.uploads.expiry,
        blob_size: config.uploads.max_size,
        manifest_size: usize::try_from(manifests.max_size).unwrap_or(usize::MAX),
        references: whole(manifests.max_references),
        tags: whole(manifests.max_tags),
        deletion_retention: config.deletion.retention,
        ..Limits::default()
    }
}

fn rules(config: &Config) -> Rules {
    Rules {
        deletion: Deletion {
            tags: config.deletion.tags,
            manifests: config.deletion.manifests,
            blobs: config.deletion.blobs,
        },
        sparse: match config.manifests.sparse {
            config::Sparse::Strict => Sparse::Strict,
            config::Sparse::Index => Sparse::Index,
            config::Sparse::All => Sparse::All,
        },
        catalog: config.catalog,
    }
}
