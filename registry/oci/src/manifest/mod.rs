//! Image manifests and indexes, OCI and Docker schema 2 (image-spec "Image Manifest" and "Image Index").
//!
//! [`Manifest::parse`] accepts or refuses a pushed body; [`Manifest::references`] enumerates what it refers to. That
//! enumeration is the only one: existence checks, stored references and garbage collection all read it, so none of them
//! can forget a kind. The body itself is never written again: its bytes are its identity.

mod depth;
mod error;
mod members;
mod references;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use error::ManifestError;
pub use references::{ReferenceKind, ReferenceTo};

use crate::media_type::{
    DOCKER_LIST, DOCKER_MANIFEST, DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED, OCI_INDEX, OCI_MANIFEST, essence,
};
use crate::{Descriptor, SubjectDigest};
use members::{BodyMembers, List};

/// Most descriptors in `layers` or `manifests`.
pub const MAX_REFERENCES: usize = 10_000;

/// Deepest nesting of JSON objects and arrays; real manifests need about five.
pub const MAX_DEPTH: usize = 32;

/// What a manifest describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One image or artifact: a config and layers.
    Image,
    /// A list of manifests, or of blobs in old build caches.
    Index,
}

/// A manifest that may be stored.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// What it describes.
    pub kind: Kind,
    /// Its type, without parameters: what it is served as.
    pub media_type: String,
    /// The artifact type referrers list it under: its own, else for an image the type of its config.
    pub artifact_type: Option<String>,
    /// The type of the config; `None` for an index.
    pub config_media_type: Option<String>,
    /// The manifest it is attached to; always `None` for Docker's types, which have no such member.
    pub subject: Option<SubjectDigest>,
    /// Its annotations. Values are any text, U+0000 included.
    pub annotations: BTreeMap<String, String>,
    /// The config of an image.
    pub config: Option<Descriptor>,
    /// The layers of an image, in order, with repetitions.
    pub layers: Vec<Descriptor>,
    /// The entries of an index, in order, with repetitions.
    pub manifests: Vec<Descriptor>,
}

impl Manifest {
    /// Reads a pushed manifest; `content_type` is the request's header.
    ///
    /// # Errors
    /// Each way in which a body can break the rules of its type; all of them are `MANIFEST_INVALID` to the client.
    pub fn parse(content_type: Option<&str>, body: &[u8]) -> Result<Self, ManifestError> {
        let declared = content_type
            .map(essence)
            .filter(|text| !text.is_empty())
            .map(ManifestType::declared);
        let declared = declared.transpose()?;
        let members = BodyMembers::read(body)?;
        members.check_schema_version()?;
        let manifest_type = manifest_type(declared, &members)?;
        match manifest_type.kind() {
            Kind::Image => image(manifest_type, members),
            Kind::Index => index(manifest_type, members),
        }
    }

    /// Everything this manifest refers to, `subject` excepted, in the order of its first mention.
    ///
    /// Each pair of digest and kind appears once. It must exist if any mention of it must.
    pub fn references(&self) -> Vec<ReferenceTo> {
        references::of(self)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ManifestType {
    OciManifest,
    OciIndex,
    DockerManifest,
    DockerList,
}

impl ManifestType {
    const ALL: [Self; 4] = [
        Self::OciManifest,
        Self::OciIndex,
        Self::DockerManifest,
        Self::DockerList,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::OciManifest => OCI_MANIFEST,
            Self::OciIndex => OCI_INDEX,
            Self::DockerManifest => DOCKER_MANIFEST,
            Self::DockerList => DOCKER_LIST,
        }
    }

    const fn kind(self) -> Kind {
        match self {
            Self::OciManifest | Self::DockerManifest => Kind::Image,
            Self::OciIndex | Self::DockerList => Kind::Index,
        }
    }

    const fn is_docker(self) -> bool {
        matches!(self, Self::DockerManifest | Self::DockerList)
    }

    /// The type a header or body names.
    fn declared(text: &str) -> Result<Self, ManifestError> {
        if let Some(known) = Self::ALL
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(text))
        {
            return Ok(known);
        }
        if [DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED]
            .iter()
            .any(|schema1| schema1.eq_ignore_ascii_case(text))
        {
            return Err(ManifestError::SchemaOne);
        }
        Err(ManifestError::unsupported(text))
    }
}

