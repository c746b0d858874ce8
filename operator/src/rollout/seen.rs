//! What single pods are seen to do by themselves, read from what the kubelets say about them; pure.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::facts::PodSeen;

/// The containers that are the version's. Those that somebody else puts beside them are not.
const CONTAINERS: [&str; 2] = ["registry", "migrate"];

/// What `pod` does by itself. None for one that ends, or has ended: another one takes its place.
pub(super) fn seen(pod: &Pod) -> Option<PodSeen> {
    let status = pod.status.as_ref()?;
    let is_over = matches!(status.phase.as_deref(), Some("Failed" | "Succeeded"));
    if is_over || pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let of = |list: &Option<Vec<ContainerStatus>>| -> Vec<ContainerStatus> {
        let list = list.clone().unwrap_or_default().into_iter();
        list.filter(|found| CONTAINERS.contains(&found.name.as_str())).collect()
    };
    let (first, main) = (of(&status.init_container_statuses), of(&status.container_statuses));
    // A node that starts again ends each container once, so the ends of two containers are not added up.
    let most = first.iter().chain(&main).map(ends).max().unwrap_or_default();
    let restless = || first.iter().chain(&main).filter(|found| ends(found) > 0);
    let out_of_memory = first.iter().chain(&main).any(|found| {
        let last = last_end(found);
        last.is_some_and(|end| end.reason.as_deref() == Some("OOMKilled"))
    });
    let unready = main.iter().find(|found| !found.ready);
    Some(PodSeen {
        name: pod.name_any(),
        ends: most,
        ended_at: restless().filter_map(ended_at).max(),
        ran: restless().filter(|found| ends(found) == most).filter_map(ran).max(),
        out_of_memory,
        unready_since: unready.and_then(|found| unready_since(pod, found)),
    })
}

fn last_end(found: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    let now = found.state.as_ref().and_then(|state| state.terminated.as_ref());
    now.or_else(|| found.last_state.as_ref()?.terminated.as_ref())
}

/// How often it ended. Kubernetes counts an end when it starts the container again, which it delays from the second on.
fn ends(found: &ContainerStatus) -> i32 {
    let state = found.state.as_ref();
    let has_failed = state
        .and_then(|state| state.terminated.as_ref())
        .is_some_and(|end| end.exit_code != 0);
    let waiting = state.and_then(|state| state.waiting.as_ref());
    let backs_off = waiting.is_some_and(|waiting| waiting.reason.as_deref() == Some("CrashLoopBackOff"));
    found.restart_count.saturating_add(i32::from(has_failed || backs_off))
}

/// When it ended the last time. Of an end that nobody dates, a node's that was lost, the start that followed says it.
fn ended_at(found: &ContainerStatus) -> Option<Timestamp> {
    let end = last_end(found).and_then(|end| end.finished_at.as_ref());
    let running = || found.state.as_ref()?.running.as_ref()?.started_at.as_ref();
    end.or_else(running).map(|at| at.0)
}

/// How long it had run when it ended the last time.
fn ran(found: &ContainerStatus) -> Option<Duration> {
    let end = last_end(found)?;
    let (from, to) = (end.started_at.as_ref()?, end.finished_at.as_ref()?);
    Duration::try_from(to.0.duration_since(from.0)).ok()
}

