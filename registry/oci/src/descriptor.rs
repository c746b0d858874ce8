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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Descriptor;
    use crate::media_type::OCI_EMPTY;
    use crate::{Algorithm, Digest};

    const EMPTY_OBJECT: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

    fn with(member: &str, value: Value) -> Value {
        let mut descriptor = json!({"mediaType": OCI_EMPTY, "digest": EMPTY_OBJECT, "size": 2});
        descriptor[member] = value;
        descriptor
    }

    fn read(json: &Value) -> Result<Descriptor, String> {
        serde_json::from_str(&json.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn every_member_is_read_and_written_back() {
        let json = json!({
            "mediaType": "application/vnd.example; charset=utf-8",
            "digest": EMPTY_OBJECT,
            "size": 2,
            "urls": ["https://example.com/a"],
            "annotations": {"a": "b"},
            "artifactType": "application/vnd.example.artifact",
            "platform": {"os": "linux", "architecture": "arm64", "os.features": ["x"], "unheard": {"of": 1}},
            "data": "e30=",
        });

        let descriptor = read(&json).unwrap();

        assert_eq!(descriptor.size, 2);
        assert_eq!(serde_json::to_value(&descriptor).unwrap(), json);
    }

    #[test]
    fn a_platform_is_kept_as_it_is_written() {
        let text =
            format!(r#"{{"mediaType":"a","digest":"{EMPTY_OBJECT}","size":2,"platform": {{ "b":1.0 , "a":2}} }}"#);

        let descriptor: Descriptor = serde_json::from_str(&text).unwrap();

        assert_eq!(descriptor.platform.unwrap().get(), r#"{ "b":1.0 , "a":2}"#);
    }

    #[test]
    fn a_descriptor_without_extras_writes_none() {
        let digest = Digest::of(Algorithm::Sha256, b"{}");
        let written = serde_json::to_value(Descriptor::new(OCI_EMPTY, digest, 2)).unwrap();

        assert_eq!(
            written,
            json!({"mediaType": OCI_EMPTY, "digest": EMPTY_OBJECT, "size": 2})
        );
    }

    #[test]
    fn null_is_absent_where_absence_is_allowed() {
        for member in ["urls", "annotations", "artifactType", "platform", "data"] {
            assert!(read(&with(member, Value::Null)).is_ok(), "{member}");
        }
    }

    #[test]
    fn each_broken_rule_is_named() {
        let foreign = json!("md5:d41d8cd98f00b204e9800998ecf8427e");
        for (member, value, message) in [
            ("mediaType", json!(null), "mediaType is missing"),
            ("mediaType", json!(""), "mediaType is missing"),
            (
                "mediaType",
                json!("a\nb"),
                "mediaType is longer than 1024 bytes or has control characters",
            ),
            ("mediaType", json!("a\0"), "mediaType is longer"),
            ("mediaType", json!("a".repeat(1025)), "mediaType is longer"),
            ("mediaType", json!(1), "invalid type: integer `1`, expected a string"),
            ("artifactType", json!("a\u{7f}"), "artifactType is longer"),
            ("digest", json!(null), "digest is missing"),
            ("digest", json!("sha256:short"), "\"sha256:short\" is not a digest"),
            ("digest", foreign, "digest algorithm \"md5\" is not supported"),
            ("size", json!(null), "size is missing"),
            ("size", json!(-1), "size -1 is not a number of bytes"),
            ("size", json!(1.5), "size 1.5 is not a number of bytes"),
            ("size", json!(2.0), "size 2.0 is not a number of bytes"),
            (
                "size",
                json!(9_223_372_036_854_775_808_u64),
                "size 9223372036854775808 is not a number of bytes",
            ),
            ("size", json!("2"), "invalid type: string \"2\""),
            ("urls", json!("https://example.com"), "invalid type"),
            ("urls", json!([1]), "invalid type"),
            (
                "annotations",
                json!({"a": 1}),
                "invalid type: integer `1`, expected a string",
            ),
            ("annotations", json!([]), "invalid type"),
            ("data", json!("e30"), "data does not match: it is not base64"),
            ("data", json!("e30K"), "data does not match: its length is not the size"),
            ("data", json!(""), "data does not match: its length is not the size"),
            ("data", json!("W10="), "data does not match: its hash is not the digest"),
            ("Digest", json!("x"), "member \"Digest\" must be spelt \"digest\""),
        ] {
            let refused = read(&with(member, value.clone())).expect_err(member);
            assert!(refused.contains(message), "{member} {value}: {refused}");
        }
    }

    #[test]
    fn the_largest_signed_size_is_a_size() {
        assert_eq!(
            read(&with("size", json!(i64::MAX))).unwrap().size,
            i64::MAX.unsigned_abs()
        );
    }

    #[test]
    fn an_array_is_no_descriptor() {
        assert!(read(&json!([OCI_EMPTY, EMPTY_OBJECT, 2, null, null, null, null, null])).is_err());
    }

    #[test]
    fn embedded_content_is_checked_with_the_algorithm_of_the_digest() {
        let mut descriptor = with("data", json!("e30="));
        descriptor["digest"] = json!(Digest::of(Algorithm::Sha512, b"{}").to_string());

        assert!(read(&descriptor).is_ok());
    }
}
