//! Interleavings that have lost images somewhere, or would: each staged at named points of the real code, on whatever database
//! and store the environment names. The numbers are those of the list in e2e/README.md.
//!
//! Graces, quarantine and leases are as short as can be: what protects is the protocol alone.

mod deletions;
mod manifests;
mod promises;
mod restoring;
mod rollbacks;
mod scene;
mod uploads;
