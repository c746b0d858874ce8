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
