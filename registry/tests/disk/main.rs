//! Disks that go wrong under a real server: full, without names, read-only, with failing, slow and interrupted calls, and
//! killed at every sync. What was acknowledged stays, what fails says so, and afterwards the server goes on.
//!
//! Needs root, for file systems of its own in a name space of its own (`unshare`), and `strace`, which makes system calls
//! fail. `cargo verify --only disk` sees to both.
#![expect(clippy::unwrap_used, reason = "a test's tool stops where it fails")]

#[expect(dead_code, reason = "shared with the tests in `it`, which need all of it")]
#[path = "../it/support/content.rs"]
mod content;
#[expect(dead_code, reason = "shared with the tests in `it`, which need all of it")]
#[path = "../it/support/serve.rs"]
mod serve;

mod calls;
mod kills;
mod server;
mod space;
mod syncs;
