//! Whether pods that all clients use are restless in a way that is the version's fault; pure.
//!
//! Nodes are restarted and pods are evicted, and neither is. So one end of a container counts for nothing, and a pod that is
//! gone, has no node or whose node does not answer is waited for. What counts is what no node does to a good version.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::super::facts::PodSeen;
use super::PODS;
use crate::api::conditions::Reason;

/// Ends of the containers of one pod that are no chance. A node that starts again ends each of them once.
const ENDS: i32 = 2;
/// Pods that were ended for memory, once each. A pod's memory is its own, whatever its node does.
const OUT_OF_MEMORY: usize = 2;
/// How far apart ends may lie that count together: as long as the longest time over which an error budget is watched.
const WINDOW: Duration = Duration::from_hours(6);
/// How long a pod may run without being ready: longer than a database takes to change its primary.
const UNREADY: Duration = Duration::from_mins(3);

/// How often containers had ended that speak against nothing any more: `before`, and what ended since then and too long ago. At
/// most `bound` pods have an entry.
pub(super) fn forgiven(
    pods: &[PodSeen],
    before: &BTreeMap<String, i32>,
    bound: usize,
    now: Timestamp,
) -> BTreeMap<String, i32> {
    let known = |pod: &PodSeen| before.get(&pod.name).copied().unwrap_or_default();
    let stale = |pod: &PodSeen| {
        let gone = pod
            .ended_at
            .and_then(|at| Duration::try_from(now.duration_since(at)).ok());
        let ends = if gone.is_some_and(|gone| gone >= WINDOW) {
            pod.ends
        } else if pod.ran.is_some_and(|ran| ran >= WINDOW) {
            // The end before the last one is at least as long ago.
            pod.ends.saturating_sub(1)
        } else {
            return None;
        };
        (ends > known(pod)).then(|| (pod.name.clone(), ends))
    };
    let stale: Vec<(String, i32)> = pods.iter().filter_map(stale).collect();
    let is_full = before.len() >= bound;
    if stale.is_empty() && !is_full {
        return before.clone();
    }
    // Pods that are gone make room.
    let there = pods
        .iter()
        .filter_map(|pod| Some((pod.name.clone(), *before.get(&pod.name)?)));
    let mut forgiven: BTreeMap<String, i32> = there.collect();
    for (name, ends) in stale {
        if forgiven.len() < bound || forgiven.contains_key(&name) {
            forgiven.insert(name, ends);
        }
    }
    forgiven
}

/// What the pods are found to do wrong, for people. `before`: how often containers had ended that does not count; the
/// phase began at `since`.
pub(super) fn unrest(
    pods: &[PodSeen],
    before: &BTreeMap<String, i32>,
    since: Timestamp,
    now: Timestamp,
) -> Option<(Reason, String)> {
    // Of a pod that found no room in `before` nobody knows when it ended.
    let unnoted = if before.len() >= PODS { i32::MAX } else { 0 };
    let ended = |pod: &PodSeen| {
        let before = before.get(&pod.name).copied().unwrap_or(unnoted);
        pod.ends.saturating_sub(before).max(0)
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
    fn ends_that_lie_further_apart_than_the_window_do_not_count_together() {
        let hour = 3600;
        let ended = |ends: i32, at_hour: i64| PodSeen {
            ended_at: Some(at(at_hour * hour)),
            ..pod("a", ends)
        };
        let of = |pod: PodSeen, before: i32, now: i64| {
            let before = BTreeMap::from([("a".to_owned(), before), ("gone".to_owned(), 9)]);
            forgiven(&[pod], &before, 3, at(now))
        };
        let one = |ends: i32| BTreeMap::from([("a".to_owned(), ends)]);
        let kept = BTreeMap::from([("a".to_owned(), 3), ("gone".to_owned(), 9)]);

        assert_eq!(of(ended(4, 1), 3, 7 * hour - 1), kept);
        assert_eq!(of(ended(4, 1), 3, 7 * hour), one(4));
        assert_eq!(of(ended(3, 1), 3, 700 * hour), kept, "nothing is new");
        assert_eq!(of(pod("a", 5), 3, 700 * hour), kept, "nobody knows when it was");
        assert_eq!(of(ended(6, 1), 3, 9 * hour), one(6), "nobody looked for as long");
    }

    #[test]
    fn before_a_container_that_ran_for_the_window_no_end_counts_with_its_own() {
        let ended = |ran: u64| PodSeen {
            ended_at: Some(at(50)),
            ran: Some(Duration::from_hours(ran)),
            ..pod("a", 5)
        };
        let of = |ran: u64| forgiven(&[ended(ran)], &BTreeMap::new(), 1, at(60));

        assert_eq!(of(5), BTreeMap::new());
        assert_eq!(of(6), BTreeMap::from([("a".to_owned(), 4)]));
        assert_eq!(
            forgiven(
                &[
                    ended(6),
                    PodSeen {
                        name: "b".to_owned(),
                        ..ended(6)
                    }
                ],
                &BTreeMap::new(),
                1,
                at(60)
            )
            .len(),
            1,
            "a status has room for so many"
        );
    }

    #[test]
    fn pods_that_are_gone_leave_their_room_to_those_that_came() {
        let full: BTreeMap<String, i32> = (0..PODS).map(|number| (format!("gone{number}"), 1)).collect();

        assert_eq!(forgiven(&[pod("new", 1)], &full, PODS, at(60)), BTreeMap::new());
    }

    #[test]
    fn of_a_pod_that_could_not_be_noted_no_end_counts() {
        let full: BTreeMap<String, i32> = (0..PODS).map(|number| (format!("p{number}"), 1)).collect();
        let pods = [pod("another", 5)];

        assert_eq!(unrest(&pods, &full, at(0), at(60)), None);
        assert!(unrest(&pods, &BTreeMap::new(), at(0), at(60)).is_some());
        assert!(unrest(&[pod("p7", 3)], &full, at(0), at(60)).is_some());
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
