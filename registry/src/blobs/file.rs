//! Reading local files without a trip to another thread, as long as the system has them in memory.
//!
//! Opening and reading ask the system not to wait for the disk. When it would have to, or does not know how to say so
//! (an old kernel, a file system without it), the same is done on a thread that may wait.

use super::error::Error;
use super::read::BlobBody;
use bytes::Bytes;
use futures::Stream;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::ReadWriteFlags;
use std::fs::{File, OpenOptions};
use std::future::Future as _;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::task::{JoinHandle, spawn_blocking};

/// Large enough that the calls do not show, small enough that many readers fit into memory.
const PIECE: usize = 256 * 1024;
/// Less is not worth a buffer of a whole piece.
const SMALL: usize = 32 * 1024;
/// Buffers that are kept for the next reader: 8 MiB.
const KEPT: usize = 32;

/// Buffers of one piece each. A new one costs a page fault for every 4 KiB.
#[derive(Debug, Clone, Default)]
pub(super) struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

impl Buffers {
    /// A buffer of at least `length`, which is no more than a piece.
    fn take(&self, length: usize) -> Buffer {
        let bytes = if length > SMALL {
            let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
            kept.unwrap_or_else(|| vec![0; PIECE])
        } else {
            vec![0; length]
        };
        Buffer {
            bytes,
            filled: 0,
            buffers: self.clone(),
        }
    }
}

/// Goes back to the others when the last reader of its bytes is done.
struct Buffer {
    bytes: Vec<u8>,
    filled: usize,
    buffers: Buffers,
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.bytes.len() == PIECE {
            let mut kept = self.buffers.0.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() < KEPT {
                kept.push(std::mem::take(&mut self.bytes));
            }
        }
    }
}

/// Opens a file to read `range` of it.
pub(super) async fn open(path: PathBuf, key: &str, range: Range<u64>, buffers: &Buffers) -> Result<BlobBody, Error> {
    let opened = match open_cached(&path) {
        Ok(file) => Ok(file),
        // Whatever was wrong, the other way says it in full.
        Err(_) => spawn_blocking(move || not_through_links(File::options().read(true)).open(path)).await?,
    };
    let file = opened.map_err(|source| missing(key, source))?;
    let length = file.metadata().map_err(Error::file("read", key))?.len();
    if length < range.end {
        return Err(Error::Short {
            key: key.to_owned(),
            end: length,
            wanted: range.end,
        });
    }
    Ok(BlobBody::of(Reading {
        file: Arc::new(file),
        key: key.to_owned(),
        at: range.start,
        end: range.end,
        waiting: None,
        buffers: buffers.clone(),
    }))
}

fn missing(key: &str, source: io::Error) -> Error {
    if source.kind() == io::ErrorKind::NotFound {
        return Error::NotFound { key: key.to_owned() };
    }
    Error::file("open", key)(source)
}

/// A link in the place of an object was put there by others, and leads to what is not ours.
pub(super) fn not_through_links(options: &mut OpenOptions) -> &OpenOptions {
    options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
}

fn open_cached(path: &Path) -> rustix::io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat2(rustix::fs::CWD, path, flags, Mode::empty(), ResolveFlags::CACHED).map(File::from)
}

/// A file that is read piece by piece, each when the one before has gone out.
struct Reading {
    file: Arc<File>,
    key: String,
    at: u64,
    end: u64,
    waiting: Option<JoinHandle<io::Result<Buffer>>>,
    buffers: Buffers,
}

impl Stream for Reading {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let left = self.end - self.at;
        if left == 0 {
            return Poll::Ready(None);
        }
        if self.waiting.is_none() {
            if let Some(buffer) = self.read_cached(left) {
                return Poll::Ready(Some(self.passed_on(buffer)));
            }
            self.waiting = Some(self.read_waiting(left));
        }
        let Some(waiting) = &mut self.waiting else {
            return Poll::Ready(None);
        };
        let read = ready!(Pin::new(waiting).poll(cx));
        self.waiting = None;
        let read = read
            .map_err(Error::from)
            .and_then(|read| read.map_err(Error::file("read", &self.key)));
        Poll::Ready(Some(read.and_then(|buffer| self.passed_on(buffer))))
    }
}

