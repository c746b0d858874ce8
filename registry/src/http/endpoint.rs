//! Which endpoint of the distribution specification a request means. Pure.

use super::error::ApiError;
use super::path::{self, Suffix, Target};
use http::Method;
use oci::{Digest, Reference, ReferenceError, RepositoryName};
use uuid::Uuid;

/// A request that is for us, its names parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// end-1
    Ping,
    /// Docker's list of repositories.
    Catalog,
    /// end-2
    GetBlob(RepositoryName, Digest),
    /// end-2
    HeadBlob(RepositoryName, Digest),
    /// end-3
    GetManifest(RepositoryName, Reference),
    /// end-3
    HeadManifest(RepositoryName, Reference),
    /// end-4a, end-4b, end-11
    StartUpload(RepositoryName),
    /// end-13
    UploadStatus(RepositoryName, Uuid),
    /// end-5
    AppendUpload(RepositoryName, Uuid),
    /// end-6
    FinishUpload(RepositoryName, Uuid),
    /// end-14
    CancelUpload(RepositoryName, Uuid),
    /// end-7
    PutManifest(RepositoryName, Reference),
    /// end-9, end-10
    Delete(RepositoryName, Deleted),
    /// end-8
    Tags(RepositoryName),
    /// end-12
    Referrers(RepositoryName, Digest),
}

/// What a request deletes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Deleted {
    /// A tag, or a manifest by its digest.
    Manifest(Reference),
    /// A repository's right to a blob.
    Blob(Digest),
}

impl Endpoint {
    /// A word for metrics and logs: one of a closed set.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Catalog => "catalog",
            Self::GetBlob(..) => "get_blob",
            Self::HeadBlob(..) => "head_blob",
            Self::GetManifest(..) => "get_manifest",
            Self::HeadManifest(..) => "head_manifest",
            Self::StartUpload(..) => "start_upload",
            Self::UploadStatus(..) => "upload_status",
            Self::AppendUpload(..) => "append_upload",
            Self::FinishUpload(..) => "finish_upload",
            Self::CancelUpload(..) => "cancel_upload",
            Self::PutManifest(..) => "put_manifest",
            Self::Delete(_, Deleted::Manifest(_)) => "delete_manifest",
            Self::Delete(_, Deleted::Blob(_)) => "delete_blob",
            Self::Tags(..) => "tags",
            Self::Referrers(..) => "referrers",
        }
    }
}

/// Reads a request's method and path.
///
/// # Errors
/// A path or method that no endpoint has, or a name that breaks its grammar, in the order in which a client should
/// learn of them.
pub(super) fn parse(method: &Method, path: &str) -> Result<Endpoint, ApiError> {
    let (name, suffix) = match path::target(path).ok_or(ApiError::RouteUnknown)? {
        Target::Ping => return only_reads(method, Endpoint::Ping),
        Target::Catalog => return only_reads(method, Endpoint::Catalog),
        Target::Repository(name, suffix) => (name, suffix),
    };
    let repository: RepositoryName = name.parse().map_err(ApiError::Name)?;
    match suffix {
        Suffix::Uploads => match *method {
            Method::POST => Ok(Endpoint::StartUpload(repository)),
            _ => Err(ApiError::MethodNotAllowed("POST")),
        },
        Suffix::Upload(session) => upload(method, repository, session),
        Suffix::Blob(digest) => blob(method, repository, digest),
        Suffix::Manifest(reference) => manifest(method, repository, reference),
        Suffix::Tags => only_reads(method, Endpoint::Tags(repository)),
        Suffix::Referrers(digest) => {
            only_reads(method, Endpoint::Ping)?;
            Ok(Endpoint::Referrers(
                repository,
                digest.parse().map_err(ApiError::Digest)?,
            ))
        }
    }
}

fn only_reads(method: &Method, endpoint: Endpoint) -> Result<Endpoint, ApiError> {
    match *method {
        Method::GET | Method::HEAD => Ok(endpoint),
        _ => Err(ApiError::MethodNotAllowed("GET, HEAD")),
    }
}

fn upload(method: &Method, repository: RepositoryName, session: &str) -> Result<Endpoint, ApiError> {
    // An id that we never gave is a session that we do not know.
    let id = || session.parse::<Uuid>().map_err(|_not_ours| ApiError::UploadUnknown);
    match *method {
        Method::GET | Method::HEAD => Ok(Endpoint::UploadStatus(repository, id()?)),
        Method::PATCH => Ok(Endpoint::AppendUpload(repository, id()?)),
        Method::PUT => Ok(Endpoint::FinishUpload(repository, id()?)),
        Method::DELETE => Ok(Endpoint::CancelUpload(repository, id()?)),
        _ => Err(ApiError::MethodNotAllowed("GET, HEAD, PATCH, PUT, DELETE")),
    }
}

