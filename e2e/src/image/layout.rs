//! The OCI image layout: manifest, configuration and layers as blobs named by their digests, in one tar archive.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::Write,
    path::Path,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, Header};

use super::{
    Archive,
    layer::{Compression, Layer, gzip},
};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// What an image runs, unless the pod says otherwise.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The program that is always started.
    pub entrypoint: Vec<String>,
    /// Its arguments, or the program when there is no entrypoint.
    pub command: Vec<String>,
    /// `KEY=value`.
    pub environment: Vec<String>,
    /// `uid:gid`; empty is root.
    pub user: String,
}

/// An image, for this machine's kind of processor unless said otherwise.
#[derive(Debug, Clone)]
pub struct Image {
    layers: Vec<Layer>,
    settings: Settings,
    compression: Compression,
    processor: &'static str,
}

struct Blob {
    media_type: String,
    digest: String,
    content: Vec<u8>,
}

impl Blob {
    fn new(media_type: impl Into<String>, content: Vec<u8>) -> Self {
        Self {
            media_type: media_type.into(),
            digest: digest(&content),
            content,
        }
    }

    fn file(&self) -> String {
        format!("blobs/{}", self.digest.replace(':', "/"))
    }

    fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest, "size": self.content.len()})
    }
}

impl Image {
    /// An image of `layers`, the lowest first.
    pub fn new(layers: Vec<Layer>, settings: Settings) -> Self {
        Self {
            layers,
            settings,
            compression: Compression::None,
            processor: architecture(),
        }
    }

    /// For another kind of processor, by Go's name of it.
    #[must_use]
    pub fn processor(mut self, name: &'static str) -> Self {
        self.processor = name;
        self
    }

    /// With its layers stored as `compression` says.
    #[must_use]
    pub fn stored(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Writes it to `path`, whole or not at all.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path, reference: &str) -> Result<Archive> {
        let blobs = self.blobs()?;
        let manifest = blobs.last().context("an image has a manifest")?;
        let mut top = manifest.descriptor();
        top["platform"] = self.platform();
        pack(path, top, &blobs, (reference, docker_manifest(&blobs, reference)))
    }

    fn platform(&self) -> Value {
        json!({"os": "linux", "architecture": self.processor})
    }

    /// Layers, configuration, manifest.
    fn blobs(&self) -> Result<Vec<Blob>> {
        let media_type = match self.compression {
            Compression::None => LAYER.to_owned(),
            Compression::Gzip => format!("{LAYER}+gzip"),
        };
        let (mut blobs, mut unpacked) = (Vec::new(), Vec::new());
        for layer in &self.layers {
            let tar = Blob::new(&media_type, layer.tar()?);
            unpacked.push(tar.digest.clone());
            blobs.push(match self.compression {
                Compression::None => tar,
                Compression::Gzip => Blob::new(&media_type, gzip(&tar.content)?),
            });
        }
        let layers: Vec<Value> = blobs.iter().map(Blob::descriptor).collect();
        let config = Blob::new(CONFIG, self.config(&unpacked).to_string().into_bytes());
        let manifest =
            json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config.descriptor(), "layers": layers});
        blobs.push(config);
        blobs.push(Blob::new(MANIFEST, manifest.to_string().into_bytes()));
        Ok(blobs)
    }

    fn config(&self, unpacked: &[String]) -> Value {
        let Settings {
            entrypoint,
            command,
            environment,
            user,
        } = &self.settings;
        let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned();
        let environment: Vec<&String> = std::iter::once(&path).chain(environment).collect();
        json!({
            "created": "1970-01-01T00:00:00Z",
            "architecture": self.processor,
            "os": "linux",
            "config": {"Entrypoint": entrypoint, "Cmd": command, "Env": environment, "User": user, "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": unpacked},
            "history": unpacked.iter().map(|_| json!({"created_by": "e2e"})).collect::<Vec<_>>(),
        })
    }
}

/// Writes an index of `images` to `path`, whole or not at all.
///
/// # Errors
/// When the file cannot be written.
pub fn write_index(path: &Path, reference: &str, images: &[Image]) -> Result<Archive> {
    let (mut blobs, mut manifests) = (Vec::new(), Vec::new());
    for image in images {
        let of_image = image.blobs()?;
        let mut descriptor = of_image.last().context("an image has a manifest")?.descriptor();
        descriptor["platform"] = image.platform();
        manifests.push(descriptor);
        blobs.extend(of_image);
    }
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
    let index = Blob::new(INDEX, index.to_string().into_bytes());
    let top = index.descriptor();
    blobs.push(index);
    pack(path, top, &blobs, (reference, None))
}

/// Writes several images into one archive, which has each under its own name. Blobs that they share are there once.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn write_all(
    path: &Path,
    reference: &str,
    images: impl Iterator<Item = (String, Image)>,
) -> Result<Archive> {
    let (mut blobs, mut tops, mut known) = (Vec::new(), Vec::new(), HashSet::new());
    for (name, image) in images {
        let of_image = image.blobs()?;
        let mut top = of_image.last().context("an image has a manifest")?.descriptor();
        top["platform"] = image.platform();
        tops.push(named(top, &name));
        blobs.extend(of_image.into_iter().filter(|blob| known.insert(blob.digest.clone())));
    }
    write_layout(path, reference, (tops, None), &blobs)
}

