//! Blobs as local files.
//!
//! An upload's bytes go straight to the file that the finished blob will be: nobody looks at it before its row exists,
//! so nothing is copied or renamed at the end.
//!
//! Why nobody damages what another wrote: the writer holds the file's lock, which the kernel takes back when its
//! process dies. A writer that was thought dead and wakes up still holds it, and nobody else writes meanwhile. One that
//! was slow to get the lock asks, with the lock held, whether it may still write, before it changes a byte: when it may
//! not, somebody else has written, and perhaps finished, in between.

use super::append::{Appended, ClaimError, End, Position, WriteClaim, comparable, digester};
use super::deletion::{self, Dead};
use super::error::{AppendError, Error, Mismatch, path_of};
use super::file::{self, Buffers};
use super::folders::{Folders, sync_folder};
use super::keys;
use super::read::BlobBody;
use crate::staging;
use crate::syncs::Syncs;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{Stream, StreamExt};
use object_store::local::LocalFileSystem;
use oci::Digester;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

/// Bytes gathered before they are hashed and written on a blocking thread: few enough to be in its core's cache still.
const BATCH: usize = 256 * 1024;
const LOCK_WAIT: Duration = Duration::from_secs(5);
const LOCK_POLL: Duration = Duration::from_millis(10);

/// A folder of blobs.
#[derive(Debug)]
pub(super) struct Filesystem {
    root: PathBuf,
    objects: LocalFileSystem,
    buffers: Buffers,
    folders: Arc<Folders>,
}

/// A file that is being written, and the hash of what it holds.
struct Writer {
    file: File,
    digester: Digester,
    size: u64,
}

impl Filesystem {
    pub(super) async fn open(root: &Path) -> Result<Self, Error> {
        let root = root.to_path_buf();
        spawn_blocking(move || Self::open_blocking(&root)).await?
    }

    fn open_blocking(root: &Path) -> Result<Self, Error> {
        let shown = root.display().to_string();
        make_folders(root).map_err(Error::file("make the folders of", &shown))?;
        let root = root.canonicalize().map_err(Error::file("find", &shown))?;
        let objects = LocalFileSystem::new_with_prefix(&root)
            .map_err(|source| Error::of("open", &shown, source))?
            .with_fsync(true);
        let filesystem = Self {
            root,
            objects,
            buffers: Buffers::default(),
            folders: Arc::default(),
        };
        filesystem.try_writing()?;
        Ok(filesystem)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// What became of its syncs.
    pub(super) fn syncs(&self) -> &Syncs {
        self.folders.syncs()
    }

    pub(super) fn objects(&self) -> &LocalFileSystem {
        &self.objects
    }

    pub(super) async fn delete_all(&self, dead: Vec<Dead>) -> Vec<(String, Error)> {
        deletion::from_folder(&self.root, &self.folders, dead).await
    }

    pub(super) async fn read(&self, key: &str, range: Range<u64>) -> Result<BlobBody, Error> {
        file::open(self.root.join(path_of("", key)?.as_ref()), key, range, &self.buffers).await
    }

    pub(super) async fn probe(&self) -> Result<(), Error> {
        let (root, shown) = (self.root.clone(), self.root.display().to_string());
        let looked = spawn_blocking(move || std::fs::metadata(root.join(keys::shard(0)))).await;
        looked?.map(drop).map_err(Error::file("find", &shown))
    }

    /// Writes, syncs and removes a file, so that a folder we cannot use is found out at the start.
    fn try_writing(&self) -> Result<(), Error> {
        let path = self.root.join(format!(".probe-{}", uuid::Uuid::new_v4().simple()));
        let written = File::create(&path).and_then(|mut file| file.write_all(b"berth").and_then(|()| file.sync_all()));
        let removed = written.and_then(|()| std::fs::remove_file(&path));
        removed.map_err(Error::file("write to", &self.root.display().to_string()))
    }

    pub(super) async fn append<S, E, C>(
        &self,
        at: Position,
        mut body: S,
        end: End,
        claim: &C,
    ) -> Result<Appended, AppendError<E>>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
        E: Send,
        C: WriteClaim,
    {
        let key = at.object_key.clone();
        let (pieces, over) = gather(&mut body).await.map_err(AppendError::Body)?;
        let beginning = Beginning {
            path: self.root.join(path_of("", &key)?.as_ref()),
            folder: Folder {
                path: self.root.join(parent_of(&key)),
                file: self.root.join(&key),
                all: Arc::clone(&self.folders),
            },
            confirmed: claim.confirm(),
            runtime: Handle::current(),
            at,
            end,
            pieces,
            over,
        };
        let ended = match begin_when_free(Box::new(beginning), &key).await? {
            Begun::Whole(ended) => ended,
            Begun::Part(writer, folder) => {
                let writer = write_all(*writer, body, &key).await?;
                let ended = spawn_blocking(move || close(writer, end, &folder, true)).await?;
                ended.map_err(Error::file("write", &key))?
            }
        };
        let writer = ended.map_err(AppendError::DigestMismatch)?;
        Ok(Appended {
            stored_bytes: writer.size,
            hasher: writer.digester.save(),
            multipart_id: None,
            parts: Vec::new(),
            tail_key: None,
            object_key: key,
        })
    }
}

/// What the first trip to a thread that may block takes with it.
struct Beginning {
    path: PathBuf,
    folder: Folder,
    confirmed: BoxFuture<'static, Result<(), ClaimError>>,
    runtime: Handle,
    at: Position,
    end: End,
    pieces: Vec<Bytes>,
    over: bool,
}

/// Where a file is new.
struct Folder {
    path: PathBuf,
    file: PathBuf,
    all: Arc<Folders>,
}

/// What that trip came to.
enum Begun {
    /// The first batch is written; more may come.
    Part(Box<Writer>, Folder),
    /// The body came whole: it is written, compared and synced.
    Whole(Ended),
}

/// A writer whose bytes are durable, or are not those of the digest.
type Ended = Result<Box<Writer>, Box<Mismatch>>;

enum Refused {
    NotFree(Box<Beginning>),
    Claim(ClaimError),
    File(io::Error),
}

impl From<io::Error> for Refused {
    fn from(source: io::Error) -> Self {
        Self::File(source)
    }
}

/// Begins as soon as the file's lock is free: the thread of a request that was dropped may still write its last batch.
async fn begin_when_free<E>(mut beginning: Box<Beginning>, key: &str) -> Result<Begun, AppendError<E>> {
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        beginning = match spawn_blocking(move || beginning.begin()).await? {
            Ok(begun) => return Ok(begun),
            Err(Refused::NotFree(beginning)) => beginning,
            Err(Refused::Claim(lost)) => return Err(lost.into()),
            Err(Refused::File(source)) => return Err(Error::file("write", key)(source).into()),
        };
        if Instant::now() >= deadline {
            return Err(AppendError::Busy);
        }
        tokio::time::sleep(LOCK_POLL).await;
    }
}

