//! Content addresses, as image-spec "Descriptors: Digests" writes them, and the hashing behind them.
//!
//! A [`Digest`] is always of an algorithm this registry can compute. The one place where another algorithm may appear
//! is the `subject` of a manifest, which need not exist here: that is a [`SubjectDigest`].

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer};
use serde::{Serialize, Serializer};
use thiserror::Error;

use crate::Digester;
use crate::excerpt::excerpt;

/// Longest digest text accepted, in bytes.
///
/// The longest registered form has 135; an index row and a response header have to hold it.
pub const MAX_DIGEST_LENGTH: usize = 255;

const SHA256_LENGTH: usize = 32;
const SHA512_LENGTH: usize = 64;
const FOREIGN_PREFIX: u8 = 0x00;

/// A hash algorithm that can address content here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256, the default.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// Every supported algorithm, in the order of their byte prefixes.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// The name before the colon of a digest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Length of the raw hash, in bytes.
    pub const fn hash_length(self) -> usize {
        match self {
            Self::Sha256 => SHA256_LENGTH,
            Self::Sha512 => SHA512_LENGTH,
        }
    }

    /// The byte that stands for this algorithm in stored digests and hash states; never changes.
    pub(crate) const fn prefix(self) -> u8 {
        match self {
            Self::Sha256 => 0x01,
            Self::Sha512 => 0x02,
        }
    }

    pub(crate) fn from_prefix(prefix: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.prefix() == prefix)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = DigestError;

    /// Reads the value of `digest-algorithm`.
    fn from_str(text: &str) -> Result<Self, DigestError> {
        if let Some(known) = Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == text) {
            return Ok(known);
        }
        if is_algorithm(text) {
            Err(DigestError::UnsupportedAlgorithm {
                algorithm: excerpt(text),
            })
        } else {
            Err(DigestError::malformed(
                text,
                "the algorithm is not lower-case letters and digits",
            ))
        }
    }
}

/// Why a text or a stored value is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DigestError {
    /// The text does not fit the grammar, or the hash does not fit its algorithm.
    #[error("{text:?} is not a digest: {reason}")]
    Malformed {
        /// The refused text, shortened.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The text fits the grammar but names an algorithm that is not supported.
    #[error("digest algorithm {algorithm:?} is not supported; use sha256 or sha512")]
    UnsupportedAlgorithm {
        /// The name before the colon, shortened.
        algorithm: String,
    },
    /// Stored bytes are not what `to_bytes` writes.
    #[error("a stored value of {length} bytes is not a digest")]
    Stored {
        /// How many bytes there were.
        length: usize,
    },
}

