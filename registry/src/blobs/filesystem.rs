//! Blobs as local files.
//!
//! An upload's bytes go straight to the file that the finished blob will be: nobody looks at it before its row exists,
//! so nothing is copied or renamed at the end. The writer holds the file's lock, which the kernel takes back when its
//! process dies: a writer that was thought dead and wakes up still holds it, and nobody else writes meanwhile.

use super::append::{Appended, End, Position, comparable, digester};
use super::error::{AppendError, Error, Mismatch, path_of};
use super::keys;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use object_store::local::LocalFileSystem;
use oci::Digester;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

/// Bytes gathered before they are hashed and written on a blocking thread.
const BATCH: usize = 1024 * 1024;
const LOCK_WAIT: Duration = Duration::from_secs(5);
const LOCK_POLL: Duration = Duration::from_millis(10);

/// A folder of blobs.
#[derive(Debug)]
pub(super) struct Filesystem {
    root: PathBuf,
    objects: LocalFileSystem,
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
        let filesystem = Self { root, objects };
        filesystem.try_writing()?;
        Ok(filesystem)
    }

    pub(super) fn objects(&self) -> &LocalFileSystem {
        &self.objects
    }

    pub(super) async fn probe(&self) -> Result<(), Error> {
        let (root, shown) = (self.root.clone(), self.root.display().to_string());
        let looked = spawn_blocking(move || std::fs::metadata(root.join(keys::shard(0)))).await;
        looked?.map(drop).map_err(Error::file("find", &shown))
    }

    /// Writes, syncs and removes a file, so that a folder we cannot use is found out at the start.
    fn try_writing(&self) -> Result<(), Error> {
        let path = self.root.join(format!(".probe-{}", std::process::id()));
        let written = File::create(&path).and_then(|mut file| file.write_all(b"berth").and_then(|()| file.sync_all()));
        let removed = written.and_then(|()| std::fs::remove_file(&path));
        removed.map_err(Error::file("write to", &self.root.display().to_string()))
    }

    pub(super) async fn append<S, E>(&self, at: Position, body: S, end: End) -> Result<Appended, AppendError<E>>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
        E: Send,
    {
        let path = self.root.join(path_of("", &at.object_key)?.as_ref());
        let key = at.object_key.clone();
        let writer = open_when_free(path, at, end).await?;
        let writer = write_all(writer, body, &key).await?;
        let expected = comparable(&writer.digester, end);
        let (stored_bytes, hasher) = (writer.size, writer.digester.save());
        if let Some(expected) = expected {
            let actual = writer.digester.clone().finish();
            if actual != expected {
                return Err(AppendError::DigestMismatch(Box::new(Mismatch { expected, actual })));
            }
        }
        let parent = self.root.join(parent_of(&key));
        let synced = spawn_blocking(move || sync(&writer.file, &parent)).await?;
        synced.map_err(Error::file("sync", &key))?;
        Ok(Appended {
            stored_bytes,
            hasher,
            multipart_id: None,
            parts: Vec::new(),
            tail_key: None,
            object_key: key,
        })
    }
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

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn sync(file: &File, folder: &Path) -> io::Result<()> {
    file.sync_data()?;
    sync_folder(folder)
}

/// Waits for the lock of the file: the thread of a request that was dropped may still be writing its last batch.
async fn open_when_free<E>(path: PathBuf, at: Position, end: End) -> Result<Writer, AppendError<E>> {
    let deadline = Instant::now() + LOCK_WAIT;
    let at = Arc::new(at);
    loop {
        let (path, position) = (path.clone(), Arc::clone(&at));
        let opened = spawn_blocking(move || open_writer(&path, &position, end)).await?;
        if let Some(writer) = opened.map_err(Error::file("open", &at.object_key))? {
            return Ok(writer);
        }
        if Instant::now() >= deadline {
            return Err(AppendError::Busy);
        }
        tokio::time::sleep(LOCK_POLL).await;
    }
}

/// Opens the file at the upload's position. `None`: another writer holds it.
fn open_writer(path: &Path, at: &Position, end: End) -> io::Result<Option<Writer>> {
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(source)) => return Err(source),
    }
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
    Ok(Some(Writer {
        file,
        digester,
        size: at.stored_bytes,
    }))
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
    let mut batch = Vec::new();
    let mut gathered = 0;
    loop {
        let piece = body.next().await.transpose().map_err(AppendError::Body)?;
        let over = piece.is_none();
        if let Some(piece) = piece {
            gathered += piece.len();
            batch.push(piece);
        }
        if gathered >= BATCH || (over && gathered > 0) {
            let writer = turn.writer(key).await?;
            let pieces = std::mem::take(&mut batch);
            gathered = 0;
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
