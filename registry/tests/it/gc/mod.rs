//! Collecting garbage: what goes, what stays, and what happens when something goes wrong.

mod collecting;
mod leases;
mod limits;
mod reaping;
pub(crate) mod world;
