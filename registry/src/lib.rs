//! The data plane of Berth: a container registry.
//!
//! | tier | modules | what they are |
//! |---|---|---|
//! | 4 | `cli`, `server` | assemble the parts; nobody imports them |
//! | 3 | `http`, `gc` | drivers: a request, the clock |
//! | 2 | `distribution` | workflows of the distribution specification |
//! | 1 | `metadata`, `blobs` | the two stores; they do not import each other |
//! | 0 | `clock`, `config`, `flaws`, `release`, `staging`, `syncs`, `telemetry`, and the crate `oci` | leaves |
//!
//! Arrows go down only; `tests/layering.rs` reads the `use` lines against this table.

pub mod blobs;
pub mod cli;
pub mod clock;
pub mod config;
pub mod distribution;
pub mod flaws;
pub mod gc;
pub mod http;
pub mod metadata;
pub mod release;
pub mod server;
pub mod staging;
pub mod syncs;
pub mod telemetry;