impl Reading {
    /// A buffer, and how much of it the next piece takes.
    fn buffer(&self, left: u64) -> (Buffer, usize) {
        let length = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        (self.buffers.take(length), length)
    }

    /// What is in memory of the next piece, unless that is nothing.
    fn read_cached(&self, left: u64) -> Option<Buffer> {
        let (mut buffer, length) = self.buffer(left);
        let into = &mut [IoSliceMut::new(&mut buffer.bytes[..length])];
        buffer.filled = rustix::io::preadv2(&*self.file, into, self.at, ReadWriteFlags::NOWAIT).ok()?;
        (buffer.filled > 0).then_some(buffer)
    }

    /// Reads the next piece where waiting holds nobody up.
    fn read_waiting(&self, left: u64) -> JoinHandle<io::Result<Buffer>> {
        let (file, at) = (Arc::clone(&self.file), self.at);
        let (mut buffer, length) = self.buffer(left);
        spawn_blocking(move || {
            buffer.filled = rustix::io::retry_on_intr(|| rustix::io::pread(&*file, &mut buffer.bytes[..length], at))?;
            Ok(buffer)
        })
    }

    fn passed_on(&mut self, buffer: Buffer) -> Result<Bytes, Error> {
        if buffer.filled == 0 {
            return Err(Error::Short {
                key: self.key.clone(),
                end: self.at,
                wanted: self.end,
            });
        }
        self.at += buffer.filled as u64;
        Ok(Bytes::from_owner(buffer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::TryStreamExt;

    async fn read(content: &[u8], range: Range<u64>, buffers: &Buffers) -> Result<Vec<u8>, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("object");
        std::fs::write(&path, content).unwrap();
        let body = open(path, "object", range, buffers).await?;
        let pieces: Vec<Bytes> = body.try_collect().await?;
        Ok(pieces.concat())
    }

    #[tokio::test]
    async fn a_file_is_read_bit_for_bit_whatever_a_buffer_held_before() {
        let content: Vec<u8> = (0..=250_u8).cycle().take(3 * PIECE + 70_000).collect();
        let buffers = Buffers::default();
        for range in [0..content.len(), 1..PIECE + 1, 100..200, PIECE * 3..content.len(), 5..5] {
            let asked = range.start as u64..range.end as u64;

            let got = read(&content, asked, &buffers).await.unwrap();

            assert_eq!(got, content[range]);
        }
        assert!(!buffers.0.lock().unwrap().is_empty(), "buffers come back");
    }

    #[tokio::test]
    async fn a_file_that_is_too_short_is_refused_before_its_first_byte() {
        let short = read(b"four", 0..5, &Buffers::default()).await;

        assert!(matches!(short, Err(Error::Short { end: 4, wanted: 5, .. })));
    }

    #[tokio::test]
    async fn a_file_that_is_cut_while_it_is_read_breaks_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("object");
        std::fs::write(&path, vec![7; 2 * PIECE]).unwrap();
        let mut body = open(path.clone(), "object", 0..2 * PIECE as u64, &Buffers::default())
            .await
            .unwrap();
        body.try_next().await.unwrap().unwrap();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(PIECE as u64)
            .unwrap();

        assert!(matches!(body.try_next().await, Err(Error::Short { .. })));
    }

    #[tokio::test]
    async fn a_link_in_the_place_of_an_object_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (theirs, link) = (folder.path().join("theirs"), folder.path().join("object"));
        std::fs::write(&theirs, b"secret").unwrap();
        std::os::unix::fs::symlink(&theirs, &link).unwrap();

        let followed = open(link.clone(), "object", 0..6, &Buffers::default()).await;

        assert!(matches!(followed, Err(Error::File { .. })));
        let written = not_through_links(File::options().write(true).create(true).truncate(false)).open(link);
        assert!(written.is_err());
        assert_eq!(std::fs::read(theirs).unwrap(), b"secret");
    }

    #[tokio::test]
    async fn a_file_that_is_not_there_is_not_found() {
        let gone = open(PathBuf::from("/nowhere/at/all"), "object", 0..1, &Buffers::default()).await;

        assert!(matches!(gone, Err(Error::NotFound { .. })));
    }
}
