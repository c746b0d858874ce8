//! What a registry allows, as its settings say.

use super::Untagged;
use oci::ReferenceKind;

/// What a registry allows.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// What clients may delete.
    pub deletion: Deletion,
    /// What a manifest may name although the repository does not have it.
    pub sparse: Sparse,
    /// Whether the list of repositories is shown.
    pub catalog: bool,
    /// What becomes of manifests without a tag.
    pub untagged: Untagged,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            deletion: Deletion {
                tags: true,
                manifests: true,
                blobs: true,
            },
            sparse: Sparse::Strict,
            catalog: true,
            untagged: Untagged::Collect,
        }
    }
}

/// What clients may delete.
#[derive(Debug, Clone, Copy)]
pub struct Deletion {
    /// A tag; its manifest stays.
    pub tags: bool,
    /// A manifest by its digest, with its tags.
    pub manifests: bool,
    /// A repository's blob that no manifest of it names.
    pub blobs: bool,
}

/// What a manifest may name although the repository does not have it, beside layers that live elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sparse {
    /// Nothing.
    Strict,
    /// The manifests that an index lists.
    Index,
    /// Manifests and blobs.
    All,
}

impl Sparse {
    /// Whether a reference of this kind may lead nowhere.
    pub(super) fn allows(self, kind: ReferenceKind) -> bool {
        match self {
            Self::Strict => false,
            Self::Index => kind == ReferenceKind::Child,
            Self::All => true,
        }
    }
}
