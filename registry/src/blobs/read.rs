//! Reading objects of a bucket.

use super::error::Error;
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use object_store::{GetOptions, GetRange, ObjectStore, path::Path};
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The bytes of an object, exactly as many as were asked for, or an error.
pub struct BlobBody(Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>);

impl BlobBody {
    pub(super) fn of(pieces: impl Stream<Item = Result<Bytes, Error>> + Send + 'static) -> Self {
        Self(Box::pin(pieces))
    }

    /// Bytes that are here already.
    pub fn of_bytes(bytes: Bytes) -> Self {
        Self::of(stream::iter([Ok(bytes)]))
    }

    /// The same bytes; whoever watches is told of an error in their midst.
    #[must_use]
    pub fn watched(self, failed: impl FnMut(&Error) + Send + 'static) -> Self {
        Self(self.0.inspect_err(failed).boxed())
    }
}

impl std::fmt::Debug for BlobBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BlobBody")
    }
}

impl Stream for BlobBody {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

pub(super) async fn open(objects: &dyn ObjectStore, path: &Path, range: Range<u64>) -> Result<BlobBody, Error> {
    let key = path.to_string();
    let options = GetOptions {
        // A range of no bytes cannot be asked for.
        range: (!range.is_empty()).then(|| GetRange::Bounded(range.clone())),
        ..GetOptions::default()
    };
    let found = objects
        .get_opts(path, options)
        .await
        .map_err(|source| Error::of("read", &key, source))?;
    if found.range.end.min(range.end) < range.end {
        return Err(Error::Short {
            key,
            end: found.range.end,
            wanted: range.end,
        });
    }
    if range.is_empty() {
        return Ok(BlobBody::of(stream::empty()));
    }
    Ok(BlobBody::of(exact(found.into_stream(), key, range)))
}

/// Passes a stream on and fails at its end when it was too short.
fn exact(
    body: impl Stream<Item = object_store::Result<Bytes>> + Send + 'static,
    key: String,
    range: Range<u64>,
) -> impl Stream<Item = Result<Bytes, Error>> + Send {
    let state = (Box::pin(body), range.start, false);
    stream::unfold(state, move |(mut body, at, over)| {
        let (key, wanted) = (key.clone(), range.end);
        async move {
            if over {
                return None;
            }
            match body.next().await {
                Some(Ok(piece)) => {
                    let at = at + piece.len() as u64;
                    Some((Ok(piece), (body, at, false)))
                }
                Some(Err(source)) => Some((Err(Error::of("read", &key, source)), (body, at, true))),
                None if at < wanted => Some((Err(Error::Short { key, end: at, wanted }), (body, at, true))),
                None => None,
            }
        }
    })
}
