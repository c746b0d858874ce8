//! Collecting garbage: what goes, what stays, and what happens when something goes wrong.

mod collecting;
mod leases;
mod limits;
mod reaping;
mod world;
