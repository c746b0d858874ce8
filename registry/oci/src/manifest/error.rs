//! Why a manifest is refused. Clients print the messages as they are, so each carries its cause.

use thiserror::Error;

use crate::excerpt::excerpt;
use crate::{DescriptorError, DigestError};

/// A rule that a pushed manifest breaks.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ManifestError {
    /// The body is not text.
    #[error("manifest is not UTF-8 text")]
    NotUtf8,
    /// Objects and arrays are nested deeper than [`super::MAX_DEPTH`].
    #[error("manifest is nested deeper than 32 levels")]
    TooDeep,
    /// The body is not a JSON object, or a known member has the wrong JSON type.
    #[error("manifest cannot be read: {reason}")]
    Json {
        /// What the JSON parser says, with line and column.
        reason: String,
    },
    /// Docker's schema 1.
    #[error("docker image manifest schema 1 is not supported; push the image with a current client")]
    SchemaOne,
    /// `schemaVersion` is not the number 2.
    #[error("schemaVersion must be 2")]
    SchemaVersion,
    /// The type is none that a registry stores as a manifest.
    #[error("manifest media type {media_type:?} is not supported")]
    UnsupportedMediaType {
        /// The type, shortened.
        media_type: String,
    },
    /// Neither header nor body says what it is, and the members do not either.
    #[error("manifest has no media type: neither the Content-Type header nor mediaType is set")]
    Undeclared,
    /// Header and body name two types.
    #[error("manifest is declared as {declared} but its mediaType is {in_body:?}")]
    MediaTypeMismatch {
        /// The type of the header.
        declared: &'static str,
        /// The type in the body, shortened.
        in_body: String,
    },
    /// The body could be read as another type of manifest.
    #[error("manifest is ambiguous: {media_type} must not have {member}")]
    Ambiguous {
        /// The type it is declared as.
        media_type: &'static str,
        /// The member that belongs to the other type.
        member: &'static str,
    },
    /// A required member is absent or null.
    #[error("manifest has no {member}")]
    Missing {
        /// Its name.
        member: &'static str,
    },
    /// A list is longer than [`super::MAX_REFERENCES`].
    #[error("{member} has {count} entries; the limit is 10000")]
    TooManyReferences {
        /// The list.
        member: &'static str,
        /// Its length.
        count: usize,
    },
    /// A descriptor breaks a rule.
    #[error("{at}: {cause}")]
    Descriptor {
        /// Which one, as `layers[3]`.
        at: String,
        /// What is wrong with it.
        cause: DescriptorError,
    },
    /// The artifact type is too long or has control characters.
    #[error("{cause}")]
    ArtifactType {
        /// What is wrong with it.
        cause: DescriptorError,
    },
    /// The subject has no digest, or one that breaks the grammar.
    #[error("subject: {cause}")]
    Subject {
        /// What is wrong with it.
        cause: DigestError,
    },
}

impl ManifestError {
    pub(super) fn json(error: &serde_json::Error) -> Self {
        Self::Json {
            reason: excerpt(&error.to_string()),
        }
    }

    pub(super) fn unsupported(media_type: &str) -> Self {
        Self::UnsupportedMediaType {
            media_type: excerpt(media_type),
        }
    }

    pub(super) fn mismatch(declared: &'static str, in_body: &str) -> Self {
        Self::MediaTypeMismatch {
            declared,
            in_body: excerpt(in_body),
        }
    }

    pub(super) fn descriptor(at: impl Into<String>, cause: DescriptorError) -> Self {
        Self::Descriptor { at: at.into(), cause }
    }
}
