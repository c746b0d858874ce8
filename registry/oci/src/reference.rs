//! `<reference>` of the manifest endpoints (distribution-spec end-3, end-7, end-9): a tag or a digest.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::excerpt::excerpt;
use crate::{Digest, DigestError};

/// Longest tag, in bytes.
pub const MAX_TAG_LENGTH: usize = 128;

/// A valid tag, ordered byte by byte.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tag(String);

/// A text that is not a tag.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{text:?} is not a tag: 1 to 128 letters, digits, underscores, dots and hyphens, \
     the first of them neither dot nor hyphen"
)]
pub struct TagError {
    /// The refused text, shortened.
    pub text: String,
}

impl Tag {
    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Tag {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = TagError;

    fn from_str(text: &str) -> Result<Self, TagError> {
        if is_tag(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(TagError { text: excerpt(text) })
        }
    }
}

impl TryFrom<String> for Tag {
    type Error = TagError;

    fn try_from(text: String) -> Result<Self, TagError> {
        text.parse()
    }
}

impl From<Tag> for String {
    fn from(tag: Tag) -> Self {
        tag.0
    }
}

fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= MAX_TAG_LENGTH
        && text.as_bytes().split_first().is_some_and(|(&first, rest)| {
            word(first) && rest.iter().all(|&byte| word(byte) || matches!(byte, b'.' | b'-'))
        })
}

/// What a manifest is asked for by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// A name that may move to another manifest.
    Tag(Tag),
    /// The content itself.
    Digest(Digest),
}

/// Why a text is neither a tag nor a digest; a text with a colon was meant as a digest.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReferenceError {
    /// It has no colon, and is not a tag.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// It has a colon, and is not a supported digest.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.contains(':') {
            Ok(Self::Digest(text.parse()?))
        } else {
            Ok(Self::Tag(text.parse()?))
        }
    }
}

impl From<Tag> for Reference {
    fn from(tag: Tag) -> Self {
        Self::Tag(tag)
    }
}

impl From<Digest> for Reference {
    fn from(digest: Digest) -> Self {
        Self::Digest(digest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Reference, ReferenceError, Tag};
    use crate::{Algorithm, Digest, DigestError};

    #[test]
    fn tags_that_fit_the_grammar_are_kept_as_they_are() {
        let longest = "9".repeat(128);
        for text in [
            "a",
            "A",
            "_",
            "0",
            "latest",
            "v1.2.3-rc.1_build",
            "_.",
            "a--..__",
            "sha256-abc.sig",
            &longest,
        ] {
            assert_eq!(text.parse::<Tag>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn tags_outside_the_grammar_are_refused() {
        let too_long = "9".repeat(129);
        for text in [
            "",
            ".a",
            "-a",
            "a+b",
            "a b",
            "a/b",
            "a\n",
            "a\0",
            "ä",
            "a\u{202e}",
            "a:b",
            "a@b",
            "a%20",
            &too_long,
        ] {
            assert!(text.parse::<Tag>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn tags_are_ordered_by_bytes() {
        let mut tags: Vec<Tag> = ["b", "a", "_", "B", "1.0", "1-0", "1_0", "10"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        tags.sort();

        let sorted: Vec<&str> = tags.iter().map(Tag::as_str).collect();
        assert_eq!(sorted, ["1-0", "1.0", "10", "1_0", "B", "_", "a", "b"]);
    }

    #[test]
    fn a_reference_without_a_colon_is_a_tag() {
        assert_eq!("latest".parse(), Ok(Reference::Tag("latest".parse().unwrap())));
        assert!(matches!("-x".parse::<Reference>(), Err(ReferenceError::Tag(_))));
    }

    #[test]
    fn a_reference_with_a_colon_is_a_digest() {
        let digest = Digest::of(Algorithm::Sha256, b"x");
        assert_eq!(digest.to_string().parse(), Ok(Reference::Digest(digest)));
    }

    #[test]
    fn a_reference_with_a_colon_that_is_no_digest_fails_as_a_digest() {
        let malformed = "sha256:baddigeststring".parse::<Reference>();
        assert!(matches!(
            malformed,
            Err(ReferenceError::Digest(DigestError::Malformed { .. }))
        ));

        let unsupported = "md5:abc".parse::<Reference>();
        assert!(matches!(
            unsupported,
            Err(ReferenceError::Digest(DigestError::UnsupportedAlgorithm { .. }))
        ));
    }

    #[test]
    fn json_holds_a_tag_as_its_text_and_is_checked() {
        let tag: Tag = "v1".parse().unwrap();

        assert_eq!(serde_json::to_string(&tag).unwrap(), r#""v1""#);
        assert_eq!(serde_json::from_str::<Tag>(r#""v1""#).unwrap(), tag);
        assert!(serde_json::from_str::<Tag>(r#""v+1""#).is_err());
    }

    proptest! {
        #[test]
        fn references_are_read_back(text in "[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}") {
            prop_assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
    }
}
