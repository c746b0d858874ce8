//! The registry over HTTP, on the stores that the environment names: see `support::stores`.
#![expect(clippy::unwrap_used, reason = "a test's tool stops where it fails")]

mod admin;
mod blob_store;
mod content;
mod corrupt;
mod database;
mod database_faults;
mod deletion;
mod discovery;
mod faults;
mod gc;
mod http2;
#[cfg(feature = "staging")]
mod interleavings;
mod manifests;
mod migrations;
mod overload;
mod plans;
mod preflight;
mod processes;
mod proxies;
mod ranges;
mod redirect;
mod referrers;
mod repository_deletion;
mod scrub;
mod settings;
mod slow_clients;
mod small_blobs;
mod sparse;
mod standing;
mod store_faults;
mod superseded;
mod support;
mod sweep;
mod tag_parameters;
mod tls;
mod undelete;
mod uploads;
