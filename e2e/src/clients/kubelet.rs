//! The kubelet: a pod whose image must come from the registry.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::cluster::{Kubectl, Object};

const LIMIT: Duration = Duration::from_secs(90);

/// Runs a pod of `image` (`HOST:PORT/NAME:TAG`, which the node must be able to reach) to its end and gives what it printed.
///
/// # Errors
/// When the kubelet cannot pull the image, gets another one than that of `digest`, or the pod fails.
pub fn run_pod(kubectl: &Kubectl, namespace: &str, image: &str, digest: &str) -> Result<String> {
    let in_namespace = |arguments: &[&str]| kubectl.run(&[&["--namespace", namespace], arguments].concat());
    in_namespace(&["delete", "pod/hello", "--ignore-not-found", "--now"])?;
    kubectl.apply(&format!(
        include_str!("hello.yaml"),
        namespace = namespace,
        image = image
    ))?;
    let outcome = pull_and_run(kubectl, namespace, digest, &in_namespace);
    outcome.with_context(|| in_namespace(&["describe", "pod/hello"]).unwrap_or_else(|_| "there is no pod".to_owned()))
}

fn pull_and_run(
    kubectl: &Kubectl,
    namespace: &str,
    digest: &str,
    in_namespace: &dyn Fn(&[&str]) -> Result<String>,
) -> Result<String> {
    let hello = Object {
        namespace,
        what: "pod/hello",
        until: "has ended",
    };
    let pod = kubectl.wait_for(hello, LIMIT, |pod| {
        matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) || refusal(pod).is_some()
    })?;
    if let Some(refusal) = refusal(&pod) {
        bail!("the kubelet could not run the image: {refusal}");
    }
    let said = in_namespace(&["logs", "pod/hello"])?;
    ensure!(pod["status"]["phase"] == "Succeeded", "the pod failed: {said}");
    let image = pod["status"]["containerStatuses"][0]["imageID"]
        .as_str()
        .unwrap_or_default();
    ensure!(image.ends_with(digest), "the pod ran {image}, not {digest}");
    Ok(said)
}

/// Why the kubelet does not get on with the image.
fn refusal(pod: &Value) -> Option<String> {
    let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
    let reason = waiting["reason"].as_str()?;
    let hopeless = [
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "CreateContainerError",
    ]
    .contains(&reason);
    hopeless.then(|| format!("{reason}: {}", waiting["message"].as_str().unwrap_or_default()))
}
