//! Answers and their headers.

use axum::body::Body;
use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderValue, StatusCode};

/// What goes back to the client.
pub(super) type Answer = http::Response<Body>;

pub(super) const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
pub(super) const DOCKER_UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
pub(super) const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
pub(super) const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
pub(super) const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");
pub(super) const OCI_FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// An answer without a body, and a length that says so.
pub(super) fn empty(status: StatusCode) -> Answer {
    let mut answer = Answer::new(Body::empty());
    *answer.status_mut() = status;
    // RFC 9110 forbids a length on 204.
    if status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED {
        answer
            .headers_mut()
            .insert(header::CONTENT_LENGTH, HeaderValue::from(0));
    }
    answer
}

/// An answer with a body of JSON.
pub(super) fn json(status: StatusCode, body: Vec<u8>) -> Answer {
    content(status, "application/json", body.into())
}

/// An answer whose body is at hand.
pub(super) fn content(status: StatusCode, media_type: &str, body: Bytes) -> Answer {
    let length = body.len() as u64;
    let mut answer = Answer::new(Body::from(body));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    with(answer, header::CONTENT_TYPE, media_type)
}

/// The answer with one more line of a header that may have several.
pub(super) fn with_another(mut answer: Answer, name: HeaderName, value: impl AsRef<str>) -> Answer {
    if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
        answer.headers_mut().append(name, value);
    }
    answer
}

/// The answer with a header whose value is always the same.
pub(super) fn with_static(mut answer: Answer, name: HeaderName, value: &'static str) -> Answer {
    answer.headers_mut().insert(name, HeaderValue::from_static(value));
    answer
}

/// The answer with a header whose value is not copied; one that cannot be a header is left out.
pub(super) fn with_shared(mut answer: Answer, name: HeaderName, value: Bytes) -> Answer {
    if let Ok(value) = HeaderValue::from_maybe_shared(value) {
        answer.headers_mut().insert(name, value);
    }
    answer
}

/// The answer with a header; a value that cannot be a header is left out.
pub(super) fn with(mut answer: Answer, name: HeaderName, value: impl AsRef<str>) -> Answer {
    if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
        answer.headers_mut().insert(name, value);
    }
    answer
}
