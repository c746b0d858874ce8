//! What keeps pods from serving, read from what Kubernetes says about them; pure.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod};

use super::credentials::{self, Credential, Secrets};
use super::rollout::Rollout;
use crate::api::conditions::Reason;

/// How much of what a container printed is repeated, in bytes.
const LAST_WORDS_BYTES: usize = 500;
/// How many lines of it.
const LAST_WORDS_LINES: usize = 10;
/// From this length on, what Kubernetes took from a container's log may begin within a line, in bytes.
const LOG_TAIL_BYTES: usize = 2048;
/// Name of the init container that migrates SQLite.
const MIGRATE: &str = "migrate";

/// Why pods do not serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The kind of trouble.
    pub reason: Reason,
    /// What is wrong and where to look.
    pub message: String,
    /// Whether waiting helps.
    pub needs: Needs,
}

/// What ends a trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Somebody must do something.
    Person,
    /// It may end by itself.
    Time,
}

/// Removes secret values from what containers print.
#[derive(Clone, Copy, Debug)]
pub struct Scrubber<'a> {
    /// The keys that pods read.
    pub credentials: &'a [Credential],
    /// Their values.
    pub secrets: &'a Secrets,
}

/// The first trouble of the pods that are to serve, or of the Deployment that makes them.
///
/// A pod that has ended, such as one that was evicted, has another in its place: only that one counts.
pub fn of_serving_pods(deployment: &Deployment, pods: &[Pod], scrubber: Scrubber<'_>) -> Option<Trouble> {
    of_component(deployment, "registry", pods, scrubber)
}

/// The same of the pods that are for `component`.
pub fn of_component(deployment: &Deployment, component: &str, pods: &[Pod], scrubber: Scrubber<'_>) -> Option<Trouble> {
    // Once others serve in their place, pods of a lost node are nobody's concern.
    let is_complete = Rollout::of(deployment).is_complete();
    let serving = pods
        .iter()
        .filter(|pod| label(pod, "app.kubernetes.io/component") == Some(component) && !has_ended(pod));
    let (mut person, mut time): (Vec<_>, Vec<_>) = serving
        .filter_map(|pod| of_pod(pod, scrubber))
        .filter(|trouble| trouble.reason != Reason::NodeGone || !is_complete)
        .chain(of_deployment(deployment))
        .partition(|trouble| trouble.needs == Needs::Person);
    person.append(&mut time);
    person.into_iter().next()
}

/// The trouble of the pods of one Job while it is not finished.
pub fn of_job_pods(job: &str, pods: &[Pod], scrubber: Scrubber<'_>) -> Option<Trouble> {
    of_job(job, pods).find_map(|pod| of_pod(pod, scrubber))
}

/// What the newest failed pod of a Job printed last.
pub fn last_words_of_job(job: &str, pods: &[Pod], scrubber: Scrubber<'_>) -> Option<String> {
    let newest = of_job(job, pods)
        .filter(|pod| phase(pod) == Some("Failed"))
        .max_by_key(|pod| pod.metadata.creation_timestamp.clone())?;
    let end = statuses(newest).find_map(|status| end_of(status.state.as_ref()))?;
    Some(last_words(end, scrubber))
}

fn of_job<'a>(job: &'a str, pods: &'a [Pod]) -> impl Iterator<Item = &'a Pod> {
    pods.iter()
        .filter(move |pod| label(pod, "batch.kubernetes.io/job-name") == Some(job))
}

fn phase(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.phase.as_deref()
}

fn has_ended(pod: &Pod) -> bool {
    matches!(phase(pod), Some("Failed" | "Succeeded"))
}

fn label<'a>(pod: &'a Pod, key: &str) -> Option<&'a str> {
    pod.metadata.labels.as_ref()?.get(key).map(String::as_str)
}

fn of_deployment(deployment: &Deployment) -> Option<Trouble> {
    let conditions = deployment.status.as_ref()?.conditions.as_deref().unwrap_or_default();
    let refused = conditions
        .iter()
        .find(|found| found.type_ == "ReplicaFailure" && found.status == "True")?;
    let message = format!(
        "pods cannot be made: {}",
        refused.message.as_deref().unwrap_or_default()
    );
    Some(Trouble {
        reason: Reason::PodsRefused,
        message,
        needs: Needs::Person,
    })
}

