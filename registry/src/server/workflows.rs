//! The workflows as the settings want them.

use crate::blobs::BlobStore;
use crate::clock::Clock;
use crate::config::{self, Config, RedirectMode};
use crate::distribution::{Budget, Delays, Deletion, Distribution, Limits, Rules, Sparse, Untagged};
use crate::metadata::Metadata;
use std::time::Duration;

pub(super) fn distribution(config: &Config, metadata: Metadata, store: BlobStore, clock: Clock) -> Distribution {
    Distribution::new(metadata, store, clock, limits(config), rules(config))
}

fn limits(config: &Config) -> Limits {
    let manifests = &config.manifests;
    let whole = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    Limits {
        upload_expiry: config.uploads.expiry,
        blob_size: config.uploads.max_size,
        in_row: config.inline_size,
        manifest_size: usize::try_from(manifests.max_size).unwrap_or(usize::MAX),
        references: whole(manifests.max_references),
        tags: whole(manifests.max_tags),
        deletion_retention: config.deletion.retention,
        delays: delays(&config.collection.delays),
        lease: config.collection.lease,
        quarantine: quarantine(config),
        budget: Budget {
            objects: config.collection.objects_per_hour,
            bytes: config.collection.bytes_per_hour,
        },
        ..Limits::default()
    }
}

/// Never shorter than a client may begin to fetch from a URL that it was given.
fn quarantine(config: &Config) -> Duration {
    let asked = config.collection.quarantine;
    match config.redirect.mode {
        RedirectMode::Never => asked,
        RedirectMode::Always | RedirectMode::Matching { .. } => asked.max(config.redirect.lifetime),
    }
}

fn delays(settings: &config::Delays) -> Delays {
    Delays {
        blob_upload: settings.blob_upload,
        manifest_upload: settings.manifest_upload,
        tag_switch: settings.tag_switch,
        tag_delete: settings.tag_delete,
        manifest_delete: settings.manifest_delete,
        manifest_list_delete: settings.manifest_list_delete,
        blob_unlink: settings.blob_unlink,
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
        untagged: if config.collection.keep_untagged {
            Untagged::Keep
        } else {
            Untagged::Collect
        },
    }
}