impl Beginning {
    fn begin(self: Box<Self>) -> Result<Begun, Refused> {
        let Some(file) = lock(&self.path)? else {
            return Err(Refused::NotFree(self));
        };
        // Only now: whoever had the lock before may have made this file a blob.
        let beginning = *self;
        beginning
            .runtime
            .block_on(beginning.confirmed)
            .map_err(Refused::Claim)?;
        // Bytes that were acknowledged have been synced, and so has the name of their file.
        let unsynced = !beginning.pieces.is_empty() || beginning.at.stored_bytes == 0;
        let writer = write_batch(open_writer(file, &beginning.at, beginning.end)?, &beginning.pieces)?;
        Ok(if beginning.over {
            Begun::Whole(close(writer, beginning.end, &beginning.folder, unsynced)?)
        } else {
            Begun::Part(Box::new(writer), beginning.folder)
        })
    }
}

/// Compares what was written with the digest it must have, and makes it durable when it is that.
fn close(writer: Writer, end: End, folder: &Folder, unsynced: bool) -> io::Result<Ended> {
    if let Some(expected) = comparable(&writer.digester, end) {
        let actual = writer.digester.clone().finish();
        if actual != expected && !staging::mutated("digest_not_compared") {
            return Ok(Err(Box::new(Mismatch { expected, actual })));
        }
    }
    measure(&writer)?;
    if unsynced {
        if !staging::mutated("file_not_synced") {
            let syncs = folder.all.syncs();
            syncs.run(folder.file.display(), || writer.file.sync_data())?;
            staging::note("file.synced");
        }
        if !staging::mutated("folder_not_synced") {
            folder.all.sync(&folder.path)?;
            staging::note("folder.synced");
        }
    }
    Ok(Ok(Box::new(writer)))
}

/// Makes sure that the file is what was written.
fn measure(writer: &Writer) -> io::Result<()> {
    let length = writer.file.metadata()?.len();
    if length != writer.size {
        let wrong = format!("{} bytes were written, the file has {length}", writer.size);
        return Err(io::Error::new(io::ErrorKind::InvalidData, wrong));
    }
    Ok(())
}

/// The next batch of a body, and whether the body is over.
async fn gather<S, E>(body: &mut S) -> Result<(Vec<Bytes>, bool), E>
where
    S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
{
    let mut pieces = Vec::new();
    let mut gathered = 0;
    while gathered < BATCH {
        let Some(piece) = body.next().await.transpose()? else {
            return Ok((pieces, true));
        };
        gathered += piece.len();
        pieces.push(piece);
    }
    Ok((pieces, false))
}

