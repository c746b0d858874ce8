//! One layer: files, folders and links, in the order in which they were added.

use std::io::Write;

use anyhow::Result;
use flate2::GzBuilder;
use tar::{Builder, EntryType, Header};

/// How a layer is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As it is: quickest where it is imported on this machine.
    None,
    /// As images usually travel.
    Gzip,
}

/// A layer. Everything in it belongs to root and carries no time, so that equal content has an equal digest.
#[derive(Debug, Clone, Default)]
pub struct Layer {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    path: String,
    mode: u32,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    File(Vec<u8>),
    Folder,
    Link(String),
}

impl Layer {
    /// An empty layer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file.
    #[must_use]
    pub fn file(self, path: &str, mode: u32, content: impl Into<Vec<u8>>) -> Self {
        self.with(path, mode, Kind::File(content.into()))
    }

    /// Adds a folder.
    #[must_use]
    pub fn folder(self, path: &str) -> Self {
        self.with(path, 0o755, Kind::Folder)
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn link(self, path: &str, target: &str) -> Self {
        self.with(path, 0o777, Kind::Link(target.to_owned()))
    }

    fn with(mut self, path: &str, mode: u32, kind: Kind) -> Self {
        self.entries.push(Entry {
            path: path.to_owned(),
            mode,
            kind,
        });
        self
    }

    /// The layer as a tar archive.
    ///
    /// # Errors
    /// When a path is too long for one.
    pub fn tar(&self) -> Result<Vec<u8>> {
        let mut tar = Builder::new(Vec::new());
        for Entry { path, mode, kind } in &self.entries {
            let mut header = Header::new_gnu();
            header.set_mode(*mode);
            header.set_mtime(0);
            header.set_uid(0);
            header.set_gid(0);
            header.set_size(0);
            match kind {
                Kind::File(content) => {
                    header.set_size(content.len() as u64);
                    tar.append_data(&mut header, path, content.as_slice())?;
                }
                Kind::Folder => {
                    header.set_entry_type(EntryType::Directory);
                    tar.append_data(&mut header, path, std::io::empty())?;
                }
                Kind::Link(target) => {
                    header.set_entry_type(EntryType::Symlink);
                    tar.append_link(&mut header, path, target)?;
                }
            }
        }
        Ok(tar.into_inner()?)
    }
}

/// `tar`, compressed; equal content gives equal bytes.
pub(super) fn gzip(tar: &[u8]) -> Result<Vec<u8>> {
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), flate2::Compression::fast());
    gzip.write_all(tar)?;
    Ok(gzip.finish()?)
}
