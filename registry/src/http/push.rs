//! Pushing and deleting: end-4 to end-7, end-9 to end-11, end-13, end-14.

use super::answer::{
    Answer, DOCKER_CONTENT_DIGEST, DOCKER_UPLOAD_UUID, OCI_SUBJECT, OCI_TAG, empty, with, with_another,
};
use super::body::RequestBody;
use super::endpoint::Deleted;
use super::error::ApiError;
use super::memory::BodyMemory;
use super::warnings;
use crate::distribution::{Chunk, Distribution, ManifestPut, MountSource, OpenUpload};
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use oci::{ContentRange, Digest, Reference, ReferenceError, RepositoryName, Tag, upload_range};
use uuid::Uuid;

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
    headers: &HeaderMap,
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
    // A digest without its bytes is a client that will send them: it gets a session.
    let whole = match digest {
        Some(digest) if !body.is_empty().await? || is_empty_content(&digest) => Some(digest),
        Some(_) | None => None,
    };
    let Some(digest) = whole else {
        let upload = distribution.start_upload(repository).await?;
        return Ok(progress(StatusCode::ACCEPTED, repository, upload));
    };
    let whole = Chunk {
        range: None,
        length: length(headers),
        body,
    };
    distribution.push_whole(repository, digest, whole).await?;
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
    let named = from.map(str::parse::<RepositoryName>);
    let source = match &named {
        Some(Ok(name)) => MountSource::Repository(name),
        Some(Err(_)) => MountSource::Nowhere,
        None => MountSource::Anywhere,
    };
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
    let length = length(headers);
    let upload = distribution
        .append(repository, id, Chunk { range, length, body })
        .await?;
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
    let length = length(headers);
    distribution
        .finish_upload(repository, id, digest, Chunk { range, length, body })
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
    (repository, reference): (&RepositoryName, &Reference),
    head: &Parts,
    query: &Query,
    (body, memory): (&mut RequestBody, &BodyMemory),
) -> Result<Answer, ApiError> {
    let limits = distribution.limits();
    let tags = tag_parameters(query, reference, limits.tags)?;
    let limit = limits.manifest_size;
    let announced = usize::try_from(length(&head.headers).unwrap_or(limit as u64)).unwrap_or(usize::MAX);
    let payload = if announced > limit {
        None
    } else {
        body.collect(limit, announced, memory).await?
    };
    let payload = payload.ok_or(ApiError::ManifestTooLarge { limit })?;
    // Odd bytes make a type unknown, not absent.
    let content_type = head.headers.get(header::CONTENT_TYPE);
    let content_type = content_type.map(|value| String::from_utf8_lossy(value.as_bytes()));
    let put = ManifestPut {
        reference,
        tags: &tags,
        content_type: content_type.as_deref(),
        payload: &payload.bytes,
    };
    let stored = distribution.put_manifest(repository, put).await?;
    let location = format!("/v2/{repository}/manifests/{}", stored.digest);
    let answer = with(empty(StatusCode::CREATED), header::LOCATION, location);
    let answer = with(answer, DOCKER_CONTENT_DIGEST, stored.digest.to_string());
    let answer = tags
        .iter()
        .fold(answer, |answer, tag| with_another(answer, OCI_TAG, tag));
    let answer = match &stored.subject {
        Some(subject) => with(answer, OCI_SUBJECT, subject.to_string()),
        None => answer,
    };
    Ok(warnings::of_push(answer, head, repository, &stored.wrong_sizes))
}

/// The tags of the query, each once, in the order of the query.
fn tag_parameters(query: &Query, reference: &Reference, limit: usize) -> Result<Vec<Tag>, ApiError> {
    let mut tags: Vec<Tag> = Vec::new();
    let mut count = 0;
    for (_, value) in query.iter().filter(|(key, _)| key == "tag") {
        count += 1;
        if count > limit {
            continue;
        }
        let tag: Tag = value
            .parse()
            .map_err(|wrong| ApiError::Reference(ReferenceError::Tag(wrong)))?;
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    match reference {
        Reference::Tag(_) if count > 0 => Err(ApiError::TagsBesideTag),
        Reference::Digest(_) if count > limit => Err(ApiError::TooManyTags { count, limit }),
        Reference::Tag(_) | Reference::Digest(_) => Ok(tags),
    }
}

pub(super) async fn delete(
    distribution: &Distribution,
    repository: &RepositoryName,
    what: &Deleted,
) -> Result<Answer, ApiError> {
    match what {
        Deleted::Manifest(reference) => distribution.delete_manifest(repository, reference).await?,
        Deleted::Blob(digest) => distribution.delete_blob(repository, digest).await?,
    }
    Ok(empty(StatusCode::ACCEPTED))
}

/// How long the client says its body is.
fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
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
