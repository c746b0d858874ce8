//! Tests of the operator against a real API server that has nothing else beside it: no kubelet and no controllers.
//!
//! The tests play the part of the controllers, so a Job or a Deployment is exactly as far as a test says.
//! `BERTH_TEST_KUBECONFIG` names the credentials of an administrator, `BERTH_TEST_REGISTRY` the registry's program; `cargo
//! verify --only api-server` sets them.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed step of a test is a failed test"
)]

mod admission;
mod changes;
mod channel;
mod companions;
mod election;
mod faults;
mod generated;
mod gitops;
mod locks;
mod management;
mod migration;
mod modes;
mod no_effect;
mod overrides;
mod plugin;
mod policies;
mod post_migrations;
mod quiet;
mod reconcile;
mod rollout;
mod runner;
mod scale;
mod skew;
mod support;
mod upgrade;
