//! The registry over HTTP, on the stores that the environment names: see `support::stores`.
#![expect(clippy::unwrap_used, reason = "a test's tool stops where it fails")]

mod admin;
mod blob_store;
mod content;
mod database;
mod deletion;
mod discovery;
mod manifests;
mod migrations;
mod processes;
mod ranges;
mod settings;
mod sparse;
mod support;
mod sweep;
mod tag_parameters;
mod uploads;
