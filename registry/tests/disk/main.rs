//! Disks that go wrong under a real server: full, without names, read-only, with failing, slow and interrupted calls,
//! killed at every sync, and after a loss of power. What was acknowledged stays, what fails says so, and afterwards the
//! server goes on.
//!
//! Needs root, for file systems of its own in a name space of its own (`unshare`), `strace`, which makes system calls fail,
//! and a C compiler, which a build has anyway. `cargo verify --only disk` sees to the others.
#![expect(clippy::unwrap_used, reason = "a test's tool stops where it fails")]

#[expect(dead_code, reason = "shared with the tests in `it`, which need all of it")]
#[path = "../it/support/content.rs"]
mod content;
#[expect(dead_code, reason = "shared with the tests in `it`, which need all of it")]
#[path = "../it/support/serve.rs"]
mod serve;

mod calls;
mod every;
mod images;
mod kills;
mod power;
mod server;
mod shim;
mod space;
mod syncs;
