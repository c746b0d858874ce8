//! Roll-outs of bad and good releases in a whole cluster, while clients push and pull through the Service. Started by
//! `cargo verify --only rollouts`, which brings the cluster up, imports the releases (`e2e/src/releases.rs`) and installs the chart.

mod bad;
mod client;
mod good;
mod lane;
mod plugin;
mod report;
mod seen;
mod surroundings;
