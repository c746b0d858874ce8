//! Several parts of a blob in one answer: `multipart/byteranges` of RFC 9110.

use super::answer::{Answer, with};
use super::error::ApiError;
use super::pull::OCTET_STREAM;
use crate::distribution::Distribution;
use crate::metadata::blobs::Blob;
use axum::body::Body;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, future, stream};
use http::{HeaderValue, StatusCode, header};
use oci::ByteRange;
use std::sync::Arc;
use uuid::Uuid;

/// An answer with every part, in the order given. Parts are opened one after the other, the first before the answer
/// begins.
pub(super) async fn several(
    distribution: &Distribution,
    blob: Arc<Blob>,
    parts: Vec<ByteRange>,
) -> Result<Answer, ApiError> {
    let boundary = Uuid::new_v4().simple().to_string();
    let heads: Vec<Bytes> = (0..parts.len())
        .map(|place| part_head(&boundary, place, parts[place], blob.size))
        .collect();
    let end = Bytes::from(format!("\r\n--{boundary}--\r\n"));
    let length = parts.iter().map(|part| part.size()).sum::<u64>()
        + heads.iter().chain([&end]).map(|text| text.len() as u64).sum::<u64>();
    let first = match parts.first() {
        Some(part) => Some(distribution.blob_bytes(&blob, part.start..part.end + 1).await?),
        None => None,
    };
    let (distribution, blob, mut first) = (distribution.clone(), blob, first);
    let opened = stream::iter(heads.into_iter().zip(parts)).then(move |(head, part)| {
        let (distribution, blob, first) = (distribution.clone(), Arc::clone(&blob), first.take());
        async move {
            let bytes = match first {
                Some(bytes) => bytes,
                None => distribution.blob_bytes(&blob, part.start..part.end + 1).await?,
            };
            let head = stream::once(future::ok::<Bytes, axum::Error>(head));
            Ok::<_, crate::distribution::Error>(head.chain(bytes.map_err(axum::Error::new)))
        }
    });
    let body = opened
        .map_err(axum::Error::new)
        .try_flatten()
        .chain(stream::once(future::ok(end)));
    let mut answer = Answer::new(Body::from_stream(body));
    *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
    answer
        .headers_mut()
        .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    let media_type = format!("multipart/byteranges; boundary={boundary}");
    Ok(with(answer, header::CONTENT_TYPE, media_type))
}

/// What stands before a part's bytes.
fn part_head(boundary: &str, place: usize, part: ByteRange, total: u64) -> Bytes {
    let line_end = if place == 0 { "" } else { "\r\n" };
    let range = part.content_range(total);
    format!("{line_end}--{boundary}\r\nContent-Type: {OCTET_STREAM}\r\nContent-Range: {range}\r\n\r\n").into()
}
