//! The digest of a `subject` (image-spec "Image Manifest", distribution-spec "Pushing Manifests with Subject").

use std::fmt;
use std::str::FromStr;

use crate::digest::split;
use crate::{Digest, DigestError};

/// First byte of the stored form of a digest whose algorithm is not supported; never changes.
const FOREIGN_PREFIX: u8 = 0x00;

/// The digest in a manifest's `subject`: right by grammar, possibly of an algorithm that is not supported here.
///
/// Such a subject can never be pushed to this registry, but its referrers may be, and are listed under this text.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::SubjectDigest;
    use crate::{Algorithm, Digest, DigestError};

    const FOREIGN: &str = "sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564";

    #[test]
    fn a_supported_digest_is_stored_as_any_digest() {
        let digest = Digest::of(Algorithm::Sha512, b"subject");
        let subject: SubjectDigest = digest.to_string().parse().unwrap();

        assert_eq!(subject.supported(), Some(digest));
        assert_eq!(subject.to_bytes(), digest.to_bytes());
        assert_eq!(subject, SubjectDigest::from(digest));
    }

    #[test]
    fn a_digest_of_another_algorithm_keeps_its_text() {
        let subject: SubjectDigest = FOREIGN.parse().unwrap();

        assert_eq!(subject.supported(), None);
        assert_eq!(subject.to_string(), FOREIGN);
        assert_eq!(subject.to_bytes(), format!("\0{FOREIGN}").into_bytes());
    }

    #[test]
    fn a_wrong_hash_of_a_supported_algorithm_is_malformed() {
        for text in [
            "sha256:abc",
            "sha512:ABC",
            "sha256:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564",
        ] {
            assert!(
                matches!(text.parse::<SubjectDigest>(), Err(DigestError::Malformed { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn what_breaks_the_grammar_is_malformed() {
        let too_long = format!("md5:{}", "0".repeat(252));
        for text in [
            "",
            "md5",
            "md5:",
            ":abc",
            "MD5:abc",
            "md5:a.b",
            "md5:\r\n",
            "md5.:abc",
            "md5--x:abc",
            &too_long,
        ] {
            assert!(
                matches!(text.parse::<SubjectDigest>(), Err(DigestError::Malformed { .. })),
                "{text:?}"
            );
        }
    }

    #[test]
    fn stored_bytes_have_one_form_for_each_digest() {
        let supported_as_text = format!("\0{}", Digest::of(Algorithm::Sha256, b""));

        assert!(SubjectDigest::from_bytes(supported_as_text.as_bytes()).is_err());
        assert!(SubjectDigest::from_bytes(b"\0\xff:abc").is_err());
        assert!(SubjectDigest::from_bytes(b"\0").is_err());
        assert!(SubjectDigest::from_bytes(b"").is_err());
    }

    proptest! {
        #[test]
        fn text_and_stored_bytes_are_read_back(text in "[a-z0-9]{1,5}([+._-][a-z0-9]{1,5}){0,2}:[A-Za-z0-9=_-]{1,70}") {
            prop_assume!(!text.starts_with("sha256:") && !text.starts_with("sha512:"));

            let subject: SubjectDigest = text.parse().unwrap();

            prop_assert_eq!(subject.to_string(), text);
            prop_assert_eq!(SubjectDigest::from_bytes(&subject.to_bytes()), Ok(subject));
        }
    }
}
