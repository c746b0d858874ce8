//! The operator that runs container registries: it turns a `Registry` object into pods, Services and migrations.
//!
//! | module | job |
//! |---|---|
//! | [`cli`] | the command line |
//! | [`runner`] | the controllers: what is watched, retries, an orderly stop |
//! | [`admin`] | `/livez`, `/readyz`, `/metrics` |
//! | [`registry`] | the controller of Registry: observe, validate, build, apply, status |
//! | [`management`] | what pods say about themselves |
//! | [`cluster`] | every request to the API server, within the table of [`rbac`] |
//! | [`leader`] | one operator at a time |
//! | [`locks`] | one roll-out of a group at a time, and times when none begins |
//! | [`notify`] | telling people and programs about roll-outs |
//! | [`channel`] | versions from the tags of a repository |
//! | [`plugin`] | `kubectl berth`, with the rights of whoever runs it |
//! | [`outbound`] | requests to addresses that a user names |
//! | [`foreign`] | kinds of other projects, which a cluster may not have |
//! | [`analysis`] | whether a canary is as good as it must be |
//! | [`probe`] | the operator's own pushes and pulls through one stage |
//! | [`measure`] | how requests are counted: from Prometheus, or from the pods |
//! | [`references`] | changes of Secrets and config maps that Registries refer to |
//! | [`ownership`] | whether an object still is as it was applied |
//! | [`events`], [`metrics`], [`error`], [`context`], [`clock`], [`content_hash`], [`labels`] | small parts |
//! | [`api`] | the kinds |

pub mod admin;
pub mod analysis;
#[expect(
    unreachable_pub,
    reason = "KubeSchema repeats each struct inside a function, where pub reaches nobody"
)]
pub mod api;
pub mod channel;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod content_hash;
pub mod context;
pub mod error;
pub mod events;
pub mod foreign;
pub mod labels;
pub mod leader;
pub mod locks;
pub mod management;
pub mod measure;
pub mod metrics;
pub mod notify;
pub mod outbound;
pub mod ownership;
pub mod plugin;
pub mod probe;
pub mod rbac;
pub mod references;
pub mod registry;
pub mod rollout;
pub mod runner;