/// Since when a container runs and is not ready. The node's controller leaves containers alone, so that those of a node that
/// does not answer still count as ready.
fn unready_since(pod: &Pod, found: &ContainerStatus) -> Option<Timestamp> {
    let started = found.state.as_ref()?.running.as_ref()?.started_at.as_ref()?.0;
    let conditions = pod.status.as_ref()?.conditions.as_deref().unwrap_or_default();
    let fell = conditions
        .iter()
        .find(|found| found.type_ == "ContainersReady" && found.status == "False");
    let fell = fell.and_then(|fell| fell.last_transition_time.as_ref());
    Some(fell.map_or(started, |fell| fell.0.max(started)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(status: &Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "status": status})).unwrap()
    }

    fn container(name: &str, restarts: i32, ready: bool, state: &Value) -> Value {
        json!({
            "name": name, "image": "i", "imageID": "", "restartCount": restarts, "ready": ready, "state": state,
        })
    }

    fn one(restarts: i32, state: &Value) -> PodSeen {
        seen(&pod(
            &json!({"containerStatuses": [container("registry", restarts, true, state)]}),
        ))
        .unwrap()
    }

    #[test]
    fn an_end_counts_before_the_container_is_started_again() {
        let running = json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}});
        let ended = json!({"terminated": {"exitCode": 1}});
        let backs_off = json!({"waiting": {"reason": "CrashLoopBackOff"}});

        assert_eq!(one(0, &running).ends, 0);
        assert_eq!(one(0, &ended).ends, 1);
        assert_eq!(one(1, &running).ends, 1);
        assert_eq!(one(1, &backs_off).ends, 2);
    }

    #[test]
    fn a_node_that_starts_again_ends_each_container_of_a_pod_once_which_is_one_end() {
        let running = json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}});
        let done = json!({"terminated": {"exitCode": 0}});
        let status = json!({
            "initContainerStatuses": [container("migrate", 1, true, &done)],
            "containerStatuses": [
                container("istio-proxy", 9, true, &running), container("registry", 1, true, &running),
            ],
        });

        assert_eq!(seen(&pod(&status)).unwrap().ends, 1);
    }

    #[test]
    fn an_end_is_dated_by_the_kubelet_or_else_by_the_start_that_followed() {
        let running = json!({"running": {"startedAt": "2026-01-09T00:00:05Z"}});
        let of = |last: &Value| {
            let mut container = container("registry", 1, true, &running);
            container["lastState"] = json!({"terminated": last});
            let seen = seen(&pod(&json!({"containerStatuses": [container]}))).unwrap();
            (seen.ended_at.map(|at| at.to_string()), seen.ran)
        };

        let (at, ran) = of(&json!({
            "exitCode": 1, "startedAt": "2026-01-08T00:00:00Z", "finishedAt": "2026-01-09T00:00:00Z",
        }));
        assert_eq!(at.as_deref(), Some("2026-01-09T00:00:00Z"));
        assert_eq!(ran, Some(Duration::from_hours(24)));

        let (at, ran) = of(&json!({"exitCode": 137, "reason": "ContainerStatusUnknown"}));
        assert_eq!((at.as_deref(), ran), (Some("2026-01-09T00:00:05Z"), None));
        assert_eq!(one(0, &running).ended_at, None);
    }

    #[test]
    fn how_long_a_container_ran_is_asked_of_that_which_ended_most_often() {
        let running = json!({"running": {"startedAt": "2026-01-09T00:00:05Z"}});
        let done = |from: &str, to: &str| json!({"terminated": {"exitCode": 0, "startedAt": from, "finishedAt": to}});
        let status = |first: i32, main: i32| {
            let mut registry = container("registry", main, true, &running);
            registry["lastState"] = done("2026-01-01T00:00:00Z", "2026-01-09T00:00:00Z");
            let state = done("2026-01-09T00:00:01Z", "2026-01-09T00:00:02Z");
            let migrate = container("migrate", first, true, &state);
            seen(&pod(
                &json!({"initContainerStatuses": [migrate], "containerStatuses": [registry]}),
            ))
            .unwrap()
        };

        assert_eq!(status(2, 2).ran, Some(Duration::from_hours(192)));
        assert_eq!(status(3, 2).ran, Some(Duration::from_secs(1)));
    }

    #[test]
    fn a_container_that_was_ended_for_memory_is_told_apart() {
        let status = json!({"containerStatuses": [{
            "name": "registry", "image": "i", "imageID": "", "restartCount": 1, "ready": true,
            "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
            "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
        }]});

        assert!(seen(&pod(&status)).unwrap().out_of_memory);
    }

    #[test]
    fn only_what_runs_can_be_unready() {
        let running = json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}});
        let of = |ready: bool, state: &Value, at: &str| {
            let status = json!({
                "conditions": [{"type": "ContainersReady", "status": "False", "lastTransitionTime": at}],
                "containerStatuses": [container("registry", 0, ready, state)],
            });
            seen(&pod(&status)).unwrap().unready_since.map(|at| at.to_string())
        };
        let (early, late) = ("2025-01-01T00:00:00Z", "2026-06-01T00:00:00Z");

        assert_eq!(of(false, &running, late).as_deref(), Some(late));
        assert_eq!(of(false, &running, early).as_deref(), Some("2026-01-01T00:00:00Z"));
        assert_eq!(of(true, &running, late), None, "its node does not answer");
        assert_eq!(
            of(false, &json!({"waiting": {"reason": "ImagePullBackOff"}}), late),
            None
        );
    }

    #[test]
    fn pods_that_are_evicted_or_end_are_nobodys_concern() {
        assert_eq!(seen(&pod(&json!({"phase": "Failed", "reason": "Evicted"}))), None);
        let mut going = pod(&json!({}));
        going.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        assert_eq!(seen(&going), None);
    }
}
