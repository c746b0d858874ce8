//! The objects around the pods come and go with the spec.

use std::sync::Arc;

use berth_operator::api::Registry;
use berth_operator::api::conditions::ConditionType;
use berth_operator::foreign::{Certificate, HTTPRoute, PodMonitor, ServiceMonitor};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::controllers::meddle;
use crate::support::{Fixture, condition, controllers, production};

/// Asks for every object around the pods at once.
pub(crate) fn everything() -> Value {
    json!({
        "autoscaling": {"minReplicas": 2, "maxReplicas": 5, "cpu": 70,
            "behavior": {"scaleDown": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}}},
        "resources": {"requests": {"cpu": "250m"}},
        "exposure": {
            "ingress": {"host": "registry.example.com", "className": "nginx",
                "tls": {"certManager": {"issuerRef": {"name": "ca"}}}},
            "gateway": {"parentRefs": [{"name": "edge", "namespace": "gateways"}],
                "hostnames": ["registry.example.com"], "requestTimeout": "0s"},
        },
        "tls": {"certManager": {"issuerRef": {"name": "ca", "kind": "ClusterIssuer"}}},
        "networkPolicy": {"allowFrom": [{"namespace": "builds"}], "metricsFrom": [{"cidr": "10.0.0.0/8"}]},
        "monitoring": {"labels": {"release": "prometheus"}},
    })
}

/// cert-manager has issued the certificate of the pods.
pub(crate) async fn issue(fixture: &Fixture) {
    fixture
        .create_secret("images-tls", &[("tls.crt", "certificate"), ("tls.key", "key")])
        .await;
}

async fn names(fixture: &Fixture) -> Vec<String> {
    fn add<K: berth_operator::cluster::Object>(names: &mut Vec<String>, objects: &[K]) {
        names.extend(
            objects
                .iter()
                .map(|object| format!("{} {}", K::kind(&()), object.name_any())),
        );
    }
    let mut names = Vec::new();
    add(&mut names, &fixture.list::<Ingress>().await);
    add(&mut names, &fixture.list::<HTTPRoute>().await);
    add(&mut names, &fixture.list::<Certificate>().await);
    add(&mut names, &fixture.list::<NetworkPolicy>().await);
    add(&mut names, &fixture.list::<PodDisruptionBudget>().await);
    add(&mut names, &fixture.list::<HorizontalPodAutoscaler>().await);
    add(&mut names, &fixture.list::<PodMonitor>().await);
    add(&mut names, &fixture.list::<ServiceMonitor>().await);
    names
}

#[tokio::test]
async fn what_the_spec_asks_for_around_the_pods_comes_and_goes_with_it() {
    let fixture = Fixture::new().await;
    fixture.create_credentials().await;
    issue(&fixture).await;
    fixture.create("images", &production(&everything())).await.unwrap();
    let ready = fixture.pass_until_ready("images").await;

    assert_eq!(
        names(&fixture).await,
        [
            "Ingress images",
            "HTTPRoute images",
            "Certificate images-ingress-tls",
            "Certificate images-tls",
            "NetworkPolicy images",
            "PodDisruptionBudget images",
            "HorizontalPodAutoscaler images",
            "PodMonitor images",
        ]
    );
    assert_eq!(
        ready.status.unwrap().endpoints.unwrap().url,
        "https://registry.example.com"
    );

    let monitored = production(&json!({"replicas": 1, "monitoring": {"kind": "ServiceMonitor"}}));
    fixture.respec("images", &monitored).await.unwrap();
    fixture.pass_until_ready("images").await;
    assert_eq!(names(&fixture).await, ["ServiceMonitor images"]);
    fixture
        .respec("images", &production(&json!({"replicas": 1})))
        .await
        .unwrap();
    fixture.pass_until_ready("images").await;
    assert!(names(&fixture).await.is_empty());
}

#[tokio::test]
async fn a_companion_that_somebody_changed_or_removed_comes_back() {
    let fixture = Fixture::new().await;
    fixture.create_credentials().await;
    let spec = json!({"exposure": {"ingress": {"host": "a.example.com"}}, "networkPolicy": {}});
    fixture.create("images", &production(&spec)).await.unwrap();
    fixture.pass_until_ready("images").await;
    meddle::<NetworkPolicy>(&fixture, "images", json!({"spec": {"policyTypes": ["Ingress"]}})).await;
    let ingress = fixture.api::<Ingress>();
    ingress.delete("images", &DeleteParams::default()).await.unwrap();

    fixture.pass("images").await;

    let policy = fixture.get::<NetworkPolicy>("images").await.spec.unwrap();
    assert_eq!(policy.policy_types.unwrap(), ["Ingress", "Egress"]);
    fixture.get::<Ingress>("images").await;
}

