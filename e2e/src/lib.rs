//! What Berth needs around it to be run and tested for real, on a machine that has only a Rust and a Go toolchain.
//!
//! - [`cache`]: the folder outside the tree that keeps what was installed or built.
//! - [`tools`]: every program that is not Berth's own: found, or installed, or built.
//! - [`servers`]: PostgreSQL and S3 servers, started and ended by a value.
//! - [`cluster`]: a real single-node Kubernetes in namespaces of its own.
//! - [`image`]: container images from plain files, without a container engine.
//! - [`clients`]: skopeo and the kubelet, which push and pull.
//! - [`demo`] and [`verify`]: the two commands.
//! - [`releases`]: what the tests of roll-outs roll out.
//! - [`soak`]: clients, a nemesis, and a checker that reads the history afterwards.
//! - [`performance`]: measurements become a table and pictures.
//!
//! It stays light on purpose: `cargo demo` and `cargo verify` compile this before they can start the long builds.

use std::path::{Path, PathBuf};

pub mod background;
pub mod cache;
pub mod clients;
pub mod cluster;
pub mod conformance;
pub mod demo;
pub mod diagnostics;
pub mod http;
pub mod image;
pub mod install;
pub mod performance;
pub mod progress;
pub mod releases;
pub mod servers;
pub mod shell;
pub mod soak;
pub mod tools;
pub mod verify;
pub mod wait;

/// The version that the images and the chart carry.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The top of the source tree.
pub fn tree() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// The command line of this program. `cargo demo -- down` hands over the `--` too; it is dropped.
fn arguments() -> Vec<std::ffi::OsString> {
    let mut arguments: Vec<_> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|first| first == "--") {
        arguments.remove(1);
    }
    arguments
}
