//! The one binary of `e2e/kubernetes`: etcd, every Kubernetes component, kubectl, DNS and volumes.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::go;
use crate::{cache::Cache, shell, shell::Log};

/// The version that the binary gives itself; that of k8s.io/kubernetes in go.mod.
const VERSION: &str = "v1.33.13";

/// The binary, built once for the sources as they are: about 6 minutes of two idle cores, else no time.
///
/// # Errors
/// When there is no Go toolchain, or the build fails.
pub fn binary(cache: &Cache, log: &Log) -> Result<PathBuf> {
    let sources = crate::tree().join("e2e/kubernetes");
    let folder = cache.entry(&format!("kubernetes-{}", sum(&sources)?), |folder| {
        build(&sources, folder, log)
    });
    Ok(folder.context("build the Kubernetes binary")?.join("kubernetes"))
}

/// The path of the binary if it has been built already.
///
/// # Errors
/// When the sources cannot be read.
pub fn built(cache: &Cache) -> Result<Option<PathBuf>> {
    let key = format!("kubernetes-{}", sum(&crate::tree().join("e2e/kubernetes"))?);
    Ok(Some(cache.path(&key).join("kubernetes")).filter(|path| path.exists()))
}

fn build(sources: &Path, folder: &Path, log: &Log) -> Result<()> {
    let mut command = go::go()?;
    command.current_dir(sources).args([
        "build",
        "-trimpath",
        "-buildvcs=false",
        "-ldflags",
        &linker_flags(),
        "-o",
    ]);
    shell::run(command.arg(folder).arg("."), log, go::BUILD_LIMIT)
}

/// Without these the API server calls itself v0.0.0, which clients refuse.
fn linker_flags() -> String {
    let mut number = VERSION.trim_start_matches('v').split('.');
    let (major, minor) = (number.next().unwrap_or_default(), number.next().unwrap_or_default());
    let commit = "0".repeat(40);
    let stamps = ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"].map(|package| {
        format!(
            "-X {package}.gitVersion={VERSION} -X {package}.gitMajor={major} -X {package}.gitMinor={minor} \
             -X {package}.gitTreeState=clean -X {package}.gitCommit={commit} -X {package}.buildDate=1970-01-01T00:00:00Z"
        )
    });
    format!("-s -w {}", stamps.join(" "))
}

fn sum(sources: &Path) -> Result<String> {
    go::sum(sources, &linker_flags())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_sum_follows_the_sources() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("main.go"), "package main").unwrap();
        let before = sum(folder.path()).unwrap();

        fs::write(folder.path().join("main.go"), "package other").unwrap();

        assert_ne!(before, sum(folder.path()).unwrap());
    }

    #[test]
    fn the_version_is_that_of_the_module() {
        let module = fs::read_to_string(crate::tree().join("e2e/kubernetes/go.mod")).unwrap();

        assert!(module.contains(&format!("k8s.io/kubernetes {VERSION}\n")));
    }
}
