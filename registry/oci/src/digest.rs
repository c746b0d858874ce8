//! Content addresses, as image-spec "Descriptors: Digests" writes them, and the hashing behind them.
//!
//! A [`Digest`] is always of an algorithm this registry can compute. The one place where another algorithm may appear
//! is the `subject` of a manifest, which need not exist here: that is a [`crate::SubjectDigest`].

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

    pub(crate) fn from_parts(text: &str, algorithm: Algorithm, encoded: &str) -> Result<Self, DigestError> {
        if encoded.bytes().any(|byte| !matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(DigestError::malformed(text, "the hash is not lower-case hexadecimal"));
        }
        let wrong_length = match algorithm {
            Algorithm::Sha256 => "the hash of a sha256 digest has 64 digits",
            Algorithm::Sha512 => "the hash of a sha512 digest has 128 digits",
        };
        let mut hash = [0; SHA512_LENGTH];
        let hash = &mut hash[..algorithm.hash_length()];
        // The length is looked at, too.
        hex::decode_to_slice(encoded, hash)
            .ok()
            .and_then(|()| Self::from_hash(algorithm, hash))
            .ok_or_else(|| DigestError::malformed(text, wrong_length))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 2 * SHA512_LENGTH];
        let digits = &mut digits[..2 * self.hash().len()];
        hex::encode_to_slice(self.hash(), digits).map_err(|_wrong_length| fmt::Error)?;
        f.write_str(self.algorithm().as_str())?;
        f.write_str(":")?;
        f.write_str(str::from_utf8(digits).map_err(|_not_ascii| fmt::Error)?)
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

