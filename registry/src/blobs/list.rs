//! What the store really has, for the comparison with the rows. Nothing else relies on a listing.

use super::error::{Error, path_of};
use super::filesystem::Filesystem;
use super::multipart::Multipart;
use super::{BlobStore, Kind, keys};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectMeta, ObjectStoreExt};
use std::fs::DirEntry;
use std::io;
use std::path::Path;
use std::time::UNIX_EPOCH;
use tokio::sync::mpsc::{Sender, channel};
use tokio::task::spawn_blocking;

/// Entries that are read ahead of whoever looks at them.
const AHEAD: usize = 1000;

/// An object as the store lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// In bytes.
    pub size: u64,
    /// When it was written last, in microseconds since 1970, by the store's clock.
    pub modified: i64,
    /// It is a plain object with a name that this program makes. Everything else was put there by others.
    pub ours: bool,
}

impl BlobStore {
    /// Every object below `blobs/`, in any order, as it comes. Links are listed and not followed.
    pub fn list(&self) -> BoxStream<'static, Result<Listed, Error>> {
        match &self.objects {
            Kind::Filesystem(filesystem) => files(filesystem),
            Kind::Multipart(multipart) => objects(multipart),
        }
    }

    /// The size of an object; `None` when there is none.
    ///
    /// # Errors
    /// `Store` or `File` when the store failed.
    pub async fn size(&self, key: &str) -> Result<Option<u64>, Error> {
        match &self.objects {
            Kind::Filesystem(filesystem) => {
                let path = filesystem.root().join(path_of("", key)?.as_ref());
                match spawn_blocking(move || std::fs::symlink_metadata(path)).await? {
                    Ok(found) if found.is_file() => Ok(Some(found.len())),
                    Ok(_) => Ok(None),
                    Err(failed) if failed.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(failed) => Err(Error::file("find", key)(failed)),
                }
            }
            Kind::Multipart(multipart) => match multipart.objects().head(&multipart.path(key)?).await {
                Ok(found) => Ok(Some(found.size)),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(source) => Err(Error::of("find", key, source)),
            },
        }
    }
}

fn objects(multipart: &Multipart) -> BoxStream<'static, Result<Listed, Error>> {
    let prefix = match multipart.path(keys::FOLDER) {
        Ok(prefix) => prefix,
        Err(odd) => return stream::once(async { Err(odd) }).boxed(),
    };
    let root = prefix.as_ref().len() - keys::FOLDER.len();
    let shown = prefix.to_string();
    let listed = multipart.objects().list(Some(&prefix));
    listed
        .map_ok(move |found| of_bucket(&found, root))
        .map_err(move |source| Error::of("list", &shown, source))
        .boxed()
}

fn of_bucket(found: &ObjectMeta, root: usize) -> Listed {
    let key = found.location.as_ref().get(root..).unwrap_or_default();
    Listed {
        key: key.to_owned(),
        size: found.size,
        modified: found.last_modified.timestamp_micros(),
        ours: keys::is_ours(key),
    }
}

type Found = Result<Listed, Error>;

fn files(filesystem: &Filesystem) -> BoxStream<'static, Found> {
    let (sender, receiver) = channel(AHEAD);
    let folder = filesystem.root().join(keys::FOLDER);
    spawn_blocking(move || {
        if let Err(failed) = walk(&folder, keys::FOLDER, &sender) {
            // Not wanted any more, or the error that ends it.
            drop(failed.map(|failed| sender.blocking_send(Err(failed))));
        }
    });
    stream::unfold(receiver, |mut receiver| async move {
        let next = receiver.recv().await?;
        Some((next, receiver))
    })
    .boxed()
}

/// Tells of everything in a folder. Of the folders in it only those that we made are looked into. Fails without an error
/// when the receiver is gone.
fn walk(folder: &Path, key: &str, sender: &Sender<Found>) -> Result<(), Option<Error>> {
    let failed = |source| Some(Error::file("list", key)(source));
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let below = format!("{key}/{}", name.to_string_lossy());
        if keys::is_shard(&below) && entry.file_type().map_err(failed)?.is_dir() {
            walk(&entry.path(), &below, sender)?;
            continue;
        }
        match look_at(&entry, below) {
            Ok(listed) => sender.blocking_send(Ok(listed)).map_err(|_gone| None)?,
            // Deleted while we looked.
            Err(gone) if gone.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(failed(source)),
        }
    }
    Ok(())
}

fn look_at(entry: &DirEntry, key: String) -> io::Result<Listed> {
    let found = entry.metadata()?;
    let since = found.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Listed {
        size: found.len(),
        modified: i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        ours: found.is_file() && keys::is_ours(&key),
        key,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blobs::{Options, Target};

    async fn listed(store: &BlobStore) -> Vec<(String, bool)> {
        let mut all: Vec<Listed> = store.list().try_collect().await.unwrap();
        all.sort_by(|a, b| a.key.cmp(&b.key));
        all.into_iter().map(|listed| (listed.key, listed.ours)).collect()
    }

    #[tokio::test]
    async fn links_and_strange_names_are_listed_as_not_ours_and_never_followed() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let target = Target::Filesystem(folder.path().to_path_buf());
        let store = BlobStore::open(&target, &Options::default()).await.unwrap();
        let name = "ab000000000040008000000000000001";
        std::fs::write(elsewhere.path().join(name), "theirs").unwrap();
        let blobs = folder.path().join("blobs");
        std::fs::write(blobs.join("ab").join(name), "ours").unwrap();
        std::fs::write(blobs.join("ab/notes.txt"), "theirs").unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), blobs.join("linked")).unwrap();
        std::os::unix::fs::symlink(elsewhere.path().join(name), blobs.join("ac").join(name)).unwrap();

        let found = listed(&store).await;

        let expected = [
            (format!("blobs/ab/{name}"), true),
            ("blobs/ab/notes.txt".to_owned(), false),
            (format!("blobs/ac/{name}"), false),
            ("blobs/linked".to_owned(), false),
        ];
        assert_eq!(found, expected);
        assert_eq!(store.size(&format!("blobs/ab/{name}")).await.unwrap(), Some(4));
        assert_eq!(store.size(&format!("blobs/ac/{name}")).await.unwrap(), None);
    }
}
