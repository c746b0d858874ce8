//! What a Lease says as a lock: holder, age, and the queue that its annotation holds; pure.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use serde::{Deserialize, Serialize};

use super::holder::{Holder, Token};

/// Annotation of the Lease with those who wait, as JSON.
pub const WAITERS: &str = "berth.dev/lock-waiters";
/// How many may wait in the annotation. Whoever comes later asks again until there is room.
const LONGEST_QUEUE: usize = 64;
/// How far the clocks of two nodes may be apart.
const LARGEST_SKEW: Duration = Duration::from_secs(30);

/// One who waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiter {
    /// As in [`Holder`].
    pub holder: String,
    /// When its roll-out was made: whose is older comes first.
    pub created: Timestamp,
    /// Until when it counts unless it says again that it waits: so one that is gone holds nobody up.
    pub until: Timestamp,
}

/// Who holds the lock now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Who.
    pub holder: Holder,
    /// Which hold it is.
    pub token: Token,
    /// Since when.
    pub since: Timestamp,
    /// When it was renewed last.
    pub renewed: Timestamp,
    /// For how long it holds without being renewed.
    pub duration: Duration,
}

impl Hold {
    /// Whether it was not renewed for so long that its holder must be taken for gone. A third of its duration, at most
    /// half a minute, is added for clocks that differ.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        let skew = (self.duration / 3).min(LARGEST_SKEW);
        after(self.renewed, self.duration + skew) < now
    }

    /// When it is time to renew: after a third of the duration.
    pub fn renew_at(&self) -> Timestamp {
        after(self.renewed, self.duration / 3)
    }
}

/// The hold that `lease` tells of; `None` when nobody holds it.
pub fn hold(lease: &Lease) -> Option<Hold> {
    let spec = lease.spec.as_ref()?;
    let holder = spec.holder_identity.as_deref().filter(|holder| !holder.is_empty())?;
    let acquired = spec.acquire_time.as_ref().map(|time| time.0);
    let renewed = spec.renew_time.as_ref().map(|time| time.0);
    let made = lease.metadata.creation_timestamp.as_ref().map(|time| time.0);
    // What a pipeline left out: a hold without times began with the Lease.
    let since = acquired.or(renewed).or(made).unwrap_or(Timestamp::UNIX_EPOCH);
    let seconds = spec.lease_duration_seconds.unwrap_or(1).max(1);
    Some(Hold {
        holder: Holder::parse(holder),
        token: token(lease),
        since,
        renewed: renewed.unwrap_or(since),
        duration: Duration::from_secs(seconds.unsigned_abs().into()),
    })
}

/// The token of the hold that `lease` tells of, or told of last.
pub fn token(lease: &Lease) -> Token {
    Token {
        uid: lease.metadata.uid.clone().unwrap_or_default(),
        transitions: lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or(0),
    }
}

/// Those who wait and still count, the first in turn first. An annotation that cannot be read counts as none.
pub fn waiters(lease: &Lease, now: Timestamp) -> Vec<Waiter> {
    let annotations = lease.metadata.annotations.as_ref();
    let text = annotations.and_then(|annotations| annotations.get(WAITERS));
    let mut waiters: Vec<Waiter> = text
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    waiters.retain(|waiter| waiter.until >= now);
    waiters.sort_by(|a, b| (a.created, &a.holder).cmp(&(b.created, &b.holder)));
    waiters
}

/// `lease` with that queue.
pub(super) fn set_waiters(lease: &mut Lease, waiters: &[Waiter]) {
    let annotations = lease.metadata.annotations.get_or_insert_default();
    annotations.remove(WAITERS);
    let kept = &waiters[..waiters.len().min(LONGEST_QUEUE)];
    if !kept.is_empty()
        && let Ok(text) = serde_json::to_string(kept)
    {
        annotations.insert(WAITERS.to_owned(), text);
    }
}

pub(super) fn spec_mut(lease: &mut Lease) -> &mut LeaseSpec {
    lease.spec.get_or_insert_default()
}

/// The end of time rather than an overflow.
pub(super) fn after(time: Timestamp, duration: Duration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// How long after `earlier` it is; nothing when it is not after it.
pub(super) fn since(earlier: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(earlier)).unwrap_or_default()
}