#[tokio::test]
async fn an_object_of_somebody_else_is_neither_taken_over_nor_removed() {
    let fixture = Fixture::new().await;
    let foreign: PodDisruptionBudget =
        serde_json::from_value(json!({"metadata": {"name": "images"}, "spec": {"maxUnavailable": 0}})).unwrap();
    let budgets = fixture.api::<PodDisruptionBudget>();
    budgets
        .create(&kube::api::PostParams::default(), &foreign)
        .await
        .unwrap();
    fixture.create("images", &json!({})).await.unwrap();
    fixture.pass_until_ready("images").await;
    let budget = json!({"disruption": {"maxUnavailable": 1}});

    fixture.respec("images", &budget).await.unwrap();
    let refused = fixture.pass("images").await;

    let (_, reason, message) = condition(&refused, ConditionType::Stalled);
    assert_eq!(reason, "NameTaken");
    assert!(message.contains("PodDisruptionBudget images exists"), "{message}");
    assert!(fixture.get::<PodDisruptionBudget>("images").await.labels().is_empty());
}

async fn replicas(fixture: &Fixture) -> i32 {
    fixture
        .get::<Deployment>("images")
        .await
        .spec
        .unwrap()
        .replicas
        .unwrap()
}

async fn scale<K: berth_operator::cluster::Object>(fixture: &Fixture, replicas: i32) -> Result<(), kube::Error> {
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    let api = fixture.api::<K>();
    api.patch_scale("images", &PatchParams::default(), &patch)
        .await
        .map(drop)
}

#[tokio::test]
async fn the_number_of_pods_is_the_autoscalers_from_the_moment_on_at_which_there_is_one() {
    let fixture = Fixture::new().await;
    fixture.create_credentials().await;
    fixture
        .create("images", &production(&json!({"replicas": 4})))
        .await
        .unwrap();
    fixture.pass_until_ready("images").await;
    let mut spec = everything();
    for member in ["exposure", "tls", "networkPolicy", "monitoring"] {
        spec.as_object_mut().unwrap().remove(member);
    }

    fixture.respec("images", &production(&spec)).await.unwrap();
    fixture.pass_until_ready("images").await;
    assert_eq!(
        replicas(&fixture).await,
        4,
        "nothing changes before the autoscaler says so"
    );
    scale::<Deployment>(&fixture, 5).await.unwrap();
    fixture.pass_until_ready("images").await;
    assert_eq!(replicas(&fixture).await, 5);
    fixture
        .respec("images", &production(&json!({"replicas": 2})))
        .await
        .unwrap();
    fixture.pass_until_ready("images").await;
    assert_eq!(replicas(&fixture).await, 2, "and the operator's again without one");
}

#[tokio::test]
async fn a_registry_is_scaled_like_a_deployment_unless_it_has_an_autoscaler() {
    let fixture = Fixture::new().await;
    fixture.create_credentials().await;
    fixture
        .create("images", &production(&json!({"replicas": 2})))
        .await
        .unwrap();
    fixture.pass_until_ready("images").await;

    scale::<Registry>(&fixture, 3).await.unwrap();
    let ready = fixture.pass_until_ready("images").await;

    assert_eq!(ready.status.as_ref().unwrap().replicas, 3);
    let seen = fixture.api::<Registry>().get_scale("images").await.unwrap();
    assert_eq!(
        seen.status.unwrap().selector.unwrap(),
        "app.kubernetes.io/component=registry,app.kubernetes.io/instance=images,app.kubernetes.io/name=berth-registry"
    );
    let spec = json!({"autoscaling": {"maxReplicas": 5, "cpu": 70}, "resources": {"requests": {"cpu": "1"}}});
    fixture.respec("images", &production(&spec)).await.unwrap();
    let refused = scale::<Registry>(&fixture, 4).await.unwrap_err().to_string();
    assert!(refused.contains("remove replicas or autoscaling"), "{refused}");
}

