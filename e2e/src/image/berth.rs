//! The images of Berth itself: one static binary and the certificates it trusts, on nothing.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::{Archive, Image, Layer, Settings, elf, write};
use crate::{cache::Cache, shell, shell::Log, tools::apt};

/// Release builds of everything below Berth, on a busy machine with two cores.
const BUILD_LIMIT: Duration = Duration::from_mins(50);
const QUESTION_LIMIT: Duration = Duration::from_mins(1);
const LARGEST_BYTES: u64 = 40 * 1000 * 1000;
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// No user of any machine; the pods' security settings name the same.
const USER: &str = "65532:65532";

/// The images of one state of the source tree.
#[derive(Debug, Clone)]
pub struct Images {
    /// The data plane's.
    pub registry: Archive,
    /// The operator's.
    pub operator: Archive,
}

/// Builds both images from the source tree as it is.
///
/// # Errors
/// When the build fails, or an image is larger than 40 MB.
pub fn build(cache: &Cache, log: &Log) -> Result<Images> {
    apt::ensure(&[apt::CERTIFICATES], cache, log)?;
    // Held until the binaries are read: another checkout builds into the same folder.
    let _lock = cache.lock("images")?;
    let binaries = compile(cache, log).context("build the static binaries")?;
    let image = |name: &str| small(write_image(cache, name, &binaries)?);
    Ok(Images {
        registry: image("berth-registry")?,
        operator: image("berth-operator")?,
    })
}

pub(super) fn write_image(cache: &Cache, name: &str, binaries: &Path) -> Result<Archive> {
    let layer = layer(name, &binaries.join(name))?;
    write(
        cache,
        &format!("berth/{name}:{}", crate::VERSION),
        &Image::new(vec![layer], settings(name)),
    )
}

fn small(archive: Archive) -> Result<Archive> {
    ensure!(
        archive.size_bytes < LARGEST_BYTES,
        "the image {} has {} bytes, more than 40 MB",
        archive.reference,
        archive.size_bytes
    );
    Ok(archive)
}

/// A static binary, and the certificates that it trusts.
pub(super) fn layer(name: &str, binary: &Path) -> Result<Layer> {
    let binary = fs::read(binary).with_context(|| format!("read the binary {name}"))?;
    elf::ensure_static(&binary).with_context(|| format!("{name} in an image"))?;
    let certificates = fs::read(CERTIFICATES).context("read the certificates")?;
    Ok(Layer::new()
        .folder("etc")
        .folder("etc/ssl")
        .folder("etc/ssl/certs")
        .file("etc/ssl/certs/ca-certificates.crt", 0o644, certificates)
        .file(name, 0o755, binary))
}

/// It is started as the user of no machine.
pub(super) fn settings(name: &str) -> Settings {
    Settings {
        entrypoint: vec![format!("/{name}")],
        user: USER.into(),
        ..Settings::default()
    }
}

/// The data plane as it is for tests of roll-outs, and the operator. Cargo puts the first where the product's is, which the next build
/// puts back.
pub(super) fn compile_flawed(cache: &Cache, log: &Log) -> Result<PathBuf> {
    compile_with(
        &[
            "--features",
            "berth-registry/flawed",
            // Nobody measures how fast they are: it would take minutes to make them so.
            "--config",
            "profile.release.package.berth-registry.opt-level=0",
            "--config",
            "profile.release.package.berth-operator.opt-level=0",
        ],
        cache,
        log,
    )
}

fn compile(cache: &Cache, log: &Log) -> Result<PathBuf> {
    compile_with(&[], cache, log)
}

/// Builds in a folder of the cache: other flags in the tree's own target folder would undo each other's work.
fn compile_with(more: &[&str], cache: &Cache, log: &Log) -> Result<PathBuf> {
    let triple = host_triple()?;
    let target = cache.folder("target")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new("nice");
    command
        .args(["-n", "10"])
        .arg(cargo)
        .args(["build", "--locked", "--release", "--target", &triple]);
    command
        .args(["--package", "berth-registry", "--package", "berth-operator", "--bins"])
        .args(more);
    command.current_dir(crate::tree()).env("CARGO_TARGET_DIR", &target);
    command
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    shell::run(&mut command, log, BUILD_LIMIT)?;
    Ok(target.join(triple).join("release"))
}

/// Naming the target keeps the flags away from build scripts and macros, which cannot be static.
fn host_triple() -> Result<String> {
    let said = shell::read(
        Command::new("rustc").arg("-vV").current_dir(crate::tree()),
        QUESTION_LIMIT,
    )?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say which machine it is for")?.to_owned())
}
