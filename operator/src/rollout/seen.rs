//! What single pods are seen to do by themselves, read from what the kubelets say about them; pure.

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
    let ends = first.iter().chain(&main).map(ends).max().unwrap_or_default();
    let out_of_memory = first.iter().chain(&main).any(|found| {
        let last = last_end(found);
        last.is_some_and(|end| end.reason.as_deref() == Some("OOMKilled"))
    });
    let unready = main.iter().find(|found| !found.ready);
    Some(PodSeen {
        name: pod.name_any(),
        ends,
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
