//! Whether pods that all clients use are restless in a way that is the version's fault; pure.
//!
//! Nodes are restarted and pods are evicted, and neither is. So one end of a container counts for nothing, and a pod that is
//! gone, has no node or whose node does not answer is waited for. What counts is what no node does to a good version.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::super::facts::PodSeen;
use crate::api::conditions::Reason;

/// Ends of the containers of one pod that are no chance. A node that starts again ends each of them once.
const ENDS: i32 = 2;
/// Pods that were ended for memory, once each. A pod's memory is its own, whatever its node does.
const OUT_OF_MEMORY: usize = 2;
/// How long a pod may run without being ready: longer than a database takes to change its primary.
const UNREADY: Duration = Duration::from_mins(3);

/// What the pods are found to do wrong, for people. `before`: how often containers had ended when the phase began, at `since`.
pub(super) fn unrest(
    pods: &[PodSeen],
    before: &BTreeMap<String, i32>,
    since: Timestamp,
    now: Timestamp,
) -> Option<(Reason, String)> {
    let ended = |pod: &PodSeen| {
        pod.ends
            .saturating_sub(before.get(&pod.name).copied().unwrap_or_default())
    };
    if let Some(pod) = pods.iter().find(|pod| ended(pod) >= ENDS) {
        let message = format!(
            "every pod runs the new version, and the container of pod {} ended by itself {} times{}",
            pod.name,
            ended(pod),
            if pod.out_of_memory {
                ", the last time for memory"
            } else {
                ""
            }
        );
        return Some((Reason::PodsRestarting, message));
    }
    let starved: Vec<&str> = pods
        .iter()
        .filter(|pod| pod.out_of_memory && ended(pod) > 0)
        .map(|pod| pod.name.as_str())
        .collect();
    if starved.len() >= OUT_OF_MEMORY {
        let message = format!(
            "every pod runs the new version, and {} of them were ended because they used more memory than their limit: {}",
            starved.len(),
            starved.join(", ")
        );
        return Some((Reason::PodsRestarting, message));
    }
    let unready = |pod: &&PodSeen| {
        let from = pod.unready_since.map(|from| from.max(since));
        let waited = from.and_then(|from| Duration::try_from(now.duration_since(from)).ok());
        waited.is_some_and(|waited| waited >= UNREADY)
    };
    let pod = pods.iter().find(unready)?;
    let message = format!(
        "every pod runs the new version, and pod {} has run for more than {} minutes without being ready",
        pod.name,
        UNREADY.as_secs() / 60
    );
    Some((Reason::PodsNotReady, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn pod(name: &str, ends: i32) -> PodSeen {
        PodSeen {
            name: name.to_owned(),
            ends,
            ..PodSeen::default()
        }
    }

    fn reason(pods: &[PodSeen], before: &[(&str, i32)], now: i64) -> Option<Reason> {
        let before = before.iter().map(|(name, ends)| ((*name).to_owned(), *ends)).collect();
        unrest(pods, &before, at(0), at(now)).map(|(reason, _)| reason)
    }

    #[test]
    fn a_pod_that_ends_twice_is_bad_and_pods_that_end_once_each_are_not() {
        assert_eq!(reason(&[pod("a", 1), pod("b", 1), pod("c", 1)], &[], 600), None);
        assert_eq!(
            reason(&[pod("a", 0), pod("b", 2)], &[], 600),
            Some(Reason::PodsRestarting)
        );
    }

    #[test]
    fn what_ended_before_the_phase_does_not_count() {
        assert_eq!(reason(&[pod("a", 5)], &[("a", 5)], 600), None);
        assert_eq!(reason(&[pod("a", 6)], &[("a", 5)], 600), None);
        assert_eq!(reason(&[pod("a", 7)], &[("a", 5)], 600), Some(Reason::PodsRestarting));
    }

    #[test]
    fn a_pod_in_the_place_of_one_that_is_gone_begins_at_nothing() {
        assert_eq!(reason(&[pod("new", 1)], &[("gone", 5)], 600), None);
    }

    #[test]
    fn two_pods_that_were_ended_for_memory_are_bad_and_one_is_not() {
        let starved = |name: &str| PodSeen {
            out_of_memory: true,
            ..pod(name, 1)
        };

        assert_eq!(reason(&[starved("a"), pod("b", 1)], &[], 600), None);
        assert_eq!(
            reason(&[starved("a"), starved("b")], &[], 600),
            Some(Reason::PodsRestarting)
        );
        assert_eq!(reason(&[starved("a"), starved("b")], &[("a", 1)], 600), None);
    }

    #[test]
    fn a_pod_that_runs_and_is_not_ready_may_be_so_for_a_moment_of_the_phase() {
        let unready = |from: i64| {
            vec![PodSeen {
                unready_since: Some(at(from)),
                ..pod("a", 0)
            }]
        };

        assert_eq!(reason(&unready(100), &[], 279), None);
        assert_eq!(reason(&unready(100), &[], 280), Some(Reason::PodsNotReady));
        assert_eq!(reason(&unready(-500), &[], 100), None, "the phase has just begun");
        assert_eq!(reason(&unready(-500), &[], 180), Some(Reason::PodsNotReady));
    }
}