/// The trouble of one pod.
pub fn of_pod(pod: &Pod, scrubber: Scrubber<'_>) -> Option<Trouble> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    if pod.metadata.deletion_timestamp.is_some() {
        return of_gone_node(name, pod);
    }
    statuses(pod)
        .find_map(|status| of_container(name, status, scrubber))
        .or_else(|| of_scheduling(name, pod))
}

/// Init containers first: the others wait for them.
fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let init = status
        .and_then(|status| status.init_container_statuses.as_deref())
        .unwrap_or_default();
    let main = status
        .and_then(|status| status.container_statuses.as_deref())
        .unwrap_or_default();
    init.iter().chain(main)
}

fn of_container(pod: &str, status: &ContainerStatus, scrubber: Scrubber<'_>) -> Option<Trouble> {
    let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref());
    let needs = Needs::Person;
    match waiting.and_then(|waiting| waiting.reason.as_deref()) {
        Some("ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull") => {
            let message = format!(
                "pod {pod} cannot get the image {}: check spec.version, spec.image and its pull secrets",
                status.image
            );
            Some(Trouble {
                reason: Reason::ImagePullFailed,
                message,
                needs,
            })
        }
        Some("CreateContainerConfigError" | "CreateContainerError" | "RunContainerError") => {
            let why = waiting
                .and_then(|waiting| waiting.message.as_deref())
                .unwrap_or_default();
            let message = format!("pod {pod} cannot start its container {}: {why}", status.name);
            Some(Trouble {
                reason: Reason::PodsRefused,
                message,
                needs,
            })
        }
        _ => of_ended_container(pod, status, scrubber),
    }
}

/// A container that ended badly is in trouble until it serves: also while it is tried again.
fn of_ended_container(pod: &str, status: &ContainerStatus, scrubber: Scrubber<'_>) -> Option<Trouble> {
    let end = bad_end(status)?;
    let why = end.reason.as_deref().unwrap_or("Error");
    let message = format!(
        "pod {pod}: container {} ended with code {} ({why}): {}",
        status.name,
        end.exit_code,
        last_words(end, scrubber)
    );
    let reason = if status.name == MIGRATE {
        Reason::MigrationFailed
    } else {
        Reason::PodsCrash
    };
    Some(Trouble {
        reason,
        message,
        needs: Needs::Person,
    })
}

/// How a container ended that has not served since.
fn bad_end(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    let state = status.state.as_ref();
    if let Some(end) = end_of(state) {
        return Some(end).filter(|end| end.exit_code != 0);
    }
    let waiting = state.and_then(|state| state.waiting.as_ref());
    let backs_off = waiting.is_some_and(|waiting| waiting.reason.as_deref() == Some("CrashLoopBackOff"));
    // Once started, it was ready after that end: if it is not now, that has another cause.
    let starts = state.is_some_and(|state| state.running.is_some()) && status.started != Some(true) && !status.ready;
    if !backs_off && !starts {
        return None;
    }
    end_of(status.last_state.as_ref()).filter(|end| end.exit_code != 0)
}

/// A pod that Kubernetes took away because its node does not answer: nobody there confirms that it has ended, and its
/// volume stays with that node.
fn of_gone_node(name: &str, pod: &Pod) -> Option<Trouble> {
    let conditions = pod.status.as_ref()?.conditions.as_deref().unwrap_or_default();
    conditions.iter().find(|found| {
        let is_taken = found.type_ == "DisruptionTarget" && found.reason.as_deref() == Some("DeletionByTaintManager");
        is_taken && found.status == "True"
    })?;
    let node = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.node_name.as_deref())
        .unwrap_or_default();
    let message = format!(
        "pod {name} cannot be ended because its node {node} does not answer; another pod starts, but a volume of that \
         node comes free only when the node is back, or for good with `kubectl delete node {node}`"
    );
    Some(Trouble {
        reason: Reason::NodeGone,
        message,
        needs: Needs::Time,
    })
}

