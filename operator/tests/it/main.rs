//! Tests of the operator that need no cluster.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed step of a test is a failed test"
)]

mod admin;
mod chart;
mod command;
mod crds;
mod layering;
mod notify;
mod plugin;
mod rbac;
mod reasons;
mod samples;

use std::path::{Path, PathBuf};

/// The top of the tree.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The text of a file of the tree.
fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
