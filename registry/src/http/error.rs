//! From what went wrong to status, code and message: the one place that knows status codes of errors.
//!
//! A fault of ours answers with the request's id, never with its text; the text is logged under that id.

use super::answer::{Answer, empty, json};
use super::screen::Overload;
use crate::blobs;
use crate::distribution::{BodyError, Error, NotRestorable, Switch};
use http::{HeaderValue, StatusCode, header};
use oci::{DigestError, ErrorBody, ErrorCode, PageError, ReferenceError, RepositoryNameError, TagError};

/// A request failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("no such endpoint; the registry's API is under /v2/")]
    RouteUnknown,
    #[error("this endpoint only takes {0}")]
    MethodNotAllowed(&'static str),
    #[error("the path is not percent-encoded UTF-8")]
    PathEncoding,
    #[error(transparent)]
    Name(RepositoryNameError),
    #[error(transparent)]
    Digest(DigestError),
    #[error("the query needs a digest parameter, such as digest=sha256:…")]
    DigestMissing,
    #[error(transparent)]
    Reference(ReferenceError),
    #[error("manifest is not known: {0}")]
    NoSuchTag(TagError),
    #[error(transparent)]
    Page(PageError),
    #[error("last is not from a link of this list; begin without it")]
    Cursor,
    #[error("{0}")]
    Call(&'static str),
    #[error("no such deletion of a repository; those that are done are forgotten after 30 days")]
    DeletionUnknown,
    #[error("upload session is not known: it has ended or expired, start a new one")]
    UploadUnknown,
    #[error("Content-Range must be <first byte>-<last byte>")]
    ContentRange {
        /// Where the upload stands.
        stored: u64,
    },
    #[error("manifest is larger than {limit} bytes")]
    ManifestTooLarge { limit: usize },
    #[error("tag parameters go with a digest, not with a tag, in the path")]
    TagsBesideTag,
    #[error("{count} tags are too many for one request; this registry takes {limit} (manifests.max_tags)")]
    TooManyTags { count: usize, limit: usize },
    #[error("{}", overloaded(*.0))]
    Overloaded(Overload),
    #[error("the URL is longer than {limit} bytes")]
    UriTooLong { limit: usize },
    #[error("the headers are larger than {bytes} bytes, or more than {count}")]
    HeadersTooLarge { bytes: usize, count: usize },
    #[error("a handler panicked")]
    Panicked,
    #[error(transparent)]
    Distribution(#[from] Error),
}

fn overloaded(overload: Overload) -> &'static str {
    match overload {
        Overload::Requests => "the registry serves as many requests as it may at a time; try again in a moment",
        Overload::Uploads => "the registry takes as many pushes as it may at a time; try again in a moment",
        Overload::Manifests => {
            "manifests that are being pushed use all the memory that they may have (manifests.memory); try again in a moment"
        }
    }
}

impl From<BodyError> for ApiError {
    fn from(body: BodyError) -> Self {
        Self::Distribution(Error::Body(body))
    }
}

/// Seconds after which a client should try again when the database or the store is away.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("2");

impl ApiError {
    pub(super) fn status(&self) -> StatusCode {
        self.verdict().0
    }

    /// Where an upload stands, for the answers that tell.
    pub(super) fn stored(&self) -> Option<u64> {
        if let Self::ContentRange { stored } | Self::Distribution(Error::OffsetMismatch { stored }) = self {
            return Some(*stored);
        }
        None
    }

    fn verdict(&self) -> (StatusCode, ErrorCode) {
        match self {
            Self::RouteUnknown => (StatusCode::NOT_FOUND, ErrorCode::Unsupported),
            Self::MethodNotAllowed(_) => (StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported),
            Self::PathEncoding | Self::Name(_) => (StatusCode::BAD_REQUEST, ErrorCode::NameInvalid),
            Self::Digest(_) | Self::DigestMissing | Self::Reference(ReferenceError::Digest(_)) => {
                (StatusCode::BAD_REQUEST, ErrorCode::DigestInvalid)
            }
            Self::TooManyTags { .. } | Self::UriTooLong { .. } => (StatusCode::URI_TOO_LONG, ErrorCode::SizeInvalid),
            Self::TagsBesideTag | Self::Reference(ReferenceError::Tag(_)) => {
                (StatusCode::BAD_REQUEST, ErrorCode::ManifestInvalid)
            }
            Self::NoSuchTag(_) => (StatusCode::NOT_FOUND, ErrorCode::ManifestUnknown),
            Self::Cursor | Self::Page(PageError::PaginationNumberInvalid { .. }) => {
                (StatusCode::BAD_REQUEST, ErrorCode::PaginationNumberInvalid)
            }
            Self::DeletionUnknown => (StatusCode::NOT_FOUND, ErrorCode::NameUnknown),
            Self::Call(_) => (StatusCode::BAD_REQUEST, ErrorCode::Unsupported),
            Self::UploadUnknown => (StatusCode::NOT_FOUND, ErrorCode::BlobUploadUnknown),
            Self::ContentRange { .. } => (StatusCode::RANGE_NOT_SATISFIABLE, ErrorCode::BlobUploadInvalid),
            Self::ManifestTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::SizeInvalid),
            Self::Overloaded(_) => (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable),
            Self::HeadersTooLarge { .. } => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, ErrorCode::SizeInvalid),
            Self::Panicked => (StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Unknown),
            Self::Distribution(error) => workflow(error),
        }
    }

    /// The methods that remain where one is refused.
    fn allowed(&self) -> Option<&'static str> {
        if let Self::MethodNotAllowed(allowed) = self {
            return Some(allowed);
        }
        match self.switch() {
            Some(Switch::DeleteTag | Switch::DeleteManifest) => Some("GET, HEAD, PUT"),
            Some(Switch::DeleteBlob) => Some("GET, HEAD"),
            Some(Switch::Catalog) => Some(""),
            None => matches!(self, Self::Distribution(Error::BlobInUse(_) | Error::BlobKept(_))).then_some("GET, HEAD"),
        }
    }

    fn switch(&self) -> Option<Switch> {
        if let Self::Distribution(Error::SwitchedOff(switch)) = self {
            return Some(*switch);
        }
        None
    }

    /// The answer to a client.
    pub(super) fn answer(&self, request_id: &str) -> Answer {
        let (status, code) = self.verdict();
        let is_told = matches!(self, Self::Overloaded(_) | Self::Distribution(Error::BlobCorrupt(_)));
        let body = if status.is_server_error() && !is_told {
            let message = format!("the registry cannot do this now; its log tells more under request id {request_id}");
            ErrorBody::new(code, message)
        } else if let Self::Distribution(Error::ReferencesUnknown(missing)) = self {
            missing.iter().fold(ErrorBody::default(), |body, digest| {
                let message = format!("{digest} is not known to this repository; push it first");
                body.with(code, message, Some(serde_json::json!({ "digest": digest })))
            })
        } else {
            ErrorBody::new(code, self.to_string())
        };
        let mut answer = json(status, body.to_json());
        if let Some(allowed) = self.allowed() {
            answer
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static(allowed));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            answer.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        answer
    }
}

