//! The one enumeration of what a manifest refers to.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::Manifest;
use crate::media_type::{is_manifest, is_non_distributable};
use crate::{Descriptor, Digest};

/// In which role something is referred to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReferenceKind {
    /// The config of an image: a blob.
    Config,
    /// A layer of an image: a blob.
    Layer,
    /// An entry of an index that is a manifest.
    Child,
    /// An entry of an index that is a blob, as in older build caches.
    IndexBlob,
}

/// One thing a manifest refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceTo {
    /// In which role.
    pub kind: ReferenceKind,
    /// Its address.
    pub digest: Digest,
    /// Its size as the manifest claims it, in bytes; not compared with what is stored.
    pub size: u64,
    /// Its type as the manifest claims it.
    pub media_type: String,
    /// Whether it has to be in the repository before the manifest is.
    pub must_exist: bool,
}

/// What `manifest` refers to, each pair of digest and kind once.
pub(super) fn of(manifest: &Manifest) -> Vec<ReferenceTo> {
    let config = manifest
        .config
        .iter()
        .map(|config| reference(ReferenceKind::Config, config));
    let layers = manifest
        .layers
        .iter()
        .map(|layer| reference(ReferenceKind::Layer, layer));
    let entries = manifest.manifests.iter().map(|entry| {
        let is_child = is_manifest(&entry.media_type);
        reference(
            if is_child {
                ReferenceKind::Child
            } else {
                ReferenceKind::IndexBlob
            },
            entry,
        )
    });
    fold(config.chain(layers).chain(entries))
}

fn reference(kind: ReferenceKind, to: &Descriptor) -> ReferenceTo {
    ReferenceTo {
        kind,
        digest: to.digest,
        size: to.size,
        media_type: to.media_type.clone(),
        must_exist: !may_live_elsewhere(kind, to),
    }
}

/// Layers that clients fetch from another place are not pushed (image-spec "Non-Distributable Layers").
///
/// An index entry that is a blob is a layer too.
fn may_live_elsewhere(kind: ReferenceKind, to: &Descriptor) -> bool {
    match kind {
        ReferenceKind::Layer | ReferenceKind::IndexBlob => !to.urls.is_empty() || is_non_distributable(&to.media_type),
        ReferenceKind::Config | ReferenceKind::Child => false,
    }
}

fn fold(all: impl Iterator<Item = ReferenceTo>) -> Vec<ReferenceTo> {
    let mut folded: Vec<ReferenceTo> = Vec::new();
    let mut places = HashMap::new();
    for reference in all {
        match places.entry((reference.digest, reference.kind)) {
            Entry::Occupied(place) => {
                let first: &mut ReferenceTo = &mut folded[*place.get()];
                first.must_exist |= reference.must_exist;
            }
            Entry::Vacant(place) => {
                place.insert(folded.len());
                folded.push(reference);
            }
        }
    }
    folded
}
