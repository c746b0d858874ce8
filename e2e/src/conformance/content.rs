//! Bytes, digests and media types.

use std::hash::{BuildHasher, Hasher, RandomState};

use sha2::{Digest as _, Sha256, Sha512};

/// `application/octet-stream`
pub(super) const OCTETS: &str = "application/octet-stream";
/// An OCI image manifest.
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An OCI index.
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The configuration of an OCI image.
pub(super) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The empty JSON object.
pub(super) const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// A layer as it is.
pub(super) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// A compressed layer.
pub(super) const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A digest algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// The one that every registry knows.
    Sha256,
    /// The other registered one.
    Sha512,
}

impl Algorithm {
    /// Its name in a digest.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// The digest of `bytes`.
    pub(super) fn digest(self, bytes: &[u8]) -> String {
        let encoded = match self {
            Self::Sha256 => hex::encode(Sha256::digest(bytes)),
            Self::Sha512 => hex::encode(Sha512::digest(bytes)),
        };
        format!("{}:{encoded}", self.name())
    }
}

/// The sha256 digest of `bytes`.
pub(super) fn sha256(bytes: &[u8]) -> String {
    Algorithm::Sha256.digest(bytes)
}

/// Bytes that no run before has sent.
#[derive(Debug)]
pub(super) struct Random {
    seed: u64,
    drawn: u64,
}

impl Random {
    /// Seeded by the system.
    pub(super) fn new() -> Self {
        Self {
            seed: RandomState::new().build_hasher().finish(),
            drawn: 0,
        }
    }

    /// Bytes that do not compress.
    pub(super) fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 64);
        while bytes.len() < length {
            self.drawn += 1;
            let block = [self.seed.to_be_bytes(), self.drawn.to_be_bytes()].concat();
            bytes.extend_from_slice(&Sha512::digest(&block));
        }
        bytes.truncate(length);
        bytes
    }

    /// A word of 16 lower-case letters and digits.
    pub(super) fn word(&mut self) -> String {
        hex::encode(self.bytes(8))
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}
