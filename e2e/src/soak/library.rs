//! Everything that is ever pushed, known before the first request, so that every byte that comes back can be judged.
//!
//! The collection is small on purpose: the same content is pushed, deleted, collected and pushed again all the time, by
//! clients who do not know of each other. It is large enough that, at any time, much of it is nowhere in use.

use std::{collections::HashMap, fmt};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::random::Random;

pub(super) const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// The types of what refers to a subject.
pub(super) const ARTIFACT_TYPES: [&str; 2] = ["application/x.signature", "application/x.statement"];

const BLOBS: usize = 160;
const IMAGES: usize = 96;
const INDEXES: usize = 12;
const REFERRERS: usize = 28;
/// More than one part of a multipart upload.
const LARGE: usize = 9 * 1024 * 1024 + 17;

/// A blob's place in the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct BlobId(pub(super) usize);

/// A manifest's place in the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ManifestId(pub(super) usize);

impl fmt::Display for BlobId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "b{}", self.0)
    }
}

impl fmt::Display for ManifestId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "m{}", self.0)
    }
}

/// Bytes and their name.
#[derive(Debug)]
pub(super) struct Blob {
    pub(super) digest: String,
    pub(super) bytes: Vec<u8>,
}

/// A manifest, and what it refers to.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) digest: String,
    pub(super) bytes: Vec<u8>,
    pub(super) media_type: &'static str,
    /// Configuration and layers.
    pub(super) blobs: Vec<BlobId>,
    /// Those that an index lists.
    pub(super) children: Vec<ManifestId>,
    pub(super) subject: Option<ManifestId>,
    pub(super) artifact_type: Option<&'static str>,
}

/// What a digest stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    Blob(BlobId),
    Manifest(ManifestId),
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Library {
    pub(super) blobs: Vec<Blob>,
    pub(super) manifests: Vec<Manifest>,
    names: HashMap<String, Named>,
}

