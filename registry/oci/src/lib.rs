//! The vocabulary of the OCI specifications: what a registry, its operator and its tests say to one another.
//!
//! No I/O and no async: everything here is a value or a pure function, checked when it is made. Text from outside is
//! parsed once, at the edge, and travels on as one of these types.
//!
//! | words | module | chapter |
//! |---|---|---|
//! | [`RepositoryName`] | [`repository_name`] | distribution-spec, "Pulling manifests" |
//! | [`Tag`], [`Reference`] | [`mod@reference`] | distribution-spec, "Pulling manifests" |
//! | [`Digest`], [`Algorithm`] | [`digest`] | image-spec, "Digests" |
//! | [`SubjectDigest`] | [`subject_digest`] | image-spec, "Image Manifest" |
//! | [`Digester`]: hashing across requests | [`digester`] | distribution-spec, end-4 to end-6 |
//! | [`Descriptor`] | [`descriptor`] | image-spec, "Content Descriptors" |
//! | [`media_type`] names | [`media_type`] | image-spec, "Media Types" |
//! | [`Manifest`] and everything it refers to, [`ReferenceTo`] | [`manifest`] | image-spec, "Image Manifest", "Image Index" |
//! | [`ByteRange`], [`ContentRange`], [`upload_range`] | [`range`] | distribution-spec, end-2, end-5, end-6; RFC 9110 |
//! | [`Page`], [`next_link`] | [`page`] | distribution-spec, end-8 |
//! | query pairs, percent-encoding | [`query`] | RFC 3986 |
//! | [`ErrorCode`], [`ErrorBody`] | [`error_code`] | distribution-spec, "Error Codes" |
//!
//! ```
//! use oci::{Manifest, Reference, ReferenceKind, RepositoryName};
//!
//! let name: RepositoryName = "team/app".parse()?;
//! assert_eq!(name.namespace(), "team");
//! assert!(matches!("1.2".parse()?, Reference::Tag(_)));
//!
//! let body = br#"{
//!   "schemaVersion": 2,
//!   "config": {
//!     "mediaType": "application/vnd.oci.empty.v1+json",
//!     "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
//!     "size": 2
//!   },
//!   "layers": []
//! }"#;
//! let manifest = Manifest::parse(Some("application/vnd.oci.image.manifest.v1+json"), body)?;
//! assert_eq!(manifest.references()[0].kind, ReferenceKind::Config);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod base64;
pub mod descriptor;
pub mod digest;
pub mod digester;
pub mod error_code;
mod exact;
mod excerpt;
pub mod manifest;
pub mod media_type;
pub mod page;
pub mod query;
pub mod range;
pub mod reference;
pub mod repository_name;
pub mod subject_digest;

pub use descriptor::{Descriptor, DescriptorError};
pub use digest::{Algorithm, Digest, DigestError};
pub use digester::{Digester, DigesterError};
pub use error_code::{ErrorBody, ErrorCode, ErrorEntry};
pub use manifest::{Kind, MAX_REFERENCES, Manifest, ManifestError, ReferenceKind, ReferenceTo};
pub use page::{Page, PageError, next_link};
pub use range::{ByteRange, ContentRange, RangeRequest, unsatisfied_range, upload_range};
pub use reference::{Reference, ReferenceError, Tag, TagError};
pub use repository_name::{RepositoryName, RepositoryNameError};
pub use subject_digest::SubjectDigest;
