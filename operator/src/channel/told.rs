//! What `VersionResolved` says, and what follows when a channel has not come to anything yet; pure.

use crate::api::Registry;
use crate::api::conditions::{self, ConditionType, Reason, Truth};
use crate::api::release::{Channel, ResolvedRelease};
use crate::error;

use super::ChannelError;

/// What a condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Whether it is known which version is to run.
    pub truth: Truth,
    /// Why.
    pub reason: Reason,
    /// The same for people.
    pub message: String,
}

impl Told {
    /// The spec names the version, or leaves it to the operator.
    pub fn pinned(registry: &Registry) -> Self {
        let message = match &registry.spec.version {
            Some(version) => format!("spec.version names {version}"),
            None => "the spec leaves the version to spec.image or to the operator".to_owned(),
        };
        Self::of(Truth::True, Reason::Pinned, message)
    }

    /// The channel came to something.
    pub fn resolved(release: &ResolvedRelease) -> Self {
        let signed = release
            .signed_by
            .as_ref()
            .map(|key| format!(", signed by the key {key}"))
            .unwrap_or_default();
        let message = format!(
            "{} is the newest version of {} that fits, {}{signed}",
            release.version, release.repository, release.digest
        );
        Self::of(Truth::True, Reason::Resolved, message)
    }

    /// The channel came to nothing new.
    pub fn failed(failed: &ChannelError, channel: &Channel, kept: Option<&ResolvedRelease>) -> Self {
        let chain = error::chain(failed);
        let message = match kept {
            Some(kept) => format!("{chain}. {} stays", kept.version),
            None => format!(
                "{chain}. Nothing is changed before {} says a version",
                channel.repository
            ),
        };
        Self::of(Truth::False, failed.reason(), message)
    }

    /// A Secret that the channel needs is not there, or not what it must be.
    pub fn without(reason: Reason, problem: String) -> Self {
        Self::of(Truth::False, reason, problem)
    }

    /// What was said before an operator was started again, where that is about this very spec and a channel.
    pub fn before(registry: &Registry) -> Option<Self> {
        let status = registry.status.as_ref()?;
        let before = conditions::find(&status.conditions, ConditionType::VersionResolved)?;
        let reason = Reason::OF_CHANNELS
            .into_iter()
            .find(|reason| reason.as_str() == before.reason)?;
        let is_of_this_spec = before.observed_generation == registry.metadata.generation;
        let truth = (before.status == Truth::True.as_str()).into();
        is_of_this_spec.then(|| Self::of(truth, reason, before.message.clone()))
    }

    fn of(truth: Truth, reason: Reason, message: String) -> Self {
        Self { truth, reason, message }
    }
}
