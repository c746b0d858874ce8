//! What the pods of a roll-out are seen to do: the operator's own requests, and what was measured of everybody's.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "there are eighteen phases, and most questions are about a few of them"
)]

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use k8s_openapi::jiff::Timestamp;

use super::facts::Evidence;
use crate::api::Registry;
use crate::api::rollout::{Phase, RolloutState};

/// Which pods are looked at, and for what.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// The Registry.
    pub registry: &'a Registry,
    /// Its generated secret, with which requests are signed.
    pub secret: &'a [u8],
    /// The token of the metrics source, and the certificate to trust, where the spec names them.
    pub source_secrets: SourceSecrets,
    /// The roll-out.
    pub state: &'a RolloutState,
    /// Which pods.
    pub stage: Stage,
    /// Pods of the canary and the others, by address.
    pub pods: Vec<PodAddress>,
    /// Since when their requests count.
    pub since: Timestamp,
    /// Now.
    pub now: Timestamp,
}

/// What a metrics source asks for.
#[derive(Clone, Default)]
pub struct SourceSecrets {
    /// The bearer token.
    pub token: Option<String>,
    /// The certificate authority, as PEM text.
    pub authority: Option<Vec<u8>>,
}

impl Debug for SourceSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SourceSecrets(..)")
    }
}

/// Pods of a roll-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The canary.
    Canary,
    /// The others.
    Main,
}

/// A pod that serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodAddress {
    /// Its name.
    pub name: String,
    /// Its address.
    pub ip: String,
    /// Which it is one of.
    pub stage: Stage,
    /// Since when it is ready.
    pub ready_since: Option<Timestamp>,
}

/// Whoever looks at pods.
pub trait Witness: Debug + Send + Sync {
    /// What they are seen to do.
    fn look<'a>(&'a self, question: Question<'a>) -> BoxFuture<'a, Evidence>;
}

/// When each roll-out was looked at last: not in the status, since an operator that is started again may look at once.
#[derive(Debug, Default)]
pub struct Schedule(Mutex<HashMap<String, (Phase, Timestamp)>>);

impl Schedule {
    /// Whether `interval` has passed since `id` was looked at in that phase; then it is looked at now.
    pub fn is_due(&self, state: &RolloutState, interval: Duration, now: Timestamp) -> bool {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = looks.get(&state.id).filter(|(phase, _)| *phase == state.phase);
        let is_due = last
            .is_none_or(|(_, at)| Duration::try_from(now.duration_since(*at)).is_ok_and(|passed| passed >= interval));
        if is_due {
            looks.insert(state.id.clone(), (state.phase, now));
        }
        is_due
    }

    /// Forgets a roll-out that has ended.
    pub fn forget(&self, id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

/// Since when the requests to those pods count: the canary's since it has served with its share, the others' since all of
/// them are new.
pub fn since(state: &RolloutState, pods: Stage) -> Timestamp {
    let baking = state.baking_since.as_ref().filter(|_| pods == Stage::Canary);
    baking.unwrap_or(&state.phase_since).0
}

/// Which pods are looked at in that state, if any are.
pub fn stage(state: &RolloutState) -> Option<Stage> {
    match state.phase {
        Phase::CanaryDeploying | Phase::CanaryAnalyzing => Some(Stage::Canary),
        Phase::MainVerifying | Phase::Soaking => Some(Stage::Main),
        _ => None,
    }
}
