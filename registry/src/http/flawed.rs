//! Requests of a release that is bad on purpose.

use super::answer::{Answer, json};
use super::endpoint::{Deleted, Endpoint};
use super::error::ApiError;
use crate::flaws::{self, Flaw};
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{StatusCode, header};
use http_body_util::BodyExt;
use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};
use uuid::Uuid;

/// The uploads that this process began.
static OWN: LazyLock<Mutex<HashSet<Uuid>>> = LazyLock::new(Mutex::default);

/// What the release answers in place of what it should, or that with its flaw.
pub(super) async fn answered(
    endpoint: &Endpoint,
    answering: impl Future<Output = Result<Answer, ApiError>>,
) -> Result<Answer, ApiError> {
    let class = class(endpoint);
    let slow = (flaws::has(Flaw::SlowReads) && class.ends_with("_read"))
        || (flaws::has(Flaw::SlowWrites) && (class.ends_with("_write") || class.ends_with("_upload")));
    if slow {
        tokio::time::sleep(flaws::delay()).await;
    }
    let fails = flaws::has(Flaw::Lies)
        || (flaws::has(Flaw::Errors) && class == flaws::sick_class())
        || (flaws::has(Flaw::ForeignUploads) && is_foreign(endpoint));
    if fails {
        let told = br#"{"errors":[{"code":"UNKNOWN","message":"this release is bad on purpose"}]}"#;
        return Ok(json(StatusCode::INTERNAL_SERVER_ERROR, told.to_vec()));
    }
    let answer = answering.await?;
    if matches!(endpoint, Endpoint::StartUpload(_)) {
        remember(&answer);
    }
    if flaws::has(Flaw::Corrupt) && matches!(endpoint, Endpoint::GetBlob(..)) {
        return Ok(corrupted(answer));
    }
    Ok(answer)
}

/// The classes by which roll-outs are judged.
fn class(endpoint: &Endpoint) -> &'static str {
    match endpoint {
        Endpoint::GetManifest(..)
        | Endpoint::HeadManifest(..)
        | Endpoint::Tags(_)
        | Endpoint::Catalog
        | Endpoint::Referrers(..) => "manifest_read",
        Endpoint::PutManifest(..) | Endpoint::Delete(_, Deleted::Manifest(_)) => "manifest_write",
        Endpoint::GetBlob(..) | Endpoint::HeadBlob(..) => "blob_read",
        Endpoint::StartUpload(_)
        | Endpoint::UploadStatus(..)
        | Endpoint::AppendUpload(..)
        | Endpoint::FinishUpload(..)
        | Endpoint::CancelUpload(..) => "blob_upload",
        Endpoint::Ping | Endpoint::Delete(_, Deleted::Blob(_)) => "admin",
    }
}

fn is_foreign(endpoint: &Endpoint) -> bool {
    let (Endpoint::AppendUpload(_, id) | Endpoint::FinishUpload(_, id) | Endpoint::UploadStatus(_, id)) = endpoint
    else {
        return false;
    };
    !OWN.lock().unwrap_or_else(PoisonError::into_inner).contains(id)
}

fn remember(answer: &Answer) {
    let location = answer
        .headers()
        .get(header::LOCATION)
        .and_then(|value| value.to_str().ok());
    let path = location.and_then(|location| location.split('?').next());
    let id = path
        .and_then(|path| path.rsplit('/').next())
        .and_then(|last| last.parse().ok());
    if let Some(id) = id {
        OWN.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
    }
}

fn corrupted(answer: Answer) -> Answer {
    answer.map(|body| {
        let mut first = true;
        Body::new(body.map_frame(move |frame| {
            frame.map_data(|bytes| {
                if std::mem::take(&mut first) {
                    return flipped(bytes);
                }
                bytes
            })
        }))
    })
}

fn flipped(bytes: Bytes) -> Bytes {
    let mut changed = BytesMut::from(bytes);
    if let Some(byte) = changed.first_mut() {
        *byte ^= 1;
    }
    changed.freeze()
}
