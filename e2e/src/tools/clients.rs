//! The clients of registries that are programs of Go modules, each at the version that its go.mod in `e2e/clients` requires.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{apt, go::Module, helm};
use crate::{cache::Cache, shell::Log};

const CRANE: Module = Module {
    name: "crane",
    packages: &["github.com/google/go-containerregistry/cmd/crane"],
};
const ORAS: Module = Module {
    name: "oras",
    packages: &["oras.land/oras/cmd/oras"],
};
const REGCTL: Module = Module {
    name: "regctl",
    packages: &["github.com/regclient/regclient/cmd/regctl"],
};
const COSIGN: Module = Module {
    name: "cosign",
    packages: &["github.com/sigstore/cosign/v3/cmd/cosign"],
};
const BUILDKIT: Module = Module {
    name: "buildkit",
    packages: &[
        "github.com/moby/buildkit/cmd/buildctl",
        "github.com/moby/buildkit/cmd/buildkitd",
    ],
};
const CONTAINERD: Module = Module {
    name: "containerd",
    packages: &[
        "github.com/containerd/containerd/v2/cmd/containerd",
        "github.com/containerd/containerd/v2/cmd/ctr",
    ],
};

/// A program of a Go module.
#[derive(Debug, Clone)]
pub struct Program {
    /// Where it is.
    pub path: PathBuf,
    /// Its version.
    pub version: String,
}

/// Every client that is not a Debian package.
#[derive(Debug)]
pub struct Programs {
    /// crane, of go-containerregistry.
    pub crane: Program,
    /// oras.
    pub oras: Program,
    /// regctl, of regclient.
    pub regctl: Program,
    /// cosign.
    pub cosign: Program,
    /// `BuildKit`'s client.
    pub buildctl: Program,
    /// `BuildKit`'s server.
    pub buildkitd: Program,
    /// containerd 2; it says its version itself.
    pub containerd: PathBuf,
    /// Its client.
    pub ctr: PathBuf,
    /// Helm; it says its version itself.
    pub helm: PathBuf,
}

/// Builds cosign.
///
/// # Errors
/// When there is no Go toolchain or the build fails.
pub fn cosign(cache: &Cache, log: &Log) -> Result<Program> {
    let folder = COSIGN.build(cache, log).context("build cosign")?;
    Ok(Program {
        path: folder.join("cosign"),
        version: COSIGN.version("github.com/sigstore/cosign/v3")?,
    })
}

/// Installs and builds every client: some minutes of two idle cores the first time.
///
/// # Errors
/// When a package cannot be installed, there is no Go toolchain or a build fails.
pub fn programs(cache: &Cache, log: &Log) -> Result<Programs> {
    apt::ensure(&[apt::SKOPEO], cache, log)?;
    apt::ensure(&apt::ENGINES, cache, log)?;
    let get = |module: &Module, of: &str, name: &str| -> Result<Program> {
        let folder = module.build(cache, log).with_context(|| format!("build {name}"))?;
        Ok(Program {
            path: folder.join(name),
            version: module.version(of)?,
        })
    };
    let containerd = CONTAINERD.build(cache, log).context("build containerd")?;
    Ok(Programs {
        crane: get(&CRANE, "github.com/google/go-containerregistry", "crane")?,
        oras: get(&ORAS, "oras.land/oras", "oras")?,
        regctl: get(&REGCTL, "github.com/regclient/regclient", "regctl")?,
        buildctl: get(&BUILDKIT, "github.com/moby/buildkit", "buildctl")?,
        buildkitd: get(&BUILDKIT, "github.com/moby/buildkit", "buildkitd")?,
        cosign: cosign(cache, log)?,
        ctr: containerd.join("ctr"),
        containerd: containerd.join("containerd"),
        helm: helm(cache, log)?,
    })
}