/// Checks the grammar common to all algorithms and returns what stands before and after the colon.
pub(crate) fn split(text: &str) -> Result<(&str, &str), DigestError> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Algorithm, Digest, DigestError};

    const EMPTY_SHA256: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const EMPTY_SHA512: &str = "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce\
                                47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e";

    fn digests() -> impl Strategy<Value = Digest> {
        let of = |algorithm| move |content: Vec<u8>| Digest::of(algorithm, &content);
        prop_oneof![
            any::<Vec<u8>>().prop_map(of(Algorithm::Sha256)),
            any::<Vec<u8>>().prop_map(of(Algorithm::Sha512)),
        ]
    }

    #[test]
    fn the_digest_of_nothing_is_the_published_one() {
        assert_eq!(Digest::of(Algorithm::Sha256, b"").to_string(), EMPTY_SHA256);
        assert_eq!(Digest::of(Algorithm::Sha512, b"").to_string(), EMPTY_SHA512);
    }

    #[test]
    fn a_digest_that_breaks_the_grammar_is_malformed() {
        let hash = &EMPTY_SHA256["sha256:".len()..];
        let wrong = [
            String::new(),
            ":".to_owned(),
            "sha256".to_owned(),
            "sha256:".to_owned(),
            format!(":{hash}"),
            format!("sha256:{}", &hash[1..]),
            format!("sha256:{hash}0"),
            format!("sha256:{}", hash.to_uppercase()),
            format!("SHA256:{hash}"),
            format!("sha256:sha256:{hash}"),
            format!("sha256:{}g", &hash[1..]),
            format!("sha256:{}\u{0435}", &hash[2..]),
            format!(" sha256:{hash}"),
            format!("sha256:{hash}\n"),
            format!("sha256:{hash}\0"),
            format!("sha256::{hash}"),
            format!("sha512:{hash}"),
            format!("sha256+:{hash}"),
            format!("+sha256:{hash}"),
            format!("sha256++b64:{hash}"),
            format!("sha256/b64:{hash}"),
            "sha256:baddigeststring".to_owned(),
            format!("sha256:{}/..", &hash[3..]),
            format!("md5:{}", "a".repeat(300)),
        ];
        for text in wrong {
            assert!(
                matches!(text.parse::<Digest>(), Err(DigestError::Malformed { .. })),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_digest_of_another_algorithm_is_unsupported_and_not_malformed() {
        for (text, algorithm) in [
            ("blake3:af1349b9f5f9a1a6a0404dea36dcc949", "blake3"),
            ("md5:d41d8cd98f00b204e9800998ecf8427e", "md5"),
            ("sha384:38B060A751AC", "sha384"),
            ("sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564", "sha256+b64u"),
            (
                "multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8=",
                "multihash+base58",
            ),
        ] {
            let unsupported = DigestError::UnsupportedAlgorithm {
                algorithm: algorithm.to_owned(),
            };
            assert_eq!(text.parse::<Digest>(), Err(unsupported), "{text}");
        }
    }

    #[test]
    fn an_error_repeats_only_the_beginning_of_a_huge_text() {
        let error = "x".repeat(1 << 20).parse::<Digest>().unwrap_err();

        assert!(error.to_string().len() < 300);
    }

    #[test]
    fn an_error_shows_control_characters_escaped() {
        let error = "sha256:\r\n\u{1b}[31m\u{202e}".parse::<Digest>().unwrap_err();

        assert!(error.to_string().is_ascii(), "{error}");
        assert!(!error.to_string().contains(char::is_control), "{error}");
    }

    #[test]
    fn the_stored_form_is_one_byte_for_the_algorithm_and_the_hash() {
        let bytes = Digest::of(Algorithm::Sha256, b"").to_bytes();
        assert_eq!((bytes[0], bytes.len()), (0x01, 33));

        let bytes = Digest::of(Algorithm::Sha512, b"").to_bytes();
        assert_eq!((bytes[0], bytes.len()), (0x02, 65));
    }

    #[test]
    fn stored_bytes_of_any_other_form_are_refused() {
        let whole = Digest::of(Algorithm::Sha256, b"").to_bytes();
        let foreign = [&[0x00], &whole[1..]].concat();
        let unknown = [&[0x03], &whole[1..]].concat();
        let longer = [whole.as_slice(), &[0]].concat();
        for bytes in [&[], &whole[..32], &foreign, &unknown, &longer, &[0x01][..]] {
            assert_eq!(
                Digest::from_bytes(bytes),
                Err(DigestError::Stored { length: bytes.len() })
            );
        }
    }

    #[test]
    fn an_algorithm_is_known_by_its_name_only() {
        assert_eq!("sha512".parse(), Ok(Algorithm::Sha512));
        assert!(matches!(
            "sha1".parse::<Algorithm>(),
            Err(DigestError::UnsupportedAlgorithm { .. })
        ));
        assert!(matches!(
            "SHA256".parse::<Algorithm>(),
            Err(DigestError::Malformed { .. })
        ));
        assert!(matches!("".parse::<Algorithm>(), Err(DigestError::Malformed { .. })));
    }

    #[test]
    fn json_holds_a_digest_as_its_text() {
        let json = serde_json::to_string(&Digest::of(Algorithm::Sha256, b"")).unwrap();

        assert_eq!(json, format!("{EMPTY_SHA256:?}"));
        assert_eq!(serde_json::from_str::<Digest>(&json).unwrap().to_string(), EMPTY_SHA256);
        assert!(serde_json::from_str::<Digest>(r#""sha256:no""#).is_err());
    }

    proptest! {
        #[test]
        fn text_is_parsed_back(digest in digests()) {
            prop_assert_eq!(digest.to_string().parse(), Ok(digest));
        }

        #[test]
        fn stored_bytes_are_read_back(digest in digests()) {
            prop_assert_eq!(Digest::from_bytes(&digest.to_bytes()), Ok(digest));
        }

        #[test]
        fn order_is_that_of_text_and_of_stored_bytes(one in digests(), other in digests()) {
            prop_assert_eq!(one.cmp(&other), one.to_string().cmp(&other.to_string()));
            prop_assert_eq!(one.cmp(&other), one.to_bytes().cmp(&other.to_bytes()));
        }

        #[test]
        fn whatever_parses_is_written_the_same(text in "(sha256|sha512|md5|SHA256)?:?[0-9a-fA-F]{60,130}") {
            if let Ok(digest) = text.parse::<Digest>() {
                prop_assert_eq!(digest.to_string(), text);
            }
        }
    }
}
