use serde_json::{Value, json};

use super::*;

const NOW: &str = "2026-01-01T00:10:00Z";

fn registry_with(ready: &str, reason: &str, rollout: &Value) -> Registry {
    serde_json::from_value(json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "Registry",
        "metadata": {"name": "images", "namespace": "team", "generation": 2}, "spec": {},
        "status": {
            "observedGeneration": 2, "replicas": 2, "readyReplicas": 2, "version": {"main": "1.0.0"},
            "conditions": [{"type": "Ready", "status": ready, "reason": reason, "message": "said",
                "lastTransitionTime": "2026-01-01T00:00:00Z"}],
            "rollout": rollout,
        },
    }))
    .unwrap()
}

fn rollout_in(phase: &str) -> Value {
    json!({
        "id": "images-1", "to": {"version": "1.1.0", "image": "i", "revision": "b"}, "trigger": "Version",
        "strategy": "Canary", "phase": phase, "phaseSince": "2026-01-01T00:00:00Z", "startedAt": "2026-01-01T00:00:00Z",
        "reason": "MigrationFailed", "message": "the Job has failed", "job": "images-mig-pre-1",
    })
}

fn pod(state: &Value, ready: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "images-1", "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"app.kubernetes.io/component": "registry"}},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": ready, "message": "containers with unready status: [registry]"}],
            "containerStatuses": [{"name": "registry", "image": "berth/registry:9", "imageID": "", "ready": ready == "True",
                "restartCount": 3, "state": state, "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}}}],
        },
    }))
    .unwrap()
}

fn found(registry_: &Registry, around: &Around) -> Vec<Finding> {
    registry(registry_, around, NOW.parse().unwrap())
}

fn problems(found: &[Finding]) -> Vec<&Finding> {
    found.iter().filter(|finding| finding.level == Level::Problem).collect()
}

#[test]
fn a_registry_that_is_well_has_no_problem() {
    let well = registry_with("True", "AsExpected", &rollout_in("Completed"));
    let around = Around {
        pods: vec![pod(&json!({"running": {}}), "True")],
        ..Around::default()
    };

    let found = found(&well, &around);
    assert!(found.iter().all(|finding| finding.level == Level::Good), "{found:?}");
}

#[test]
fn a_pod_that_ends_again_and_again_is_told_with_its_last_line() {
    let crashing = pod(&json!({"waiting": {"reason": "CrashLoopBackOff"}}), "False");
    let around = Around {
        last_lines: [("images-1".to_owned(), "no such table".to_owned())].into(),
        pods: vec![crashing],
        ..Around::default()
    };

    let found = found(&registry_with("False", "PodsCrash", &Value::Null), &around);
    let crash = found
        .iter()
        .find(|finding| finding.what.contains("pod images-1"))
        .unwrap();
    assert!(crash.why.as_ref().unwrap().ends_with("it printed last: no such table"));
    assert!(crash.remedy.as_ref().unwrap().contains("logs --previous"));
}

#[test]
fn an_image_that_cannot_be_had_is_a_problem_with_its_name() {
    let around = Around {
        pods: vec![pod(&json!({"waiting": {"reason": "ImagePullBackOff"}}), "False")],
        ..Around::default()
    };

    let found = found(&registry_with("True", "AsExpected", &Value::Null), &around);
    let [problem] = problems(&found)[..] else {
        panic!("{found:?}")
    };
    assert!(
        problem.why.as_ref().unwrap().contains("berth/registry:9"),
        "{problem:?}"
    );
}

#[test]
fn a_pod_that_runs_for_long_without_serving_is_a_problem() {
    let mut silent = pod(&json!({"running": {}}), "False");
    silent.status.as_mut().unwrap().container_statuses.as_mut().unwrap()[0].last_state = None;
    let around = Around {
        pods: vec![silent.clone()],
        ..Around::default()
    };
    let well = registry_with("True", "AsExpected", &Value::Null);

    assert_eq!(problems(&found(&well, &around)).len(), 1);
    silent.metadata.creation_timestamp = serde_json::from_value(json!("2026-01-01T00:09:30Z")).unwrap();
    let young = Around {
        pods: vec![silent],
        ..Around::default()
    };
    assert!(problems(&found(&well, &young)).is_empty());
}

