//! The operator that runs container registries: it turns a `Registry` object into pods, Services and migrations.

#[expect(
    unreachable_pub,
    reason = "KubeSchema repeats each struct inside a function, where pub reaches nobody"
)]
pub mod api;
pub mod cli;
