//! The registry over HTTP, on the stores that the environment names: see `support::stores`.

mod admin;
mod blob_store;
mod content;
mod database;
mod discovery;
mod manifests;
mod migrations;
mod processes;
mod settings;
mod support;
mod uploads;