/// One image or index.
fn pack(path: &Path, top: Value, blobs: &[Blob], (reference, docker): (&str, Option<Value>)) -> Result<Archive> {
    write_layout(path, reference, (vec![named(top, reference)], docker), blobs)
}

/// containerd knows an image by its full name only; skopeo by the tag.
fn named(mut top: Value, reference: &str) -> Value {
    top["annotations"] = json!({
        "io.containerd.image.name": format!("docker.io/{reference}"),
        "org.opencontainers.image.ref.name": reference.rsplit(':').next().unwrap_or("latest"),
    });
    top
}

/// An OCI layout in a tar archive; with Docker's own list of images it is also what `docker load` reads.
fn write_layout(
    path: &Path,
    reference: &str,
    (tops, docker): (Vec<Value>, Option<Value>),
    blobs: &[Blob],
) -> Result<Archive> {
    let digest = match tops.as_slice() {
        [one] => one["digest"].as_str().unwrap_or_default().to_owned(),
        several => digest(json!(several).to_string().as_bytes()),
    };
    let partial = path.with_extension(format!("partial-{}", std::process::id()));
    let mut tar = Builder::new(File::create(&partial).with_context(|| format!("write {}", partial.display()))?);
    let mut described = vec![
        ("oci-layout", json!({"imageLayoutVersion": "1.0.0"})),
        ("index.json", json!({"schemaVersion": 2, "manifests": tops})),
    ];
    described.extend(docker.map(|list| ("manifest.json", list)));
    for (name, content) in described {
        append(&mut tar, name, content.to_string().as_bytes())?;
    }
    let mut written = HashSet::new();
    for blob in blobs.iter().filter(|blob| written.insert(&blob.digest)) {
        append(&mut tar, &blob.file(), &blob.content)?;
    }
    tar.into_inner()?.flush()?;
    fs::rename(&partial, path)?;
    Ok(Archive {
        path: path.to_owned(),
        reference: reference.to_owned(),
        digest,
        size_bytes: fs::metadata(path)?.len(),
    })
}

/// What `docker load` looks for beside the layout.
fn docker_manifest(blobs: &[Blob], reference: &str) -> Option<Value> {
    let files: Vec<String> = blobs.iter().map(Blob::file).collect();
    match files.as_slice() {
        [layers @ .., config, _manifest] => {
            Some(json!([{"Config": config, "RepoTags": [reference], "Layers": layers}]))
        }
        _ => None,
    }
}

/// Go's name of this processor, which images use.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(content)))
}

fn append(tar: &mut Builder<File>, path: &str, content: &[u8]) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    Ok(tar.append_data(&mut header, path, content)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(text: &str) -> Image {
        let base = Layer::new().folder("bin").file("bin/tool", 0o755, "tool");
        let top = Layer::new().file("text", 0o644, text).link("bin/same", "tool");
        Image::new(
            vec![base, top],
            Settings {
                command: vec!["tool".into()],
                ..Settings::default()
            },
        )
    }

    #[test]
    fn the_same_files_give_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| image(text).write(&folder.path().join(name), "demo/text:1").unwrap();

        let (one, same, other) = (write("one", "a"), write("same", "a"), write("other", "b"));

        assert_eq!(fs::read(&one.path).unwrap(), fs::read(&same.path).unwrap());
        assert_eq!(one.digest, same.digest);
        assert_ne!(one.digest, other.digest);
    }

    #[test]
    fn every_blob_that_the_manifest_names_is_in_the_archive() {
        for compression in [Compression::None, Compression::Gzip] {
            let blobs = image("a").stored(compression).blobs().unwrap();

            let manifest: Value = serde_json::from_slice(&blobs.last().unwrap().content).unwrap();
            let named = manifest["layers"]
                .as_array()
                .unwrap()
                .iter()
                .chain([&manifest["config"]]);
            for (descriptor, blob) in named.zip(&blobs) {
                assert_eq!(descriptor["digest"], digest(&blob.content));
                assert_eq!(descriptor["size"], blob.content.len());
            }
        }
    }

    #[test]
    fn compression_changes_the_stored_layer_and_not_the_unpacked_one() {
        let unpacked = |compression| {
            let blobs = image("a").stored(compression).blobs().unwrap();
            let config: Value = serde_json::from_slice(&blobs[blobs.len() - 2].content).unwrap();
            (config["rootfs"]["diff_ids"].clone(), blobs[0].digest.clone())
        };

        let (plain, gzip) = (unpacked(Compression::None), unpacked(Compression::Gzip));

        assert_eq!(plain.0, gzip.0);
        assert_ne!(plain.1, gzip.1);
    }
}
