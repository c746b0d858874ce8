//! Deleting many objects at once.

use super::error::Error;
use super::folders::Folders;
use super::multipart::Multipart;
use futures::{StreamExt, stream};
use object_store::ObjectStoreExt;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// Requests for single objects at one time.
const AT_ONCE: usize = 16;
/// Threads that unlink files at one time, each its share of a batch.
const THREADS: usize = 4;
/// Files that one of them unlinks before it syncs their folder.
const SHARE: usize = 64;

/// An object to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    /// Its key.
    pub key: String,
    /// A multipart upload to that key, which is aborted.
    pub multipart_id: Option<String>,
}

/// Those that may still be there, and why.
pub(super) type Failed = Vec<(String, Error)>;

/// Unlinks files, and makes that durable: a file that came back after a crash would have no name in any row.
pub(super) async fn from_folder(root: &Path, folders: &Arc<Folders>, dead: Vec<Dead>) -> Failed {
    // Files of one folder together, so that few folders are synced.
    let mut by_folder: BTreeMap<PathBuf, Vec<(String, PathBuf)>> = BTreeMap::new();
    let mut failed = Failed::new();
    for Dead { key, .. } in dead {
        match super::error::path_of("", &key) {
            Ok(path) => {
                let file = root.join(path.as_ref());
                let folder = file.parent().unwrap_or(root).to_path_buf();
                by_folder.entry(folder).or_default().push((key, file));
            }
            Err(error) => failed.push((key, error)),
        }
    }
    let shares = by_folder.into_iter().flat_map(|(folder, mut files)| {
        let mut shares = Vec::new();
        while !files.is_empty() {
            let rest = files.split_off(files.len().min(SHARE));
            shares.push((folder.clone(), std::mem::replace(&mut files, rest)));
        }
        shares
    });
    let unlinked = stream::iter(shares).map(|(folder, files)| {
        let folders = Arc::clone(folders);
        async move {
            let keys: Vec<String> = files.iter().map(|(key, _)| key.clone()).collect();
            match spawn_blocking(move || unlink(&folder, files, &folders)).await {
                Ok(failed) => failed,
                Err(stopped) => keys
                    .into_iter()
                    .map(|key| {
                        let why = std::io::Error::other(stopped.to_string());
                        let error = Error::file("delete", &key)(why);
                        (key, error)
                    })
                    .collect(),
            }
        }
    });
    failed.extend(unlinked.buffer_unordered(THREADS).concat().await);
    failed
}

fn unlink(folder: &Path, files: Vec<(String, PathBuf)>, folders: &Folders) -> Failed {
    let mut failed = Failed::new();
    let mut gone = Vec::new();
    for (key, file) in files {
        match std::fs::remove_file(&file) {
            Ok(()) => gone.push(key),
            Err(missing) if missing.kind() == ErrorKind::NotFound => {}
            Err(refused) => {
                let error = Error::file("delete", &key)(refused);
                failed.push((key, error));
            }
        }
    }
    if !gone.is_empty()
        && let Err(unsynced) = folders.sync(folder)
    {
        for key in gone {
            let error = Error::file("sync the folder of", &key)(std::io::Error::from(unsynced.kind()));
            failed.push((key, error));
        }
    }
    failed
}

/// Aborts multipart uploads, then deletes objects as the store does it best, many with one request where it can. What the
/// store does not say of every object is asked again for each.
pub(super) async fn from_bucket(bucket: &Multipart, dead: Vec<Dead>) -> Failed {
    let mut failed = abort(bucket, &dead).await;
    let mut left: BTreeSet<String> = dead.into_iter().map(|dead| dead.key).collect();
    let mut paths = Vec::new();
    for key in &left {
        match bucket.path(key) {
            Ok(path) => paths.push((path, key.clone())),
            Err(error) => failed.push((key.clone(), error)),
        }
    }
    let by_path: BTreeMap<String, String> = paths
        .iter()
        .map(|(path, key)| (path.to_string(), key.clone()))
        .collect();
    let all = stream::iter(paths.into_iter().map(|(path, _)| Ok(path))).boxed();
    let mut deleting = bucket.objects().delete_stream(all);
    while let Some(deleted) = deleting.next().await {
        // Which object an error is about, not every store says.
        if let Ok(path) = deleted
            && let Some(key) = by_path.get(path.as_ref())
        {
            left.remove(key);
        }
    }
    let unsettled: HashSet<String> = failed.iter().map(|(key, _)| key.clone()).collect();
    let singly = stream::iter(left.into_iter().filter(|key| !unsettled.contains(key))).map(|key| async move {
        let deleted = one(bucket, &key).await;
        deleted.err().map(|error| (key, error))
    });
    failed.extend(
        singly
            .buffer_unordered(AT_ONCE)
            .filter_map(std::future::ready)
            .collect::<Vec<_>>()
            .await,
    );
    failed
}

async fn one(bucket: &Multipart, key: &str) -> Result<(), Error> {
    match bucket.objects().delete(&bucket.path(key)?).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(source) => Err(Error::of("delete", key, source)),
    }
}

async fn abort(bucket: &Multipart, dead: &[Dead]) -> Failed {
    let begun: Vec<(String, String)> = dead
        .iter()
        .filter_map(|dead| Some((dead.key.clone(), dead.multipart_id.clone()?)))
        .collect();
    let aborted = stream::iter(begun).map(|(key, id)| async move {
        let aborted = bucket.abort(&key, &id).await;
        aborted.err().map(|error| (key, error))
    });
    aborted
        .buffer_unordered(AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await
}
