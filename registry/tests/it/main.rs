//! The registry over HTTP, on the stores that the environment names: see `support::stores`.

mod admin;
mod content;
mod discovery;
mod manifests;
mod migrations;
mod support;
mod uploads;