fn workflow(error: &Error) -> (StatusCode, ErrorCode) {
    match error {
        Error::NameUnknown => (StatusCode::NOT_FOUND, ErrorCode::NameUnknown),
        Error::BlobUnknown(_) => (StatusCode::NOT_FOUND, ErrorCode::BlobUnknown),
        // Trying again does not help: no 503.
        Error::BlobCorrupt(_) => (StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::BlobUnknown),
        Error::ManifestUnknown(_) => (StatusCode::NOT_FOUND, ErrorCode::ManifestUnknown),
        Error::UploadUnknown => (StatusCode::NOT_FOUND, ErrorCode::BlobUploadUnknown),
        Error::OffsetMismatch { .. } => (StatusCode::RANGE_NOT_SATISFIABLE, ErrorCode::BlobUploadInvalid),
        Error::Body(BodyError::TooLarge { .. }) | Error::Store(blobs::Error::TooLarge { .. }) => {
            (StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::SizeInvalid)
        }
        Error::Body(BodyError::Length { .. } | BodyError::Broken(_)) => {
            (StatusCode::BAD_REQUEST, ErrorCode::SizeInvalid)
        }
        Error::Body(BodyError::Stalled(_)) => (StatusCode::REQUEST_TIMEOUT, ErrorCode::SizeInvalid),

        Error::DigestMismatch { .. } => (StatusCode::BAD_REQUEST, ErrorCode::DigestInvalid),
        Error::SwitchedOff(_) | Error::BlobInUse(_) | Error::BlobKept(_) => {
            (StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported)
        }
        Error::NotRestorable(refused) => match refused {
            NotRestorable::NotKept { .. } => (StatusCode::NOT_FOUND, ErrorCode::ManifestUnknown),
            NotRestorable::Over { .. } => (StatusCode::GONE, ErrorCode::ManifestUnknown),
            NotRestorable::NotDeleted(_) | NotRestorable::Taken { .. } => (StatusCode::CONFLICT, ErrorCode::Denied),
        },
        Error::ManifestInvalid(_) | Error::TooManyReferences { .. } => {
            (StatusCode::BAD_REQUEST, ErrorCode::ManifestInvalid)
        }
        Error::ReferencesUnknown(_) => (StatusCode::BAD_REQUEST, ErrorCode::ManifestBlobUnknown),
        Error::Database(database) if database.is_unavailable() || database.is_conflict() => {
            (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable)
        }
        Error::Store(_) | Error::ClaimLost | Error::Raced => (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable),
        Error::Database(_) => (StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Unknown),
    }
}

/// A range of a blob that it does not have.
pub(super) fn unsatisfiable(size: u64) -> Answer {
    let mut answer = empty(StatusCode::RANGE_NOT_SATISFIABLE);
    if let Ok(range) = HeaderValue::from_str(&oci::unsatisfied_range(size)) {
        answer.headers_mut().insert(header::CONTENT_RANGE, range);
    }
    answer
}
