//! The images that one client pushes. No two clients have a layer in common, so that each has to push its own.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::image::{Archive, Compression, Image, Layer, Settings, write_index};

/// Large enough to be cut off in the middle, and for several chunks.
pub(super) const LARGE_BYTES: usize = 6_000_000;

/// An image or an index, as a file and as a folder.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// An OCI layout in a tar archive, which `docker load` reads too.
    pub(super) archive: Archive,
    /// The same OCI layout as a folder.
    pub(super) folder: PathBuf,
    /// What the layers of the image are when unpacked; none for an index.
    pub(super) diff_ids: Vec<String>,
}

/// What a client has to push.
#[derive(Debug, Clone)]
pub(super) struct Fixtures {
    /// Three layers, one of them large.
    pub(super) image: Layout,
    /// Another one, to be cut off.
    pub(super) second: Layout,
    /// Another one, for clients that would not send the second twice.
    pub(super) third: Layout,
    /// An index of images for two kinds of processor.
    pub(super) index: Layout,
}

impl Fixtures {
    /// Writes them for `client` below `folder`.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn write(folder: &Path, client: &str) -> Result<Self> {
        let image = |what: &str| image(&format!("{client} {what}"));
        let place = |name: &str| folder.join(format!("{name}.tar"));
        let single = |name: &str| image(name).write(&place(name), &format!("{client}/{name}:v1"));
        let both = [image("amd64").processor("amd64"), image("arm64").processor("arm64")];
        let index = write_index(&place("index"), &format!("{client}/index:v1"), &both)?;
        Ok(Self {
            image: Layout::unpacked(single("image")?)?,
            second: Layout::unpacked(single("second")?)?,
            third: Layout::unpacked(single("third")?)?,
            index: Layout::unpacked(index)?,
        })
    }
}

impl Layout {
    fn unpacked(archive: Archive) -> Result<Self> {
        let folder = archive.path.with_extension("");
        let unpack = tar::Archive::new(File::open(&archive.path)?).unpack(&folder);
        unpack.with_context(|| format!("unpack {}", archive.path.display()))?;
        let mut layout = Self {
            archive,
            folder,
            diff_ids: Vec::new(),
        };
        let manifest = layout.json(&layout.archive.digest)?;
        if let Some(config) = manifest["config"]["digest"].as_str() {
            layout.diff_ids = texts(&layout.json(config)?["rootfs"]["diff_ids"]);
        }
        Ok(layout)
    }

    /// A blob of it that is JSON.
    pub(super) fn json(&self, digest: &str) -> Result<Value> {
        let blob = self.folder.join("blobs").join(digest.replace(':', "/"));
        let content = fs::read(&blob).with_context(|| format!("read {}", blob.display()))?;
        Ok(serde_json::from_slice(&content)?)
    }
}

/// The texts in a list.
pub(super) fn texts(list: &Value) -> Vec<String> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn image(seed: &str) -> Image {
    let layers = vec![
        Layer::new()
            .folder("etc")
            .file("etc/first", 0o644, format!("{seed}, the first layer\n")),
        Layer::new().file("large", 0o644, noise(seed)),
        Layer::new().file("etc/last", 0o644, format!("{seed}, the last layer\n")),
    ];
    let settings = Settings {
        command: vec!["/nothing".into()],
        ..Settings::default()
    };
    Image::new(layers, settings).stored(Compression::Gzip)
}

/// Bytes that no compression makes fewer: xorshift, seeded by a text.
pub(super) fn noise(seed: &str) -> Vec<u8> {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let mut state = seed.bytes().fold(0xcbf2_9ce4_8422_2325, fold);
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(LARGE_BYTES / 8).flatten().collect()
}
