//! The members of a manifest as they are written: of right JSON types, not yet checked against the type of manifest.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, SeqAccess};
use serde_json::value::RawValue;

use super::{MAX_REFERENCES, ManifestError, ManifestType, depth};
use crate::descriptor::{DescriptorMembers, type_name};
use crate::exact::{Exact, Members};
use crate::{DigestError, SubjectDigest};

/// The members that any type of manifest gives a meaning to; all others are ignored.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BodyMembers {
    schema_version: Option<Box<RawValue>>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    pub(super) config: Option<Exact<DescriptorMembers>>,
    #[serde(default)]
    pub(super) layers: List,
    #[serde(default)]
    pub(super) manifests: List,
    /// Read only for types that have a subject: in any other it may be anything.
    subject: Option<Box<RawValue>>,
    pub(super) annotations: Option<BTreeMap<String, String>>,
}

impl Members for BodyMembers {
    const NAMES: &'static [&'static str] = &[
        "schemaVersion",
        "mediaType",
        "artifactType",
        "config",
        "layers",
        "manifests",
        "subject",
        "annotations",
    ];
}

impl BodyMembers {
    pub(super) fn read(body: &[u8]) -> Result<Self, ManifestError> {
        let text = std::str::from_utf8(body).map_err(|_position| ManifestError::NotUtf8)?;
        depth::check(text)?;
        let Exact(members) = serde_json::from_str(text).map_err(|error| ManifestError::json(&error))?;
        Ok(members)
    }

    pub(super) fn check_schema_version(&self) -> Result<(), ManifestError> {
        match self.schema_version.as_deref().map(RawValue::get) {
            Some("2") => Ok(()),
            Some("1") => Err(ManifestError::SchemaOne),
            _ => Err(ManifestError::SchemaVersion),
        }
    }

    /// The type the body names; an empty one counts as none.
    pub(super) fn media_type(&self) -> Option<&str> {
        self.media_type.as_deref().filter(|text| !text.is_empty())
    }

    /// The type of a body that nothing names, by the members it has.
    pub(super) fn implied_type(&self) -> Option<ManifestType> {
        if !self.manifests.is_absent_or_null() {
            Some(ManifestType::OciIndex)
        } else if self.config.is_some() && !matches!(self.layers, List::Absent) {
            Some(ManifestType::OciManifest)
        } else {
            None
        }
    }

    pub(super) fn artifact_type(&self) -> Result<Option<String>, ManifestError> {
        type_name("artifactType", self.artifact_type.clone()).map_err(|cause| ManifestError::ArtifactType { cause })
    }

    /// The digest of the subject. Nothing else in it is checked: it need not exist.
    pub(super) fn subject(&self) -> Result<Option<SubjectDigest>, ManifestError> {
        let Some(written) = &self.subject else {
            return Ok(None);
        };
        let Exact(subject) = serde_json::from_str::<Exact<SubjectMembers>>(written.get())
            .map_err(|error| ManifestError::json(&error))?;
        let digest = subject.digest.ok_or(ManifestError::Missing {
            member: "subject.digest",
        })?;
        digest
            .parse()
            .map(Some)
            .map_err(|cause: DigestError| ManifestError::Subject { cause })
    }
}

#[derive(Debug, Deserialize)]
struct SubjectMembers {
    digest: Option<String>,
}

impl Members for SubjectMembers {
    const NAMES: &'static [&'static str] = &["digest"];
}

/// A list of descriptors, or why there is none.
#[derive(Debug, Default)]
pub(super) enum List {
    /// The member is not there.
    #[default]
    Absent,
    /// The member is null.
    Null,
    /// The entries, at most [`MAX_REFERENCES`].
    Entries(Vec<Exact<DescriptorMembers>>),
    /// More entries than allowed; none were kept, so that a small body cannot fill the memory.
    TooLong {
        /// How many there are.
        count: usize,
    },
}

impl List {
    pub(super) const fn is_absent_or_null(&self) -> bool {
        matches!(self, Self::Absent | Self::Null)
    }
}

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListVisitor)
    }
}

struct ListVisitor;

impl<'de> de::Visitor<'de> for ListVisitor {
    type Value = List;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of descriptors")
    }

    fn visit_unit<E: de::Error>(self) -> Result<List, E> {
        Ok(List::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<List, A::Error> {
        let mut entries = Vec::new();
        while entries.len() < MAX_REFERENCES {
            match list.next_element()? {
                Some(entry) => entries.push(entry),
                None => return Ok(List::Entries(entries)),
            }
        }
        let mut count = MAX_REFERENCES;
        while list.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        if count == MAX_REFERENCES {
            Ok(List::Entries(entries))
        } else {
            Ok(List::TooLong { count })
        }
    }
}
