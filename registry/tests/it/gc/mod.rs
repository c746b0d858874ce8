//! Collecting garbage: what goes, what stays, and what happens when something goes wrong.

mod closure;
mod collecting;
mod commands;
mod leases;
mod limits;
mod pushing;
mod reaping;
pub(crate) mod world;
