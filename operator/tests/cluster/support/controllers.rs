//! What the controllers and the kubelet of a whole cluster would do.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{Fixture, TESTER};

const AT: &str = "2026-01-01T00:00:00Z";

async fn patch_status<K: berth_operator::cluster::Object>(fixture: &Fixture, name: &str, status: &Value) {
    let patch = Patch::Merge(json!({"status": status}));
    fixture
        .api::<K>()
        .patch_status(name, &PatchParams::default(), &patch)
        .await
        .unwrap();
}

/// The Deployment's pods are all of its newest template, and ready.
pub(crate) async fn complete_rollout(fixture: &Fixture, name: &str) {
    let Some(deployment) = fixture.api::<Deployment>().get_opt(name).await.unwrap() else {
        return;
    };
    let replicas = deployment.spec.as_ref().unwrap().replicas.unwrap();
    let status = json!({
        "observedGeneration": deployment.metadata.generation, "replicas": replicas, "updatedReplicas": replicas,
        "readyReplicas": replicas, "availableReplicas": replicas,
    });
    patch_status::<Deployment>(fixture, name, &status).await;
}

/// Every Job that has not ended has succeeded.
pub(crate) async fn finish_jobs(fixture: &Fixture) {
    for job in fixture.list::<Job>().await {
        finish_job(fixture, &job).await;
    }
}

/// The Job has succeeded, unless it has ended already.
pub(crate) async fn finish_job(fixture: &Fixture, job: &Job) {
    let ended = job.status.as_ref().is_some_and(|status| status.conditions.is_some());
    if !ended {
        let conditions = ["SuccessCriteriaMet", "Complete"].map(|type_| ended_with(type_, "", ""));
        let status = json!({"succeeded": 1, "startTime": AT, "completionTime": AT, "conditions": conditions});
        patch_status::<Job>(fixture, &job.name_any(), &status).await;
    }
}

/// The Job has failed for good, after a pod that printed `printed`.
pub(crate) async fn fail_job(fixture: &Fixture, job: &Job, printed: &str) {
    let name = job.name_any();
    let template = &job.spec.as_ref().unwrap().template;
    let mut labels = template.metadata.as_ref().unwrap().labels.clone().unwrap();
    labels.insert("batch.kubernetes.io/job-name".to_owned(), name.clone());
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"generateName": format!("{name}-"), "labels": labels}, "spec": template.spec,
    }))
    .unwrap();
    let pod = fixture.api::<Pod>().create(&PostParams::default(), &pod).await.unwrap();
    let terminated = json!({"exitCode": 1, "reason": "Error", "message": printed, "startedAt": AT, "finishedAt": AT});
    let container = json!({
        "name": "migrate", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"terminated": terminated},
    });
    patch_status::<Pod>(
        fixture,
        &pod.name_any(),
        &json!({"phase": "Failed", "containerStatuses": [container]}),
    )
    .await;
    let message = "Job has reached the specified backoff limit";
    let conditions = ["FailureTarget", "Failed"].map(|type_| ended_with(type_, "BackoffLimitExceeded", message));
    patch_status::<Job>(
        fixture,
        &name,
        &json!({"failed": 3, "startTime": AT, "conditions": conditions}),
    )
    .await;
}

fn ended_with(type_: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": type_, "status": "True", "reason": reason, "message": message,
        "lastTransitionTime": AT, "lastProbeTime": AT,
    })
}

/// Somebody else changes an object, as `kubectl edit` would.
pub(crate) async fn meddle<K: berth_operator::cluster::Object>(fixture: &Fixture, name: &str, patch: Value) {
    let parameters = PatchParams {
        field_manager: Some(TESTER.to_owned()),
        ..PatchParams::default()
    };
    fixture
        .api::<K>()
        .patch(name, &parameters, &Patch::Strategic(patch))
        .await
        .unwrap();
}

/// How the pods and Jobs of a roll-out are to behave.
#[derive(Clone, Debug, Default)]
pub(crate) struct Play {
    /// What preflights print.
    pub(crate) preflight: Option<Value>,
    /// What other Jobs print, by a part of their names.
    pub(crate) printed: Vec<(&'static str, Value)>,
    /// What the pods of `<name>-canary` do.
    pub(crate) canary_never_serves: bool,
}

/// The part of all controllers, once: Jobs that were made end, Deployments that were changed have their pods.
pub(crate) async fn play(fixture: &Fixture, name: &str, as_said: &Play) {
    let preflight = as_said.preflight.clone().map(|contract| ("-preflight-", contract));
    for (jobs, printed) in preflight.iter().chain(&as_said.printed) {
        end_jobs(fixture, jobs, printed).await;
    }
    finish_jobs(fixture).await;
    complete_rollout(fixture, name).await;
    if !as_said.canary_never_serves {
        complete_rollout(fixture, &format!("{name}-canary")).await;
    }
}

/// A pod of each Job of such a name that runs has ended, and printed that.
async fn end_jobs(fixture: &Fixture, jobs: &str, printed: &Value) {
    for job in fixture.list::<Job>().await {
        let ended = job.status.as_ref().is_some_and(|status| status.conditions.is_some());
        if ended || !job.name_any().contains(jobs) {
            continue;
        }
        let pod = format!("{}-pod", job.name_any());
        if fixture.api::<Pod>().get_opt(&pod).await.unwrap().is_none() {
            pod_of(fixture, &job, &pod).await;
        }
        let terminated = json!({"exitCode": 0, "message": printed.to_string(), "startedAt": AT, "finishedAt": AT});
        let container = json!({
            "name": "migrate", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": terminated},
        });
        patch_status::<Pod>(
            fixture,
            &pod,
            &json!({"phase": "Succeeded", "containerStatuses": [container]}),
        )
        .await;
    }
}

async fn pod_of(fixture: &Fixture, job: &Job, name: &str) {
    let template = &job.spec.as_ref().unwrap().template;
    let mut labels = template.metadata.as_ref().unwrap().labels.clone().unwrap();
    labels.insert("batch.kubernetes.io/job-name".to_owned(), job.name_any());
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": name, "labels": labels}, "spec": template.spec,
    }))
    .unwrap();
    fixture.api::<Pod>().create(&PostParams::default(), &pod).await.unwrap();
}

/// A pod of the Deployment's newest template, on a node that nobody knows, whose container has ended so often, the last time
/// at `ended`, and runs again.
pub(crate) async fn run_pod(fixture: &Fixture, deployment: &str, name: &str, restarts: i32, ended: Timestamp) {
    let template = fixture.get::<Deployment>(deployment).await.spec.unwrap().template;
    let mut pod = Pod {
        metadata: template.metadata.unwrap(),
        spec: template.spec,
        status: None,
    };
    pod.metadata.name = Some(name.to_owned());
    pod.spec.as_mut().unwrap().node_name = Some("lost-node".to_owned());
    let pods = fixture.api::<Pod>();
    if pods.get_opt(name).await.unwrap().is_none() {
        pods.create(&PostParams::default(), &pod).await.unwrap();
    }
    let ended = Time(ended);
    let container = json!({
        "name": "registry", "image": "i", "imageID": "", "ready": true, "restartCount": restarts,
        "state": {"running": {"startedAt": ended}},
        "lastState": {"terminated": {"exitCode": 1, "startedAt": ended, "finishedAt": ended}},
    });
    patch_status::<Pod>(fixture, name, &json!({"containerStatuses": [container]})).await;
}