impl DigestError {
    fn malformed(text: &str, reason: &'static str) -> Self {
        Self::Malformed {
            text: excerpt(text),
            reason,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum HashValue {
    Sha256([u8; SHA256_LENGTH]),
    Sha512([u8; SHA512_LENGTH]),
}

/// The address of some content: an algorithm and the hash it gives.
///
/// The same bytes under two algorithms are two addresses. Ordered as their texts are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(HashValue);

impl Digest {
    /// The digest of `content`.
    pub fn of(algorithm: Algorithm, content: &[u8]) -> Self {
        let mut digester = Digester::new(algorithm);
        digester.update(content);
        digester.finish()
    }

    pub(crate) const fn sha256(hash: [u8; SHA256_LENGTH]) -> Self {
        Self(HashValue::Sha256(hash))
    }

    pub(crate) const fn sha512(hash: [u8; SHA512_LENGTH]) -> Self {
        Self(HashValue::Sha512(hash))
    }

    /// The algorithm before the colon.
    pub const fn algorithm(&self) -> Algorithm {
        match self.0 {
            HashValue::Sha256(_) => Algorithm::Sha256,
            HashValue::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// The raw hash.
    pub const fn hash(&self) -> &[u8] {
        match &self.0 {
            HashValue::Sha256(hash) => hash,
            HashValue::Sha512(hash) => hash,
        }
    }

    /// The hash as lower-case hexadecimal: what stands after the colon.
    pub fn hex(&self) -> String {
        hex::encode(self.hash())
    }

    /// The stored form: one byte for the algorithm (0x01 sha256, 0x02 sha512), then the raw hash.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1 + self.hash().len());
        bytes.push(self.algorithm().prefix());
        bytes.extend_from_slice(self.hash());
        bytes
    }

    /// Reads what [`Digest::to_bytes`] wrote.
    ///
    /// # Errors
    /// `Stored` when the prefix is unknown or the length does not fit it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DigestError> {
        let stored = || DigestError::Stored { length: bytes.len() };
        let (&prefix, hash) = bytes.split_first().ok_or_else(stored)?;
        let algorithm = Algorithm::from_prefix(prefix).ok_or_else(stored)?;
        Self::from_hash(algorithm, hash).ok_or_else(stored)
    }

    /// The digest with this raw hash; `None` if its length is not the algorithm's.
    pub fn from_hash(algorithm: Algorithm, hash: &[u8]) -> Option<Self> {
        match algorithm {
            Algorithm::Sha256 => hash.try_into().ok().map(Self::sha256),
            Algorithm::Sha512 => hash.try_into().ok().map(Self::sha512),
        }
    }

    fn from_parts(text: &str, algorithm: Algorithm, encoded: &str) -> Result<Self, DigestError> {
        if encoded.bytes().any(|byte| !matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(DigestError::malformed(text, "the hash is not lower-case hexadecimal"));
        }
        let wrong_length = match algorithm {
            Algorithm::Sha256 => "the hash of a sha256 digest has 64 digits",
            Algorithm::Sha512 => "the hash of a sha512 digest has 128 digits",
        };
        hex::decode(encoded)
            .ok()
            .and_then(|hash| Self::from_hash(algorithm, &hash))
            .ok_or_else(|| DigestError::malformed(text, wrong_length))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (algorithm, encoded) = split(text)?;
        Self::from_parts(text, algorithm.parse()?, encoded)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The digest in a manifest's `subject`: right by grammar, possibly of an algorithm that is not supported here.
///
/// Such a subject can never be pushed to this registry, but its referrers may be (distribution-spec: "Pushing manifests
/// with subject").
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectDigest(Subject);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Subject {
    Foreign(String),
    Supported(Digest),
}

impl SubjectDigest {
    /// The digest, when its algorithm is supported.
    pub const fn supported(&self) -> Option<Digest> {
        match &self.0 {
            Subject::Supported(digest) => Some(*digest),
            Subject::Foreign(_) => None,
        }
    }

    /// The stored form: that of [`Digest::to_bytes`], or one zero byte and the text.
    pub fn to_bytes(&self) -> Vec<u8> {
        match &self.0 {
            Subject::Supported(digest) => digest.to_bytes(),
            Subject::Foreign(text) => [&[FOREIGN_PREFIX], text.as_bytes()].concat(),
        }
    }

    /// Reads what [`SubjectDigest::to_bytes`] wrote.
    ///
    /// # Errors
    /// `Stored` when the bytes are not of that form; `Malformed` when the text kept in them is no digest.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DigestError> {
        let Some((&FOREIGN_PREFIX, text)) = bytes.split_first() else {
            return Digest::from_bytes(bytes).map(Self::from);
        };
        let subject: Self = std::str::from_utf8(text)
            .map_err(|_not_text| DigestError::Stored { length: bytes.len() })?
            .parse()?;
        match subject.supported() {
            // One digest must have one stored form, or a look-up by bytes misses.
            Some(_) => Err(DigestError::Stored { length: bytes.len() }),
            None => Ok(subject),
        }
    }
}

impl From<Digest> for SubjectDigest {
    fn from(digest: Digest) -> Self {
        Self(Subject::Supported(digest))
    }
}

impl fmt::Display for SubjectDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Subject::Supported(digest) => digest.fmt(f),
            Subject::Foreign(text) => f.write_str(text),
        }
    }
}

impl FromStr for SubjectDigest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (algorithm, encoded) = split(text)?;
        match algorithm.parse() {
            Ok(algorithm) => Digest::from_parts(text, algorithm, encoded).map(Self::from),
            Err(_unsupported) => Ok(Self(Subject::Foreign(text.to_owned()))),
        }
    }
}

/// Checks the grammar common to all algorithms and returns what stands before and after the colon.
fn split(text: &str) -> Result<(&str, &str), DigestError> {
    if text.len() > MAX_DIGEST_LENGTH {
        return Err(DigestError::malformed(text, "it is longer than 255 characters"));
    }
    let Some((algorithm, encoded)) = text.split_once(':') else {
        return Err(DigestError::malformed(text, "there is no colon after an algorithm"));
    };
    if !is_algorithm(algorithm) {
        return Err(DigestError::malformed(
            text,
            "the algorithm is not lower-case letters and digits",
        ));
    }
    if !is_encoded(encoded) {
        return Err(DigestError::malformed(
            text,
            "the hash is empty or has characters no hash has",
        ));
    }
    Ok((algorithm, encoded))
}

/// Whether `text` is runs of lower-case letters and digits, joined by one of `+ . _ -` each.
fn is_algorithm(text: &str) -> bool {
    text.split(['+', '.', '_', '-']).all(|run| {
        !run.is_empty()
            && run
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    })
}

fn is_encoded(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'=' | b'_' | b'-'))
}
