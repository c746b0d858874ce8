//! Pulling: end-2 and end-3.

use super::answer::{Answer, DOCKER_CONTENT_DIGEST, content, empty, with, with_shared, with_static};
use super::error::{ApiError, unsatisfiable};
use super::ranges;
use super::redirect::Redirect;
use crate::distribution::{Distribution, Error};
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use oci::{ByteRange, Digest, RangeRequest, Reference, RepositoryName};

/// What a digest names never changes.
const IMMUTABLE: &str = "max-age=31536000, immutable";
const NO_CACHE: &str = "no-cache";
pub(super) const OCTET_STREAM: &str = "application/octet-stream";

pub(super) async fn get_blob(
    distribution: &Distribution,
    repository: &RepositoryName,
    digest: &Digest,
    headers: &HeaderMap,
    redirect: Option<&Redirect>,
) -> Result<Answer, ApiError> {
    let blob = distribution.blob(repository, digest).await?;
    if is_known(headers, digest) {
        return Ok(tagged(empty(StatusCode::NOT_MODIFIED), digest, IMMUTABLE));
    }
    let wanted = requested(headers, digest, blob.size);
    // No store answers with several parts.
    if let Some(redirect) = redirect.filter(|_| !matches!(wanted, RangeRequest::Several(_)))
        && let Some(elsewhere) = redirect.answer(distribution, &blob, digest).await
    {
        return Ok(elsewhere);
    }
    let (status, start, end) = match wanted {
        RangeRequest::Whole => (StatusCode::OK, 0, blob.size),
        RangeRequest::Several(parts) => {
            let answer = ranges::several(distribution, blob, parts).await?;
            return Ok(tagged(
                with_static(answer, header::ACCEPT_RANGES, "bytes"),
                digest,
                IMMUTABLE,
            ));
        }
        RangeRequest::One(range) => (StatusCode::PARTIAL_CONTENT, range.start, range.end + 1),
        RangeRequest::Unsatisfiable => return Ok(unsatisfiable(blob.size)),
    };
    let body = match distribution.small_blob(&blob).await? {
        // Never cuts short: the range is within the blob.
        Some(bytes) => Body::from(part(&bytes, start, end)),
        None => Body::from_stream(distribution.blob_bytes(&blob, start..end).await?),
    };
    let mut answer = Answer::new(body);
    *answer.status_mut() = status;
    if status == StatusCode::PARTIAL_CONTENT {
        let part = ByteRange { start, end: end - 1 };
        answer = with(answer, header::CONTENT_RANGE, part.content_range(blob.size));
    }
    Ok(blob_headers(answer, digest, end - start))
}

fn part(bytes: &Bytes, start: u64, end: u64) -> Bytes {
    let place = |at: u64| usize::try_from(at).map_or(bytes.len(), |at| at.min(bytes.len()));
    bytes.slice(place(start)..place(end))
}

pub(super) async fn head_blob(
    distribution: &Distribution,
    repository: &RepositoryName,
    digest: &Digest,
    headers: &HeaderMap,
) -> Result<Answer, ApiError> {
    // HEAD asks before a push whether the blob must be uploaded: a corrupt one must be, and is restored by that.
    let blob = match distribution.promised_blob(repository, digest).await {
        Err(Error::BlobCorrupt(digest)) => return Err(Error::BlobUnknown(digest).into()),
        found => found?,
    };
    if is_known(headers, digest) {
        return Ok(tagged(empty(StatusCode::NOT_MODIFIED), digest, IMMUTABLE));
    }
    Ok(blob_headers(Answer::new(Body::empty()), digest, blob.size))
}

fn blob_headers(mut answer: Answer, digest: &Digest, length: u64) -> Answer {
    answer
        .headers_mut()
        .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(OCTET_STREAM));
    answer
        .headers_mut()
        .insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    tagged(answer, digest, IMMUTABLE)
}

/// A range counts only when the client's copy, if it names one, is ours.
fn requested(headers: &HeaderMap, digest: &Digest, size: u64) -> RangeRequest {
    let stale = headers.get(header::IF_RANGE).is_some_and(|copy| !is_ours(copy, digest));
    let range = headers
        .get(header::RANGE)
        .filter(|_| !stale)
        // Odd bytes make a range unreadable, not absent.
        .map(|value| String::from_utf8_lossy(value.as_bytes()));
    ByteRange::requested(range.as_deref(), size)
}

fn tagged(answer: Answer, digest: &Digest, cache: &'static str) -> Answer {
    // One text for both: the entity tag is the digest in quotes.
    let quoted = Bytes::from(format!("\"{digest}\""));
    let bare = quoted.slice(1..quoted.len() - 1);
    let answer = with_shared(answer, header::ETAG, quoted);
    let answer = with_shared(answer, DOCKER_CONTENT_DIGEST, bare);
    with_static(answer, header::CACHE_CONTROL, cache)
}

/// True when the client has this content: one of its entity tags, quoted, weak or bare, is the digest.
fn is_known(headers: &HeaderMap, digest: &Digest) -> bool {
    let mut lists = headers.get_all(header::IF_NONE_MATCH).iter().peekable();
    if lists.peek().is_none() {
        return false;
    }
    let digest = digest.to_string();
    let ours = |tag: &str| {
        let tag = tag.trim();
        tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"') == digest
    };
    lists
        .filter_map(|value| value.to_str().ok())
        .any(|list| list.split(',').any(ours))
}

/// `If-Range` is one strong entity tag, or a date, which is never ours.
fn is_ours(copy: &HeaderValue, digest: &Digest) -> bool {
    let copy = copy.to_str().unwrap_or_default().trim();
    copy.trim_matches('"') == digest.to_string()
}

pub(super) async fn manifest(
    distribution: &Distribution,
    repository: &RepositoryName,
    reference: &Reference,
    headers: &HeaderMap,
) -> Result<Answer, ApiError> {
    let stored = distribution.manifest(repository, reference).await?;
    let cache = match reference {
        Reference::Digest(_) => IMMUTABLE,
        Reference::Tag(_) => NO_CACHE,
    };
    if is_known(headers, &stored.digest) {
        return Ok(tagged(empty(StatusCode::NOT_MODIFIED), &stored.digest, cache));
    }
    Ok(tagged(
        content(StatusCode::OK, &stored.media_type, stored.payload.clone()),
        &stored.digest,
        cache,
    ))
}
