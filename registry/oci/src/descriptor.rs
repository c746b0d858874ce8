//! Content descriptors (image-spec "OCI Content Descriptors"): a pointer to content by type, digest and size.

use std::collections::BTreeMap;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};
use serde_json::Number;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::exact::{Exact, Members};
use crate::excerpt::excerpt;
use crate::{Digest, DigestError, base64};

/// Longest media type or artifact type, in bytes; an index row has to hold it.
pub const MAX_MEDIA_TYPE_LENGTH: usize = 1024;

/// Largest `size`: image-spec makes it a signed 64-bit number.
const MAX_SIZE: u64 = i64::MAX.unsigned_abs();

/// A pointer to some content.
///
/// Read from JSON it is checked, with unknown members allowed; written as JSON, members without a value are left out.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Type of the content; any text, never a closed list.
    pub media_type: String,
    /// Address of the content.
    pub digest: Digest,
    /// Size of the content in bytes, as the descriptor claims it.
    pub size: u64,
    /// Where the content can be had when it is not in a registry.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Annotations of this pointer, not of the content.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What kind of artifact the content is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The platform an index entry is for, as it is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Box<RawValue>>,
    /// The content itself in base64, checked against `size` and `digest`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

/// Why a descriptor points at nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DescriptorError {
    /// A required member is absent, null or empty.
    #[error("{member} is missing")]
    Missing {
        /// Its name.
        member: &'static str,
    },
    /// A media type or artifact type is not usable as one.
    #[error("{member} is longer than 1024 bytes or has control characters")]
    MediaType {
        /// The name of the member.
        member: &'static str,
    },
    /// The digest is malformed or of an unsupported algorithm.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// The size is not a whole number from 0 to the largest signed 64-bit one.
    #[error("size {size} is not a number of bytes")]
    Size {
        /// What it is.
        size: String,
    },
    /// The embedded content is not the content described.
    #[error("data does not match: {reason}")]
    EmbeddedContent {
        /// What differs.
        reason: &'static str,
    },
}

impl Descriptor {
    /// A descriptor with nothing but what every descriptor has.
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            artifact_type: None,
            platform: None,
            data: None,
        }
    }
}

impl<'de> Deserialize<'de> for Descriptor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Exact(members) = Exact::<DescriptorMembers>::deserialize(deserializer)?;
        Self::try_from(members).map_err(de::Error::custom)
    }
}

/// A descriptor as it is written, of right JSON types but unchecked.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescriptorMembers {
    media_type: Option<String>,
    digest: Option<String>,
    size: Option<Number>,
    urls: Option<Vec<String>>,
    annotations: Option<BTreeMap<String, String>>,
    artifact_type: Option<String>,
    platform: Option<Box<RawValue>>,
    data: Option<String>,
}

impl Members for DescriptorMembers {
    const NAMES: &'static [&'static str] = &[
        "mediaType",
        "digest",
        "size",
        "urls",
        "annotations",
        "artifactType",
        "platform",
        "data",
    ];
}

impl TryFrom<DescriptorMembers> for Descriptor {
    type Error = DescriptorError;

    fn try_from(members: DescriptorMembers) -> Result<Self, DescriptorError> {
        let missing = |member| DescriptorError::Missing { member };
        let digest: Digest = members.digest.ok_or_else(|| missing("digest"))?.parse()?;
        let size = bytes(&members.size.ok_or_else(|| missing("size"))?)?;
        if let Some(data) = &members.data {
            check_embedded(data, &digest, size)?;
        }
        Ok(Self {
            media_type: type_name("mediaType", members.media_type)?.ok_or_else(|| missing("mediaType"))?,
            digest,
            size,
            urls: members.urls.unwrap_or_default(),
            annotations: members.annotations.unwrap_or_default(),
            artifact_type: type_name("artifactType", members.artifact_type)?,
            platform: members.platform,
            data: members.data,
        })
    }
}

/// `text` unless it is empty, which means absent; refused when it could be stored or sent nowhere.
pub(crate) fn type_name(member: &'static str, text: Option<String>) -> Result<Option<String>, DescriptorError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    if text.len() > MAX_MEDIA_TYPE_LENGTH || text.chars().any(char::is_control) {
        return Err(DescriptorError::MediaType { member });
    }
    Ok(Some(text))
}

fn bytes(size: &Number) -> Result<u64, DescriptorError> {
    size.as_u64()
        .filter(|&size| size <= MAX_SIZE)
        .ok_or_else(|| DescriptorError::Size {
            size: excerpt(&size.to_string()),
        })
}

fn check_embedded(data: &str, digest: &Digest, size: u64) -> Result<(), DescriptorError> {
    let mismatch = |reason| Err(DescriptorError::EmbeddedContent { reason });
    let Some(content) = base64::decode(data) else {
        return mismatch("it is not base64");
    };
    if u64::try_from(content.len()) != Ok(size) {
        return mismatch("its length is not the size");
    }
    if Digest::of(digest.algorithm(), &content) != *digest {
        return mismatch("its hash is not the digest");
    }
    Ok(())
}