fn parent_of(key: &str) -> &str {
    key.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// All folders exist, durably, before the first blob: an append needs to sync only the one it writes into. The data
/// folder may be new too, so the folders that name it are synced with it.
fn make_folders(root: &Path) -> io::Result<()> {
    for number in 0..=u8::MAX {
        std::fs::create_dir_all(root.join(keys::shard(number)))?;
    }
    sync_folder(&root.join("blobs"))?;
    sync_folder(root)?;
    for above in root.canonicalize()?.ancestors().skip(1).take(2) {
        // Folders above that we may not open were not made by us.
        drop(sync_folder(above));
    }
    Ok(())
}

/// Opens and locks the file, and changes nothing. `None`: another writer has the lock.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true);
    let file = file::not_through_links(&mut options).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(source),
    }
}

/// Brings a locked file to the upload's position.
fn open_writer(mut file: File, at: &Position, end: End) -> io::Result<Writer> {
    let length = file.metadata()?.len();
    if length < at.stored_bytes {
        let lost = format!("{} bytes were acknowledged, the file has {length}", at.stored_bytes);
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, lost));
    }
    // What a request wrote that never finished.
    if length > at.stored_bytes {
        file.set_len(at.stored_bytes)?;
    }
    let digester = match digester(at, end) {
        Some(digester) => digester,
        None => hash_again(&mut file)?,
    };
    file.seek(SeekFrom::Start(at.stored_bytes))?;
    Ok(Writer {
        file,
        digester,
        size: at.stored_bytes,
    })
}

fn hash_again(file: &mut File) -> io::Result<Digester> {
    let mut digester = Digester::new(oci::Algorithm::Sha256);
    let mut piece = vec![0; BATCH];
    file.seek(SeekFrom::Start(0))?;
    loop {
        let read = io::Read::read(file, &mut piece)?;
        if read == 0 {
            return Ok(digester);
        }
        digester.update(&piece[..read]);
    }
}

/// Writes and hashes one batch on a blocking thread while the next one arrives.
async fn write_all<S, E>(writer: Writer, mut body: S, key: &str) -> Result<Writer, AppendError<E>>
where
    S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
{
    let mut turn = Turn::Idle(Box::new(writer));
    loop {
        let (pieces, over) = gather(&mut body).await.map_err(AppendError::Body)?;
        if !pieces.is_empty() {
            let writer = turn.writer(key).await?;
            turn = Turn::Busy(spawn_blocking(move || write_batch(writer, &pieces)));
        }
        if over {
            return Ok(turn.writer(key).await?);
        }
    }
}

/// Who has the writer: we, or the thread that writes the batch before.
enum Turn {
    Idle(Box<Writer>),
    Busy(tokio::task::JoinHandle<io::Result<Writer>>),
}

impl Turn {
    async fn writer(self, key: &str) -> Result<Writer, Error> {
        match self {
            Self::Idle(writer) => Ok(*writer),
            Self::Busy(writing) => writing.await?.map_err(Error::file("write", key)),
        }
    }
}

fn write_batch(mut writer: Writer, pieces: &[Bytes]) -> io::Result<Writer> {
    for piece in pieces {
        writer.digester.update(piece);
        writer.file.write_all(piece)?;
        writer.size += piece.len() as u64;
    }
    Ok(writer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;

    /// A claim that is lost, or not.
    struct Claim(bool);

    impl WriteClaim for Claim {
        fn confirm(&self) -> BoxFuture<'static, Result<(), ClaimError>> {
            let held = self.0;
            Box::pin(async move { if held { Ok(()) } else { Err(ClaimError::Lost) } })
        }

        async fn multipart_begun(&self, _: &str, _: &str) -> Result<(), ClaimError> {
            Ok(())
        }
    }

    async fn append(store: &Filesystem, content: &'static [u8], end: End, claim: Claim) -> Result<(), AppendError<()>> {
        let at = Position {
            object_key: "blobs/ab/upload".to_owned(),
            claim: 1,
            ..Position::default()
        };
        let body = stream::iter([Ok(Bytes::from_static(content))]);
        store.append(at, body, end, &claim).await.map(drop)
    }

    #[tokio::test]
    async fn a_late_writer_that_lost_its_claim_leaves_the_finished_blob_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = Filesystem::open(folder.path()).await.unwrap();
        let digest = oci::Digest::of(oci::Algorithm::Sha256, b"finished");
        append(&store, b"finished", End::Last(digest), Claim(true))
            .await
            .unwrap();

        let late = append(&store, b"late", End::Open, Claim(false)).await;

        assert!(matches!(late, Err(AppendError::Claim(ClaimError::Lost))));
        assert_eq!(
            std::fs::read(folder.path().join("blobs/ab/upload")).unwrap(),
            b"finished"
        );
    }

    #[tokio::test]
    async fn a_file_that_another_writer_has_locked_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let store = Filesystem::open(folder.path()).await.unwrap();
        let path = folder.path().join("blobs/ab/upload");
        let other = lock(&path).unwrap().unwrap();

        assert!(lock(&path).unwrap().is_none());

        drop(other);
        append(&store, b"now", End::Open, Claim(true)).await.unwrap();
        assert_eq!(std::fs::read(path).unwrap(), b"now");
    }
}