fn blob(method: &Method, repository: RepositoryName, digest: &str) -> Result<Endpoint, ApiError> {
    let digest = || digest.parse().map_err(ApiError::Digest);
    match *method {
        Method::GET => Ok(Endpoint::GetBlob(repository, digest()?)),
        Method::HEAD => Ok(Endpoint::HeadBlob(repository, digest()?)),
        Method::DELETE => Ok(Endpoint::Delete(repository, Deleted::Blob(digest()?))),
        _ => Err(ApiError::MethodNotAllowed("GET, HEAD, DELETE")),
    }
}

fn manifest(method: &Method, repository: RepositoryName, reference: &str) -> Result<Endpoint, ApiError> {
    let read = || match reference.parse() {
        // What cannot be a tag is not there; clients that look for one know 404 only.
        Err(ReferenceError::Tag(wrong)) => Err(ApiError::NoSuchTag(wrong)),
        read => read.map_err(ApiError::Reference),
    };
    let reference = || reference.parse().map_err(ApiError::Reference);
    match *method {
        Method::GET => Ok(Endpoint::GetManifest(repository, read()?)),
        Method::HEAD => Ok(Endpoint::HeadManifest(repository, read()?)),
        Method::PUT => Ok(Endpoint::PutManifest(repository, reference()?)),
        Method::DELETE => Ok(Endpoint::Delete(repository, Deleted::Manifest(reference()?))),
        _ => Err(ApiError::MethodNotAllowed("GET, HEAD, PUT, DELETE")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn name(method: &Method, path: &str) -> &'static str {
        parse(method, path).unwrap().name()
    }

    #[test]
    fn every_endpoint_is_found_by_method_and_path() {
        let session = Uuid::nil();
        let table = [
            (Method::GET, "/v2/".to_owned(), "ping"),
            (Method::HEAD, "/v2".to_owned(), "ping"),
            (Method::GET, "/v2/_catalog".to_owned(), "catalog"),
            (Method::GET, format!("/v2/a/blobs/{DIGEST}"), "get_blob"),
            (Method::HEAD, format!("/v2/a/b/blobs/{DIGEST}"), "head_blob"),
            (Method::GET, "/v2/a/manifests/latest".to_owned(), "get_manifest"),
            (Method::PUT, format!("/v2/a/manifests/{DIGEST}"), "put_manifest"),
            (Method::POST, "/v2/a/blobs/uploads/".to_owned(), "start_upload"),
            (Method::POST, "/v2/a/blobs/uploads".to_owned(), "start_upload"),
            (Method::GET, format!("/v2/a/blobs/uploads/{session}"), "upload_status"),
            (Method::PATCH, format!("/v2/a/blobs/uploads/{session}"), "append_upload"),
            (Method::PUT, format!("/v2/a/blobs/uploads/{session}"), "finish_upload"),
            (
                Method::DELETE,
                format!("/v2/a/blobs/uploads/{session}"),
                "cancel_upload",
            ),
            (Method::DELETE, "/v2/a/manifests/v1".to_owned(), "delete_manifest"),
            (Method::DELETE, format!("/v2/a/manifests/{DIGEST}"), "delete_manifest"),
            (Method::DELETE, format!("/v2/a/b/blobs/{DIGEST}"), "delete_blob"),
            (Method::GET, "/v2/a/tags/list".to_owned(), "tags"),
            (Method::GET, format!("/v2/a/referrers/{DIGEST}"), "referrers"),
        ];

        for (method, path, expected) in table {
            assert_eq!(name(&method, &path), expected, "{path}");
        }
    }

    #[test]
    fn a_repository_may_have_components_named_like_endpoints() {
        let found = parse(&Method::GET, "/v2/blobs/uploads/manifests/tags/manifests/v1").unwrap();

        let repository = "blobs/uploads/manifests/tags".parse().unwrap();
        assert_eq!(found, Endpoint::GetManifest(repository, "v1".parse().unwrap()));
    }

    #[test]
    fn a_name_that_breaks_the_grammar_is_told_before_anything_else() {
        for path in [
            "/v2/A/manifests/v1",
            "/v2/a/../b/manifests/v1",
            "/v2//manifests/v1",
            "/v2/a//b/tags/list",
        ] {
            assert!(matches!(parse(&Method::DELETE, path), Err(ApiError::Name(_))), "{path}");
        }
    }

    #[test]
    fn a_known_path_with_another_method_says_what_is_allowed() {
        let refused = parse(&Method::POST, "/v2/a/tags/list");

        assert!(matches!(refused, Err(ApiError::MethodNotAllowed("GET, HEAD"))));
    }

    #[test]
    fn what_is_no_endpoint_is_unknown() {
        for path in ["/", "/v1/", "/v2x", "/v2/a", "/v2/a/b/c", "/v2/_catalog/x/y"] {
            assert!(
                matches!(parse(&Method::GET, path), Err(ApiError::RouteUnknown)),
                "{path}"
            );
        }
    }

    #[test]
    fn a_session_that_we_never_named_is_unknown() {
        let refused = parse(&Method::PATCH, "/v2/a/blobs/uploads/1234");

        assert!(matches!(refused, Err(ApiError::UploadUnknown)));
    }
}
