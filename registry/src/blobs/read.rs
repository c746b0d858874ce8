//! Reading objects.

use super::error::Error;
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use object_store::{GetOptions, GetRange, GetResultPayload, ObjectStore, path::Path};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Large enough that the hop to a blocking thread does not show, small enough that many readers fit into memory.
const PIECE: u64 = 256 * 1024;

/// The bytes of an object, exactly as many as were asked for, or an error.
pub struct BlobBody(Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>);

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
        return Ok(BlobBody(Box::pin(stream::empty())));
    }
    Ok(match found.payload {
        // The library's own stream of a file reads 8 KiB at a time.
        GetResultPayload::File(file, _) => BlobBody(Box::pin(pieces(Arc::new(file), key, range))),
        GetResultPayload::Stream(body) => BlobBody(Box::pin(exact(body, key, range))),
    })
}

/// Reads a file piece by piece on blocking threads, one piece ahead of the consumer.
fn pieces(file: Arc<File>, key: String, range: Range<u64>) -> impl Stream<Item = Result<Bytes, Error>> + Send {
    let starts = (range.start..range.end).step_by(usize::try_from(PIECE).unwrap_or(usize::MAX));
    stream::iter(starts)
        .map(move |start| {
            let (file, key) = (Arc::clone(&file), key.clone());
            let length = PIECE.min(range.end - start);
            let wanted = range.end;
            async move {
                let read = tokio::task::spawn_blocking(move || read_at(&file, start, length));
                let piece = read.await?.map_err(Error::file("read", &key))?;
                let end = start + piece.len() as u64;
                if end < start + length {
                    Err(Error::Short { key, end, wanted })
                } else {
                    Ok(piece)
                }
            }
        })
        .buffered(2)
}

fn read_at(file: &File, start: u64, length: u64) -> std::io::Result<Bytes> {
    let mut piece = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    let mut filled = 0;
    while filled < piece.len() {
        match file.read_at(&mut piece[filled..], start + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(interrupted) if interrupted.kind() == std::io::ErrorKind::Interrupted => {}
            Err(source) => return Err(source),
        }
    }
    piece.truncate(filled);
    Ok(piece.into())
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