/// The one type that header and body agree on.
///
/// A body must not be readable as another type than the one it is stored under (CVE-2021-41190).
fn manifest_type(declared: Option<ManifestType>, members: &BodyMembers) -> Result<ManifestType, ManifestError> {
    let in_body = members.media_type();
    let manifest_type = match (declared, in_body) {
        (Some(declared), _) => declared,
        (None, Some(in_body)) => ManifestType::declared(in_body)?,
        (None, None) => members.implied_type().ok_or(ManifestError::Undeclared)?,
    };
    match in_body {
        Some(in_body) if in_body != manifest_type.as_str() => {
            Err(ManifestError::mismatch(manifest_type.as_str(), in_body))
        }
        None if manifest_type.is_docker() => Err(ManifestError::Missing { member: "mediaType" }),
        _ => Ok(manifest_type),
    }
}

fn image(manifest_type: ManifestType, members: BodyMembers) -> Result<Manifest, ManifestError> {
    if !members.manifests.is_absent_or_null() {
        return Err(ManifestError::Ambiguous {
            media_type: manifest_type.as_str(),
            member: "manifests",
        });
    }
    let shared = Shared::read(manifest_type, &members)?;
    let config = members.config.ok_or(ManifestError::Missing { member: "config" })?;
    let config = Descriptor::try_from(config.0).map_err(|cause| ManifestError::descriptor("config", cause))?;
    Ok(Manifest {
        kind: Kind::Image,
        media_type: manifest_type.as_str().to_owned(),
        artifact_type: Some(shared.artifact_type.unwrap_or_else(|| config.media_type.clone())),
        config_media_type: Some(config.media_type.clone()),
        subject: shared.subject,
        annotations: members.annotations.unwrap_or_default(),
        config: Some(config),
        layers: descriptors("layers", members.layers)?,
        manifests: Vec::new(),
    })
}

fn index(manifest_type: ManifestType, members: BodyMembers) -> Result<Manifest, ManifestError> {
    let image_member = match (&members.config, members.layers.is_absent_or_null()) {
        (Some(_), _) => Some("config"),
        (None, false) => Some("layers"),
        (None, true) => None,
    };
    if let Some(member) = image_member {
        return Err(ManifestError::Ambiguous {
            media_type: manifest_type.as_str(),
            member,
        });
    }
    let shared = Shared::read(manifest_type, &members)?;
    Ok(Manifest {
        kind: Kind::Index,
        media_type: manifest_type.as_str().to_owned(),
        artifact_type: shared.artifact_type,
        config_media_type: None,
        subject: shared.subject,
        annotations: members.annotations.unwrap_or_default(),
        config: None,
        layers: Vec::new(),
        manifests: descriptors("manifests", members.manifests)?,
    })
}

/// What images and indexes have alike.
struct Shared {
    artifact_type: Option<String>,
    subject: Option<SubjectDigest>,
}

impl Shared {
    fn read(manifest_type: ManifestType, members: &BodyMembers) -> Result<Self, ManifestError> {
        if manifest_type.is_docker() {
            return Ok(Self {
                artifact_type: None,
                subject: None,
            });
        }
        Ok(Self {
            artifact_type: members.artifact_type()?,
            subject: members.subject()?,
        })
    }
}

fn descriptors(member: &'static str, list: List) -> Result<Vec<Descriptor>, ManifestError> {
    let entries = match list {
        List::Absent => return Err(ManifestError::Missing { member }),
        List::TooLong { count } => return Err(ManifestError::TooManyReferences { member, count }),
        // An empty list, as some Go programs write it.
        List::Null => Vec::new(),
        List::Entries(entries) => entries,
    };
    let checked = entries.into_iter().enumerate().map(|(index, entry)| {
        Descriptor::try_from(entry.0).map_err(|cause| ManifestError::descriptor(format!("{member}[{index}]"), cause))
    });
    checked.collect()
}
