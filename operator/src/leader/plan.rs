//! What a candidate is to do about the Lease; pure.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

/// What a candidate is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There is no Lease: make one and lead.
    Create,
    /// Nobody leads, or whoever did has not said so for too long: take the Lease.
    Take,
    /// This one leads: say so again.
    Renew,
    /// That one leads.
    Follow(String),
}

/// What `identity` is to do about `lease`, which it has seen without a change for `unchanged`.
///
/// Only the candidate's own clock decides, by how long it saw no renewal: clocks of other nodes may be wrong.
pub(super) fn step(lease: Option<&Lease>, identity: &str, unchanged: Duration) -> Step {
    let Some(lease) = lease else { return Step::Create };
    let spec = lease.spec.as_ref();
    let leader = spec
        .and_then(|spec| spec.holder_identity.as_deref())
        .unwrap_or_default();
    let seconds = spec.and_then(|spec| spec.lease_duration_seconds).unwrap_or(0);
    let duration = Duration::from_secs(seconds.max(0).unsigned_abs().into());
    match leader {
        "" => Step::Take,
        leader if leader == identity => Step::Renew,
        _ if unchanged > duration => Step::Take,
        leader => Step::Follow(leader.to_owned()),
    }
}

/// The Lease under which `identity` leads from `now` on.
pub(super) fn taken(lease: Option<Lease>, identity: &str, duration: Duration, now: Timestamp) -> Lease {
    let mut lease = lease.unwrap_or_default();
    let spec = lease.spec.get_or_insert_default();
    spec.lease_transitions = Some(transitions(spec, identity));
    spec.holder_identity = Some(identity.to_owned());
    spec.acquire_time = Some(MicroTime(now));
    renewed(lease, duration, now)
}

/// The Lease with another renewal.
pub(super) fn renewed(mut lease: Lease, duration: Duration, now: Timestamp) -> Lease {
    let spec = lease.spec.get_or_insert_default();
    spec.renew_time = Some(MicroTime(now));
    spec.lease_duration_seconds = Some(i32::try_from(duration.as_secs()).unwrap_or(i32::MAX).max(1));
    lease
}

/// The Lease that anybody may take at once.
pub(super) fn released(mut lease: Lease, now: Timestamp) -> Lease {
    let spec = lease.spec.get_or_insert_default();
    spec.holder_identity = None;
    spec.renew_time = Some(MicroTime(now));
    lease
}

/// A new Lease has changed hands never, any other once more.
fn transitions(spec: &LeaseSpec, identity: &str) -> i32 {
    match spec.lease_transitions {
        None => 0,
        Some(count) if spec.holder_identity.as_deref() == Some(identity) => count,
        Some(count) => count.saturating_add(1),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lease(holder: Option<&str>) -> Lease {
        serde_json::from_value(json!({
            "metadata": {"name": "l", "resourceVersion": "1"},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "leaseTransitions": 2,
                "renewTime": "2001-01-01T00:00:00.000000Z"},
        }))
        .unwrap()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_lease_is_followed_while_it_was_seen_to_change_within_its_duration_whatever_its_clock_says() {
        let other = lease(Some("other"));

        assert_eq!(step(Some(&other), "own", seconds(15)), Step::Follow("other".to_owned()));
        assert_eq!(step(Some(&other), "own", seconds(16)), Step::Take);
    }

    #[test]
    fn a_lease_that_is_not_there_or_was_released_is_taken_at_once() {
        assert_eq!(step(None, "own", Duration::ZERO), Step::Create);
        assert_eq!(step(Some(&lease(None)), "own", Duration::ZERO), Step::Take);
        assert_eq!(step(Some(&lease(Some(""))), "own", Duration::ZERO), Step::Take);
    }

    #[test]
    fn the_leader_renews_and_the_count_of_changes_stays() {
        let own = lease(Some("own"));
        let now = Timestamp::UNIX_EPOCH;

        assert_eq!(step(Some(&own), "own", seconds(100)), Step::Renew);
        let again = taken(Some(own), "own", seconds(15), now).spec.unwrap();
        assert_eq!(again.lease_transitions, Some(2));
        let other = taken(Some(lease(None)), "own", seconds(15), now).spec.unwrap();
        assert_eq!(other.lease_transitions, Some(3));
        let first = taken(None, "own", seconds(15), now).spec.unwrap();
        assert_eq!(first.lease_transitions, Some(0));
    }

    #[test]
    fn a_released_lease_keeps_its_count() {
        let spec = released(lease(Some("own")), Timestamp::UNIX_EPOCH).spec.unwrap();

        assert_eq!((spec.holder_identity, spec.lease_transitions), (None, Some(2)));
    }
}
