//! Tests of what the operator asks of others than the API server: a real registry, a real Prometheus server and a real
//! cosign.
//!
//! `BERTH_TEST_REGISTRY`, `BERTH_TEST_PROMETHEUS` and `BERTH_TEST_COSIGN` name the programs; `cargo verify --only
//! measurements` sets them.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a failed step of a test is a failed test, and its programs are named by the environment"
)]

mod alerts;
mod channels;
mod measurements;
mod probes;
mod servers;