fn of_scheduling(name: &str, pod: &Pod) -> Option<Trouble> {
    let conditions = pod.status.as_ref()?.conditions.as_deref().unwrap_or_default();
    let unscheduled = conditions
        .iter()
        .find(|found| found.type_ == "PodScheduled" && found.status == "False")?;
    let message = format!(
        "pod {name} has no node yet: {}",
        unscheduled.message.as_deref().unwrap_or_default()
    );
    Some(Trouble {
        reason: Reason::RollingOut,
        message,
        needs: Needs::Time,
    })
}

fn end_of(state: Option<&ContainerState>) -> Option<&ContainerStateTerminated> {
    state?.terminated.as_ref()
}

fn last_words(end: &ContainerStateTerminated, scrubber: Scrubber<'_>) -> String {
    let message = end.message.as_deref().unwrap_or_default();
    let error = error_of(message);
    let printed = error.as_deref().unwrap_or_else(|| whole_lines(message).trim());
    let printed = credentials::scrubbed(printed, scrubber.credentials, scrubber.secrets);
    if printed.is_empty() {
        return "it printed nothing".to_owned();
    }
    let lines: Vec<&str> = printed.lines().collect();
    let text = lines[lines.len().saturating_sub(LAST_WORDS_LINES)..].join("\n");
    let start = text.ceil_char_boundary(text.len().saturating_sub(LAST_WORDS_BYTES));
    text[start..].to_owned()
}

/// Our own commands leave their result as JSON.
fn error_of(message: &str) -> Option<String> {
    let result: serde_json::Value = serde_json::from_str(message).ok()?;
    Some(result.get("error")?.as_str()?.to_owned())
}