impl Library {
    /// The collection of a seed.
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed, u64::MAX);
        let mut library = Self::default();
        for number in 0..BLOBS {
            let size = size_of(number, &mut random);
            library.add_blob(random.bytes(size));
        }
        for _ in 0..IMAGES {
            let layers = 1 + random.below(3);
            let blobs = library.some_blobs(layers + 1, &mut random);
            library.add_image(blobs, None);
        }
        for _ in 0..INDEXES {
            let first = random.below(IMAGES);
            let second = (first + 1 + random.below(IMAGES - 1)) % IMAGES;
            library.add_index(vec![ManifestId(first), ManifestId(second)]);
        }
        for number in 0..REFERRERS {
            // Most refer to images, some to indexes, some to each other.
            let subject = match number % 7 {
                5 => IMAGES + random.below(INDEXES),
                6 => library.manifests.len() - 1,
                _ => random.below(IMAGES / 2),
            };
            let blobs = library.some_blobs(2, &mut random);
            let kind = ARTIFACT_TYPES[number % ARTIFACT_TYPES.len()];
            library.add_image(blobs, Some((ManifestId(subject), kind)));
        }
        library
    }

    pub(super) fn blob(&self, id: BlobId) -> &Blob {
        &self.blobs[id.0]
    }

    pub(super) fn manifest(&self, id: ManifestId) -> &Manifest {
        &self.manifests[id.0]
    }

    pub(super) fn manifest_ids(&self) -> impl Iterator<Item = ManifestId> + use<> {
        (0..self.manifests.len()).map(ManifestId)
    }

    /// Those without a subject: images and indexes.
    pub(super) fn roots(&self) -> Vec<ManifestId> {
        let is_root = |id: &ManifestId| self.manifest(*id).subject.is_none();
        self.manifest_ids().filter(is_root).collect()
    }

    /// Those with a subject.
    pub(super) fn referrers(&self) -> Vec<ManifestId> {
        let refers = |id: &ManifestId| self.manifest(*id).subject.is_some();
        self.manifest_ids().filter(refers).collect()
    }

    /// What the digest stands for; None for what was never pushed.
    pub(super) fn named(&self, digest: &str) -> Option<Named> {
        self.names.get(digest).copied()
    }

    pub(super) fn manifest_named(&self, digest: &str) -> Option<ManifestId> {
        match self.named(digest)? {
            Named::Manifest(id) => Some(id),
            Named::Blob(_) => None,
        }
    }

    pub(super) fn blob_named(&self, digest: &str) -> Option<BlobId> {
        match self.named(digest)? {
            Named::Blob(id) => Some(id),
            Named::Manifest(_) => None,
        }
    }

    /// Adds a blob.
    pub(super) fn add_blob(&mut self, bytes: Vec<u8>) -> BlobId {
        let (id, digest) = (BlobId(self.blobs.len()), sha256(&bytes));
        self.names.insert(digest.clone(), Named::Blob(id));
        self.blobs.push(Blob { digest, bytes });
        id
    }

    /// Adds an image, or what refers to a subject; the first blob is its configuration.
    pub(super) fn add_image(&mut self, blobs: Vec<BlobId>, refers: Option<(ManifestId, &'static str)>) -> ManifestId {
        let described = |(place, id): (usize, &BlobId)| {
            let media_type = if place == 0 { CONFIG } else { LAYER };
            self.descriptor(&self.blob(*id).digest, self.blob(*id).bytes.len(), media_type)
        };
        let mut all: Vec<Value> = blobs.iter().enumerate().map(described).collect();
        let mut manifest = json!({"schemaVersion": 2, "mediaType": IMAGE, "config": all.remove(0), "layers": all});
        manifest["annotations"] = json!({"number": self.manifests.len().to_string()});
        if let Some((subject, kind)) = refers {
            manifest["subject"] = self.manifest_descriptor(subject);
            manifest["artifactType"] = json!(kind);
        }
        self.add_manifest(Manifest {
            digest: String::new(),
            bytes: manifest.to_string().into_bytes(),
            media_type: IMAGE,
            blobs,
            children: Vec::new(),
            subject: refers.map(|(subject, _)| subject),
            artifact_type: refers.map(|(_, kind)| kind),
        })
    }

    /// Adds an index.
    pub(super) fn add_index(&mut self, children: Vec<ManifestId>) -> ManifestId {
        let listed: Vec<Value> = children.iter().map(|child| self.manifest_descriptor(*child)).collect();
        let mut index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed});
        index["annotations"] = json!({"number": self.manifests.len().to_string()});
        self.add_manifest(Manifest {
            digest: String::new(),
            bytes: index.to_string().into_bytes(),
            media_type: INDEX,
            blobs: Vec::new(),
            children,
            subject: None,
            artifact_type: None,
        })
    }

    fn add_manifest(&mut self, manifest: Manifest) -> ManifestId {
        let (id, digest) = (ManifestId(self.manifests.len()), sha256(&manifest.bytes));
        self.names.insert(digest.clone(), Named::Manifest(id));
        self.manifests.push(Manifest { digest, ..manifest });
        id
    }

    /// `count` different blobs.
    fn some_blobs(&self, count: usize, random: &mut Random) -> Vec<BlobId> {
        let mut chosen = Vec::new();
        while chosen.len() < count {
            let id = BlobId(random.below(self.blobs.len()));
            let unfit = chosen.contains(&id) || (chosen.is_empty() && self.blob(id).bytes.len() == LARGE);
            if !unfit {
                chosen.push(id);
            }
        }
        chosen
    }

    fn manifest_descriptor(&self, id: ManifestId) -> Value {
        let manifest = self.manifest(id);
        self.descriptor(&manifest.digest, manifest.bytes.len(), manifest.media_type)
    }

    #[expect(
        clippy::unused_self,
        reason = "reads as what it is: a descriptor of something in the library"
    )]
    fn descriptor(&self, digest: &str, size: usize, media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": digest, "size": size})
    }
}

fn size_of(number: usize, random: &mut Random) -> usize {
    match (number, number % 50) {
        (0, _) => 0,
        (_, 11) => LARGE,
        (_, 3 | 19 | 38) => 200_000 + random.below(200_000),
        _ => 50 + random.below(20_000),
    }
}

/// The digest of bytes.
pub(super) fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_library_and_every_digest_is_found_in_it() {
        let (one, two) = (Library::new(5), Library::new(5));

        assert_eq!(one.manifest(ManifestId(100)).bytes, two.manifest(ManifestId(100)).bytes);
        for id in one.manifest_ids() {
            assert_eq!(one.manifest_named(&one.manifest(id).digest), Some(id));
        }
        assert_eq!(one.referrers().len(), REFERRERS);
        assert_eq!(one.roots().len(), IMAGES + INDEXES);
    }

    #[test]
    fn a_manifest_names_what_the_library_says() {
        let library = Library::new(9);
        let refers = library.referrers()[0];
        let manifest = library.manifest(refers);

        let written: Value = serde_json::from_slice(&manifest.bytes).unwrap();

        let subject = library.manifest(manifest.subject.unwrap());
        assert_eq!(written["subject"]["digest"], subject.digest.as_str());
        assert_eq!(
            written["config"]["digest"],
            library.blob(manifest.blobs[0]).digest.as_str()
        );
    }
}
