//! Container images from plain files, without a container engine: the same input gives the same bytes.

use std::path::PathBuf;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::{cache::Cache, shell::Log, tools::apt};

mod berth;
mod elf;
mod layer;
mod layout;
mod releases;
mod sample;

pub use berth::{Images, build};
pub use layer::{Compression, Layer};
pub use layout::{Image, Settings, write_index};
pub use releases::{Built, Migration, Release, STABLE, with_releases};
pub use sample::Sample;

/// An image in a file: an OCI layout in a tar archive, as `skopeo oci-archive:` and `ctr images import` read it.
#[derive(Debug, Clone)]
pub struct Archive {
    /// The file.
    pub path: PathBuf,
    /// Its name with a tag, without a registry: `berth/berth-registry:0.1.0`.
    pub reference: String,
    /// The digest of its manifest.
    pub digest: String,
    /// The size of the file.
    pub size_bytes: u64,
}

const BUSYBOX: &str = "/usr/bin/busybox";

/// The layer with a shell and its commands.
///
/// # Errors
/// When busybox cannot be had.
pub fn busybox_layer(cache: &Cache, log: &Log) -> Result<Layer> {
    apt::ensure(&[apt::BUSYBOX], cache, log)?;
    let binary = std::fs::read(BUSYBOX).context("read busybox")?;
    elf::ensure_static(&binary).context("busybox in an image")?;
    let mut layer = Layer::new()
        .folder("bin")
        .folder("tmp")
        .file("bin/busybox", 0o755, binary);
    for command in [
        "sh",
        "cat",
        "echo",
        "env",
        "head",
        "id",
        "ls",
        "nslookup",
        "sha256sum",
        "sleep",
        "test",
        "touch",
        "wc",
    ] {
        layer = layer.link(&format!("bin/{command}"), "busybox");
    }
    Ok(layer)
}

/// An image with a shell, for pods of tests: `berth/busybox:1`.
///
/// # Errors
/// When busybox cannot be had or the image cannot be written.
pub fn busybox(cache: &Cache, log: &Log) -> Result<Archive> {
    let settings = Settings {
        command: vec!["sh".into()],
        ..Settings::default()
    };
    write(
        cache,
        "berth/busybox:1",
        &Image::new(vec![busybox_layer(cache, log)?], settings),
    )
}

/// What holds a pod's namespaces open: `berth/pause:1`.
///
/// # Errors
/// As [`busybox`].
pub fn pause(cache: &Cache, log: &Log) -> Result<Archive> {
    let wait = ["/bin/busybox", "sleep", "2147483647"].map(str::to_owned);
    let settings = Settings {
        entrypoint: wait.into(),
        user: "65534:65534".into(),
        ..Settings::default()
    };
    write(
        cache,
        "berth/pause:1",
        &Image::new(vec![busybox_layer(cache, log)?], settings),
    )
}

/// Writes `image` to its place in the cache: one for each checkout, because each makes images of its own.
fn write(cache: &Cache, reference: &str, image: &Image) -> Result<Archive> {
    image.write(&place(cache, reference)?, reference)
}

fn place(cache: &Cache, reference: &str) -> Result<PathBuf> {
    let checkout = Sha256::digest(crate::tree().as_os_str().as_encoded_bytes());
    let folder = cache.folder(&format!("images/{}", &hex::encode(checkout)[..16]))?;
    Ok(folder.join(format!("{}.tar", reference.replace(['/', ':'], "_"))))
}
