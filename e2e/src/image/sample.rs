//! An image to push: it can run, and says whether it arrived whole.

use std::fs;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use super::{Archive, Compression, Image, Layer, Settings, busybox_layer};
use crate::{cache::Cache, shell::Log};

const LARGE_BYTES: u32 = 8_000_000;
const PROGRAM: &str = "#!/bin/sh\nsha256sum -c /sums && cat /greeting\n";

/// An image of four layers, as images have them: a shell, a program, something large, something of its own.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The image.
    pub archive: Archive,
    greeting: String,
}

impl Sample {
    /// A new image; no two have the same last layer.
    ///
    /// # Errors
    /// When busybox cannot be had or the image cannot be written.
    pub fn make(cache: &Cache, log: &Log) -> Result<Self> {
        let random = fs::read_to_string("/proc/sys/kernel/random/uuid").context("read a random name")?;
        let greeting = format!("Hello from an image that Berth keeps, {}", random.trim());
        let large: Vec<u8> = (0..LARGE_BYTES / 4)
            .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
            .collect();
        let sums = format!("{}  /large\n", hex::encode(Sha256::digest(&large)));
        let layers = vec![
            busybox_layer(cache, log)?,
            Layer::new().file("hello", 0o755, PROGRAM).file("sums", 0o644, sums),
            Layer::new().file("large", 0o644, large),
            Layer::new().file("greeting", 0o644, format!("{greeting}\n")),
        ];
        let settings = Settings {
            command: vec!["/hello".into()],
            user: "65532:65532".into(),
            ..Settings::default()
        };
        let path = cache.folder("images")?.join(format!("sample-{}.tar", random.trim()));
        let image = Image::new(layers, settings).stored(Compression::Gzip);
        Ok(Self {
            archive: image.write(&path, "hello/world:latest")?,
            greeting,
        })
    }

    /// Checks what a pod of it printed.
    ///
    /// # Errors
    /// When it is not what this image prints.
    pub fn check(&self, said: &str) -> Result<()> {
        ensure!(
            said.contains("/large: OK"),
            "the large layer did not arrive whole: {said}"
        );
        ensure!(
            said.contains(&self.greeting),
            "this is another image's greeting: {said}"
        );
        Ok(())
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        fs::remove_file(&self.archive.path).ok();
    }
}
