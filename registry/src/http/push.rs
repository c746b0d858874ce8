//! Pushing: end-4 to end-7, end-11, end-13, end-14.

use super::answer::{Answer, DOCKER_CONTENT_DIGEST, DOCKER_UPLOAD_UUID, OCI_SUBJECT, empty, with};
use super::body::RequestBody;
use super::error::ApiError;
use crate::distribution::{Chunk, Distribution, ManifestPut, MountSource, OpenUpload};
use http::{HeaderMap, StatusCode, header};
use oci::{ContentRange, Digest, Reference, RepositoryName, upload_range};
use uuid::Uuid;

/// The specification asks registries to take manifests of at least this size.
const MANIFEST_BYTES: usize = 4 * 1024 * 1024;

/// A request's query, decoded, in order; keys may repeat.
pub(super) type Query = [(String, String)];

fn parameter<'q>(query: &'q Query, name: &str) -> Option<&'q str> {
    query
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}

fn digest_of(query: &Query, name: &str) -> Result<Option<Digest>, ApiError> {
    parameter(query, name)
        .map(|text| text.parse().map_err(ApiError::Digest))
        .transpose()
}

pub(super) async fn start(
    distribution: &Distribution,
    repository: &RepositoryName,
    query: &Query,
    body: &mut RequestBody,
) -> Result<Answer, ApiError> {
    let (mount, digest) = (digest_of(query, "mount")?, digest_of(query, "digest")?);
    if let Some(algorithm) = parameter(query, "digest-algorithm") {
        algorithm.parse::<oci::Algorithm>().map_err(ApiError::Digest)?;
    }
    if let Some(mounted) = mount
        && mount_blob(distribution, repository, mounted, parameter(query, "from")).await?
    {
        return Ok(created_blob(repository, &mounted));
    }
    let upload = distribution.start_upload(repository).await?;
    // A digest without its bytes is a client that will send them: it gets a session.
    let whole = match digest {
        Some(digest) if !body.is_empty().await? || is_empty_content(&digest) => Some(digest),
        Some(_) | None => None,
    };
    let Some(digest) = whole else {
        return Ok(progress(StatusCode::ACCEPTED, repository, upload));
    };
    let finished = distribution
        .finish_upload(repository, upload.id, digest, Chunk { range: None, body })
        .await;
    if finished.is_err() {
        // The client never learns of this session. One that has ended already needs no end.
        drop(distribution.cancel_upload(repository, upload.id).await);
    }
    finished?;
    Ok(created_blob(repository, &digest))
}

fn is_empty_content(digest: &Digest) -> bool {
    *digest == Digest::of(digest.algorithm(), b"")
}

/// A mount that cannot be done is not an error: the client uploads instead.
async fn mount_blob(
    distribution: &Distribution,
    repository: &RepositoryName,
    digest: Digest,
    from: Option<&str>,
) -> Result<bool, ApiError> {
    let source: Option<RepositoryName> = match from.map(str::parse) {
        Some(Ok(name)) => Some(name),
        Some(Err(_)) => return Ok(false),
        None => None,
    };
    let source = source.as_ref().map_or(MountSource::Anywhere, MountSource::Repository);
    Ok(distribution.mount(repository, digest, source).await?)
}

pub(super) async fn status(
    distribution: &Distribution,
    repository: &RepositoryName,
    id: Uuid,
) -> Result<Answer, ApiError> {
    let upload = distribution.upload_status(repository, id).await?;
    Ok(progress(StatusCode::NO_CONTENT, repository, upload))
}

pub(super) async fn append(
    distribution: &Distribution,
    repository: &RepositoryName,
    id: Uuid,
    headers: &HeaderMap,
    body: &mut RequestBody,
) -> Result<Answer, ApiError> {
    let range = content_range(distribution, repository, id, headers).await?;
    let upload = distribution.append(repository, id, Chunk { range, body }).await?;
    Ok(progress(StatusCode::ACCEPTED, repository, upload))
}

pub(super) async fn finish(
    distribution: &Distribution,
    repository: &RepositoryName,
    id: Uuid,
    query: &Query,
    headers: &HeaderMap,
    body: &mut RequestBody,
) -> Result<Answer, ApiError> {
    let digest = digest_of(query, "digest")?.ok_or(ApiError::DigestMissing)?;
    let range = content_range(distribution, repository, id, headers).await?;
    distribution
        .finish_upload(repository, id, digest, Chunk { range, body })
        .await?;
    Ok(created_blob(repository, &digest))
}

pub(super) async fn cancel(
    distribution: &Distribution,
    repository: &RepositoryName,
    id: Uuid,
) -> Result<Answer, ApiError> {
    distribution.cancel_upload(repository, id).await?;
    Ok(with(empty(StatusCode::NO_CONTENT), DOCKER_UPLOAD_UUID, id.to_string()))
}

pub(super) async fn put_manifest(
    distribution: &Distribution,
    repository: &RepositoryName,
    reference: &Reference,
    headers: &HeaderMap,
    body: &mut RequestBody,
) -> Result<Answer, ApiError> {
    let payload = body
        .collect(MANIFEST_BYTES)
        .await?
        .ok_or(ApiError::ManifestTooLarge { limit: MANIFEST_BYTES })?;
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let put = ManifestPut {
        reference,
        content_type,
        payload: &payload,
    };
    let stored = distribution.put_manifest(repository, put).await?;
    let location = format!("/v2/{repository}/manifests/{}", stored.digest);
    let answer = with(empty(StatusCode::CREATED), header::LOCATION, location);
    let answer = with(answer, DOCKER_CONTENT_DIGEST, stored.digest.to_string());
    Ok(match stored.subject {
        Some(subject) => with(answer, OCI_SUBJECT, subject.to_string()),
        None => answer,
    })
}

fn created_blob(repository: &RepositoryName, digest: &Digest) -> Answer {
    let location = format!("/v2/{repository}/blobs/{digest}");
    with(
        with(empty(StatusCode::CREATED), header::LOCATION, location),
        DOCKER_CONTENT_DIGEST,
        digest.to_string(),
    )
}

/// Where a client goes on.
fn progress(status: StatusCode, repository: &RepositoryName, upload: OpenUpload) -> Answer {
    at(empty(status), repository, upload.id, upload.stored)
}

/// Adds to any answer where the upload stands: clients go on from a 416 that tells it.
pub(super) fn at(answer: Answer, repository: &RepositoryName, id: Uuid, stored: u64) -> Answer {
    let answer = with(answer, header::LOCATION, format!("/v2/{repository}/blobs/uploads/{id}"));
    let answer = with(answer, header::RANGE, upload_range(stored));
    with(answer, DOCKER_UPLOAD_UUID, id.to_string())
}

/// A header that cannot be read is refused before the body is looked at.
async fn content_range(
    distribution: &Distribution,
    repository: &RepositoryName,
    id: Uuid,
    headers: &HeaderMap,
) -> Result<Option<ContentRange>, ApiError> {
    let Some(value) = headers.get(header::CONTENT_RANGE) else {
        return Ok(None);
    };
    if let Some(range) = value.to_str().ok().and_then(ContentRange::parse) {
        return Ok(Some(range));
    }
    let stored = distribution.upload_status(repository, id).await?.stored;
    Err(ApiError::ContentRange { stored })
}
