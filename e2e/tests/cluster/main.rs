//! What only a whole cluster can show. Started by `cargo verify --only cluster`, which brings the cluster up, installs the
//! chart and runs this program in the cluster's network.

mod down;
mod empty_spec;
mod failed_migration;
mod harness;
mod idle;
mod production;