#[test]
fn a_failed_job_is_a_problem_while_the_roll_out_stands_at_it() {
    let job: Job = serde_json::from_value(json!({
        "metadata": {"name": "images-mig-pre-1"},
        "status": {"conditions": [{"type": "Failed", "status": "True", "message": "BackoffLimitExceeded"}]},
    }))
    .unwrap();
    let around = Around {
        jobs: vec![job],
        ..Around::default()
    };
    let level = |phase: &str| {
        let found = found(&registry_with("True", "AsExpected", &rollout_in(phase)), &around);
        let job = found
            .into_iter()
            .find(|finding| finding.what.starts_with("Job"))
            .unwrap();
        assert!(job.remedy.unwrap().contains("logs images --job pre"));
        job.level
    };

    assert_eq!(level("Held"), Level::Problem);
    assert_eq!(level("RolledBack"), Level::Warning);
}

#[test]
fn a_service_that_leads_nowhere_and_a_claim_without_a_volume_are_problems() {
    let service: Service = serde_json::from_value(json!({"metadata": {"name": "images"}})).unwrap();
    let claim: PersistentVolumeClaim = serde_json::from_value(
        json!({"metadata": {"name": "images-data"}, "spec": {"storageClassName": "fast"}, "status": {"phase": "Pending"}}),
    )
    .unwrap();
    let slice = |ready: bool| -> EndpointSlice {
        serde_json::from_value(json!({
            "metadata": {"name": "images-x", "labels": {"kubernetes.io/service-name": "images"}}, "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": ready}}],
        }))
        .unwrap()
    };
    let mut around = Around {
        services: vec![service],
        slices: vec![slice(false)],
        claims: vec![claim],
        ..Around::default()
    };
    let well = registry_with("True", "AsExpected", &Value::Null);

    let found_ = found(&well, &around);
    assert_eq!(problems(&found_).len(), 2, "{found_:?}");
    assert!(problems(&found_)[1].remedy.as_ref().unwrap().contains("(fast)"));
    around.slices.push(slice(true));
    assert_eq!(problems(&found(&well, &around)).len(), 1);
}

#[test]
fn what_waits_for_a_person_names_the_command() {
    for (phase, command) in [
        ("Held", "rollout retry images"),
        ("AwaitingApproval", "rollout approve images"),
        ("Paused", "rollout resume images"),
        ("AwaitingLock", "lock status"),
        ("RolledBack", "rollout retry images"),
    ] {
        let found = found(
            &registry_with("True", "AsExpected", &rollout_in(phase)),
            &Around::default(),
        );
        let told = found.iter().filter_map(|finding| finding.remedy.as_deref());
        assert!(
            told.clone().any(|remedy| remedy.contains(command)),
            "{phase}: {found:?}"
        );
    }
}

#[test]
fn a_lock_that_is_held_for_long_or_left_behind_is_told() {
    let lease = |since: &str, renewed: &str| -> Lease {
        serde_json::from_value(json!({
            "metadata": {"name": "berth-rollout-a", "namespace": "team"},
            "spec": {"holderIdentity": "external/1", "leaseDurationSeconds": 60, "acquireTime": since, "renewTime": renewed},
        }))
        .unwrap()
    };
    let (old, fresh) = ("2025-12-31T20:00:00.000000Z", "2026-01-01T00:09:50.000000Z");
    let told = |lease: Lease| locks(&[lease], NOW.parse().unwrap()).len();

    assert_eq!(told(lease(fresh, fresh)), 0);
    assert_eq!(told(lease(old, fresh)), 1);
    assert_eq!(told(lease(old, old)), 1);
}