/// `tail` without a first line that may be the end of one only: half a secret would not be recognised in it.
fn whole_lines(tail: &str) -> &str {
    if tail.len() < LOG_TAIL_BYTES {
        return tail;
    }
    tail.split_once('\n').map_or(tail, |(_, whole)| whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const NOTHING: Scrubber<'static> = Scrubber {
        credentials: &[],
        secrets: &Secrets::new(),
    };

    fn pod(component: &str, status: &Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "labels": {
                "app.kubernetes.io/component": component, "batch.kubernetes.io/job-name": "j",
            }},
            "status": status,
        }))
        .unwrap()
    }

    fn container(name: &str, state: &Value, last_state: &Value) -> Value {
        json!({"name": name, "image": "r/i:1", "imageID": "", "ready": false, "restartCount": 1,
               "state": state, "lastState": last_state})
    }

    fn ended(message: &str) -> Value {
        json!({"terminated": {"exitCode": 1, "reason": "Error", "message": message}})
    }

    fn trouble(status: &Value) -> Option<Trouble> {
        of_serving_pods(&Deployment::default(), &[pod("registry", status)], NOTHING)
    }

    #[test]
    fn an_image_that_cannot_be_fetched_names_the_image() {
        let waiting = container(
            "registry",
            &json!({"waiting": {"reason": "ImagePullBackOff"}}),
            &json!({}),
        );

        let trouble = trouble(&json!({"containerStatuses": [waiting]})).unwrap();

        assert_eq!(trouble.reason, Reason::ImagePullFailed);
        assert!(trouble.message.contains("r/i:1"), "{}", trouble.message);
    }

    #[test]
    fn a_container_that_is_tried_again_is_still_in_trouble() {
        let again = container("registry", &json!({"running": {}}), &ended("no such bucket"));

        let trouble = trouble(&json!({"containerStatuses": [again]})).unwrap();

        assert_eq!(trouble.reason, Reason::PodsCrash);
        assert!(trouble.message.ends_with("no such bucket"), "{}", trouble.message);
    }

    #[test]
    fn a_pod_that_was_evicted_or_shut_down_is_no_trouble_of_the_one_in_its_place() {
        let ended = container("registry", &ended("killed"), &json!({}));

        for phase in ["Failed", "Succeeded"] {
            assert_eq!(trouble(&json!({"phase": phase, "containerStatuses": [ended]})), None);
        }
        assert!(trouble(&json!({"phase": "Running", "containerStatuses": [ended]})).is_some());
    }

    #[test]
    fn a_container_that_has_started_since_its_crash_only_waits() {
        let mut container = container("registry", &json!({"running": {}}), &ended("out of memory"));
        container["started"] = json!(true);

        assert_eq!(trouble(&json!({"containerStatuses": [container]})), None);
    }

    #[test]
    fn a_container_that_is_made_again_after_a_restart_of_its_node_only_waits() {
        let waiting = json!({"waiting": {"reason": "ContainerCreating"}});
        let container = container("registry", &waiting, &ended("unknown"));

        assert_eq!(trouble(&json!({"containerStatuses": [container]})), None);
    }

    #[test]
    fn a_container_that_backs_off_is_in_trouble_whatever_it_was_before() {
        let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        let mut container = container("registry", &waiting, &ended("out of memory"));
        container["started"] = json!(true);

        assert_eq!(
            trouble(&json!({"containerStatuses": [container]})).unwrap().reason,
            Reason::PodsCrash
        );
    }

    #[test]
    fn a_line_that_is_cut_off_is_not_repeated() {
        let whole = format!("whole{}", " ".repeat(10));

        assert_eq!(
            whole_lines(&format!("ter2 refused\n{whole}")),
            format!("ter2 refused\n{whole}")
        );
        let tail = format!("ter2 {}\n{whole}", "x".repeat(LOG_TAIL_BYTES));
        assert_eq!(whole_lines(&tail), whole);
    }

    #[test]
    fn a_failed_init_container_is_a_failed_migration() {
        let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        let migrate = container("migrate", &waiting, &ended("disk full"));

        assert_eq!(
            trouble(&json!({"initContainerStatuses": [migrate]})).unwrap().reason,
            Reason::MigrationFailed
        );
    }

    #[test]
    fn a_finished_init_container_is_no_trouble() {
        let done = container("migrate", &json!({"terminated": {"exitCode": 0}}), &ended("locked"));

        assert_eq!(trouble(&json!({"initContainerStatuses": [done]})), None);
    }

    #[test]
    fn a_pod_of_a_node_that_does_not_answer_is_told_until_others_serve() {
        let mut pod = pod(
            "registry",
            &json!({"conditions": [
                {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"},
            ]}),
        );
        pod.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        let of = |ready: i32| {
            let deployment = json!({"spec": {"replicas": 1, "selector": {}, "template": {}},
                "status": {"replicas": 1, "updatedReplicas": 1, "readyReplicas": ready}});
            of_serving_pods(
                &serde_json::from_value(deployment).unwrap(),
                std::slice::from_ref(&pod),
                NOTHING,
            )
        };

        assert_eq!(of(0).unwrap().reason, Reason::NodeGone);
        assert_eq!(of(1), None);
    }

    #[test]
    fn a_pod_without_a_node_only_needs_time() {
        let unscheduled = json!({"type": "PodScheduled", "status": "False", "message": "0/1 nodes"});

        assert_eq!(
            trouble(&json!({"conditions": [unscheduled]})).unwrap().needs,
            Needs::Time
        );
    }

    #[test]
    fn of_a_job_that_left_its_result_the_error_is_repeated() {
        let result = r#"{"applied":[],"error":"migration 7 failed: no space"}"#;
        let failed =
            json!({"phase": "Failed", "containerStatuses": [container("migrate", &ended(result), &json!({}))]});

        let words = last_words_of_job("j", &[pod("migration", &failed)], NOTHING).unwrap();

        assert_eq!(words, "migration 7 failed: no space");
    }

    #[test]
    fn the_last_words_of_a_job_are_its_last_lines_without_secrets() {
        let secrets: Secrets = [("db".to_owned(), [("password".to_owned(), b"hunter2".to_vec())].into())].into();
        let credentials = [Credential {
            secret: "db".to_owned(),
            key: "password".to_owned(),
            delivery: credentials::Delivery::SecretVariable("BERTH_DATABASE_PASSWORD"),
            field: "",
        }];
        let scrubber = Scrubber {
            credentials: &credentials,
            secrets: &secrets,
        };
        let lines: Vec<String> = (0..40).map(|line| format!("line {line}")).collect();
        let lines = lines.join("\n") + "\ndenied for hunter2\n";
        let failed =
            json!({"phase": "Failed", "containerStatuses": [container("migrate", &ended(&lines), &json!({}))]});

        let words = last_words_of_job("j", &[pod("migration", &failed)], scrubber).unwrap();

        assert!(words.starts_with("line 31\n"), "{words}");
        assert!(words.ends_with("denied for ***"), "{words}");
    }
}