#[tokio::test]
async fn pods_wait_for_the_certificate_that_cert_manager_is_asked_for() {
    let fixture = Fixture::new().await;
    let spec = json!({"tls": {"certManager": {"issuerRef": {"name": "ca"}}}});
    fixture.create("images", &spec).await.unwrap();

    let waiting = fixture.pass("images").await;

    let (status, reason, _) = condition(&waiting, ConditionType::Reconciling);
    assert_eq!((status.as_str(), reason.as_str()), ("True", "CertificatePending"));
    let certificate = fixture.get::<Certificate>("images-tls").await;
    let names = certificate.spec.members["dnsNames"].as_array().unwrap().clone();
    assert!(
        names.contains(&json!(format!("images.{}.svc", fixture.namespace))),
        "{names:?}"
    );
    assert!(fixture.list::<Deployment>().await.is_empty());
    issue(&fixture).await;
    let ready = fixture.pass_until_ready("images").await;
    assert!(
        ready
            .status
            .unwrap()
            .endpoints
            .unwrap()
            .url
            .starts_with("https://images.")
    );
}

#[tokio::test]
async fn an_api_that_the_cluster_lacks_is_told_and_used_once_it_is_there() {
    let fixture = Fixture::new().await;
    let (context, hidden) = fixture.with_hidden_apis().await;
    let spec = json!({"monitoring": {}});
    fixture.create("images", &spec).await.unwrap();
    fixture.pass_of(&context, "images").await;
    controllers::complete_rollout(&fixture, "images").await;

    let serving = fixture.pass_of(&context, "images").await;

    let (status, reason, message) = condition(&serving, ConditionType::DependenciesAvailable);
    assert_eq!((status.as_str(), reason.as_str()), ("False", "DependencyUnavailable"));
    assert!(message.contains("install it, or remove spec.monitoring"), "{message}");
    assert_eq!(
        condition(&serving, ConditionType::Ready).0,
        "True",
        "clients need no monitor"
    );

    let with_gateway = json!({"monitoring": {}, "exposure": {"gateway": {
        "parentRefs": [{"name": "edge"}], "hostnames": ["registry.example.com"],
    }}});
    fixture.respec("images", &with_gateway).await.unwrap();
    let unreachable = fixture.pass_of(&context, "images").await;
    assert_eq!(condition(&unreachable, ConditionType::Ready).1, "DependencyUnavailable");
    assert_eq!(condition(&unreachable, ConditionType::Stalled).0, "True");

    hidden.store(false, std::sync::atomic::Ordering::SeqCst);
    let reached = fixture.pass_of(&context, "images").await;
    assert_eq!(condition(&reached, ConditionType::DependenciesAvailable).0, "True");
    assert_eq!(condition(&reached, ConditionType::Ready).0, "True");
    assert_eq!(names(&fixture).await, ["HTTPRoute images", "PodMonitor images"]);
}

#[tokio::test]
async fn a_route_that_the_gateway_refuses_keeps_the_registry_from_being_ready() {
    let fixture = Fixture::new().await;
    let spec = json!({"exposure": {"gateway": {"parentRefs": [{"name": "edge"}], "hostnames": ["a.example.com"]}}});
    fixture.create("images", &spec).await.unwrap();
    fixture.pass_until_ready("images").await;
    let refused =
        json!({"type": "Accepted", "status": "False", "reason": "NoMatchingParent", "message": "no such Gateway"});
    let status = json!({"status": {"parents": [{"conditions": [refused]}]}});
    let routes = fixture.api::<HTTPRoute>();
    routes
        .patch_status("images", &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap();

    let registry = fixture.pass("images").await;

    let (status, reason, message) = condition(&registry, ConditionType::Ready);
    assert_eq!((status.as_str(), reason.as_str()), ("False", "RouteRefused"));
    assert!(message.contains("no such Gateway"), "{message}");
    assert_eq!(condition(&registry, ConditionType::Available).0, "True");
}

#[tokio::test]
async fn a_suspended_registry_is_left_as_it_is_and_says_so() {
    let fixture = Fixture::new().await;
    fixture.create("images", &json!({})).await.unwrap();
    fixture.pass_until_ready("images").await;
    let before = fixture.get::<Deployment>("images").await;
    fixture
        .respec(
            "images",
            &json!({"suspend": true, "config": {"log": {"level": "debug"}}}),
        )
        .await
        .unwrap();

    let suspended = fixture.pass_of(&Arc::clone(&fixture.context), "images").await;

    assert_eq!(condition(&suspended, ConditionType::Paused).1, "Suspended");
    assert_eq!(condition(&suspended, ConditionType::Available).0, "True");
    assert_eq!(fixture.get::<Deployment>("images").await, before);
    fixture
        .respec("images", &json!({"config": {"log": {"level": "debug"}}}))
        .await
        .unwrap();
    let resumed = fixture.pass_until_ready("images").await;
    assert_eq!(condition(&resumed, ConditionType::Paused).0, "False");
}
