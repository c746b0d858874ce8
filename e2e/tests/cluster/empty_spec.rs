//! A Registry of which nothing is said.

use std::time::Duration;

use e2e::wait;
use serde_json::json;

use crate::harness::Namespace;

#[test]
fn an_empty_registry_is_pushed_to_and_the_kubelet_pulls_from_it() {
    let namespace = Namespace::new("empty").unwrap();
    namespace.apply_registry("registry", &json!({})).unwrap();
    namespace.wait_until_ready("registry").unwrap();

    let (sample, image) = namespace.push(&namespace.service("registry").unwrap()).unwrap();

    namespace.run_pod(&sample, &image).unwrap();
}

#[test]
fn images_outlive_the_pod_that_took_them() {
    let namespace = Namespace::new("restarted").unwrap();
    namespace.apply_registry("registry", &json!({})).unwrap();
    namespace.wait_until_ready("registry").unwrap();
    let (sample, image) = namespace.push(&namespace.service("registry").unwrap()).unwrap();
    let first = namespace.serving_pods("registry").unwrap().remove(0)["metadata"]["uid"].clone();

    namespace
        .run(&[
            "delete",
            "pods",
            "--selector",
            "app.kubernetes.io/instance=registry",
            "--wait",
        ])
        .unwrap();

    wait::until("another pod serves", Duration::from_mins(1), || {
        let pods = namespace.serving_pods("registry")?;
        Ok(pods.iter().any(|pod| pod["metadata"]["uid"] != first).then_some(()))
    })
    .unwrap();
    namespace.service("registry").unwrap();
    namespace.pull(&sample, &image).unwrap();
}
