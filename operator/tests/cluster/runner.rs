//! The operator as it runs: watches, rights, and an orderly stop.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use berth_operator::admin::Readiness;
use berth_operator::api::conditions::{self, ConditionType};
use berth_operator::api::{Registry, RegistryRollout};
use berth_operator::foreign::ServiceMonitor;
use berth_operator::locks::{self, Claim, Holder, LockName};
use berth_operator::rbac::GRANTS;
use berth_operator::runner;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret, Service};
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::controllers::{Play, meddle};
use crate::support::{Fixture, controllers, eventually, production};
use crate::{companions, overrides};

pub(crate) struct Running {
    stop: CancellationToken,
    readiness: Readiness,
    task: JoinHandle<()>,
}

impl Running {
    #[expect(
        clippy::disallowed_methods,
        reason = "every test stops what it starts and waits for it"
    )]
    pub(crate) fn start(fixture: &Fixture) -> Self {
        let (stop, readiness) = (CancellationToken::new(), Readiness::default());
        let run = {
            let (context, namespace) = (Arc::clone(&fixture.context), fixture.namespace.clone());
            let (readiness, stop) = (readiness.clone(), stop.clone());
            async move { runner::run(context, &[namespace], readiness, stop).await.unwrap() }
        };
        Self {
            stop,
            readiness,
            task: tokio::task::spawn(run),
        }
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(20), self.task)
            .await
            .expect("an orderly stop")
            .unwrap();
    }
}

pub(crate) async fn ready(fixture: &Fixture) {
    eventually("the Registry is ready", async || {
        controllers::finish_jobs(fixture).await;
        controllers::complete_rollout(fixture, "images").await;
        let registry: Registry = fixture.get("images").await;
        let ready = conditions::find(&registry.status?.conditions, ConditionType::Ready)?.status == "True";
        ready.then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_registry_is_seen_made_and_kept_as_it_should_be() {
    let fixture = Fixture::new().await;
    let running = Running::start(&fixture);
    eventually("the operator is ready", async || {
        running.readiness.is_set().then_some(())
    })
    .await;

    fixture.create("images", &json!({})).await.unwrap();
    ready(&fixture).await;
    meddle::<Service>(
        &fixture,
        "images",
        json!({"spec": {"selector": {"app.kubernetes.io/instance": "x"}}}),
    )
    .await;
    eventually("a changed Service is changed back", async || {
        let selector = fixture.get::<Service>("images").await.spec?.selector?;
        (selector["app.kubernetes.io/instance"] == "images").then_some(())
    })
    .await;
    fixture
        .api::<Deployment>()
        .delete("images", &DeleteParams::default())
        .await
        .unwrap();
    eventually("a deleted Deployment is made again", async || {
        fixture.api::<Deployment>().get_opt("images").await.unwrap()
    })
    .await;
    let unlabelled = json!({"metadata": {"labels": {"app.kubernetes.io/part-of": null}}});
    meddle::<PersistentVolumeClaim>(&fixture, "images-data", unlabelled).await;
    eventually("a changed claim is changed back, though it has no owner", async || {
        let claim: PersistentVolumeClaim = fixture.get("images-data").await;
        claim.labels().contains_key("app.kubernetes.io/part-of").then_some(())
    })
    .await;

    running.stop().await;
}

#[tokio::test]
async fn a_secret_that_appears_or_changes_is_heard_of_within_seconds() {
    let fixture = Fixture::new().await;
    let running = Running::start(&fixture);
    fixture.create("images", &production(&json!({}))).await.unwrap();
    eventually("the missing Secrets are told", async || {
        let registry: Registry = fixture.get("images").await;
        let told = conditions::find(&registry.status?.conditions, ConditionType::Stalled)?.reason == "SecretMissing";
        told.then_some(())
    })
    .await;

    fixture.create_credentials().await;
    // By itself the operator would look again after a minute.
    ready(&fixture).await;
    let generation = async || fixture.get::<Deployment>("images").await.metadata.generation;
    let before = generation().await;
    meddle::<Secret>(&fixture, "bucket", json!({"stringData": {"access-key-id": "AK2"}})).await;
    eventually("another content replaces the pods", async || {
        (generation().await > before).then_some(())
    })
    .await;

    running.stop().await;
}

/// Everything that the table of permissions has, asked for with the rights of the chart alone.
async fn a_third_version_leaves_one_record_and_no_canary(fixture: &Fixture, next: &serde_json::Value) {
    let mut third = next.clone();
    third["version"] = json!("0.3.0");
    third["rollout"] = json!({
        "historyLimit": 1, "canary": {"bake": {"min": "0s", "max": "0s"}}, "analysis": {"interval": "0s"},
    });
    let second = names::<RegistryRollout>(fixture).await;
    fixture.respec("images", &production(&third)).await.unwrap();
    eventually(
        "the record of the second version is gone, and the canary of the third",
        async || {
            controllers::play(fixture, "images", &Play::default()).await;
            if names::<Deployment>(fixture).await.contains("images-canary") {
                return None;
            }
            let left = names::<RegistryRollout>(fixture).await;
            let gone = second
                .iter()
                .filter(|name| name.starts_with("images-"))
                .all(|name| !left.contains(name));
            gone.then_some(())
        },
    )
    .await;
}

#[tokio::test]
async fn every_permission_is_needed_and_none_is_missing() {
    let fixture = Fixture::new().await;
    fixture.create_credentials().await;
    let running = Running::start(&fixture);
    fixture.create("images", &production(&json!({}))).await.unwrap();
    ready(&fixture).await;
    let (jobs, configs) = (names::<Job>(&fixture).await, names::<ConfigMap>(&fixture).await);
    overrides::create_config_map(&fixture, "settings", "value").await;
    fixture
        .create(
            "volume",
            &json!({"monitoring": {"kind": "ServiceMonitor"}, "podTemplate": {
                "extraEnv": [{"name": "A", "configMapKeyRef": {"name": "settings", "key": "key"}}],
            }}),
        )
        .await
        .unwrap();
    companions_come_and_go(&fixture).await;

    let next = json!({
        "version": "0.2.0", "config": {"log": {"level": "debug"}},
        "rollout": {"strategy": "Direct", "historyLimit": 1},
    });
    fixture.respec("images", &production(&next)).await.unwrap();
    eventually("Job and configuration of the first version are gone", async || {
        controllers::finish_jobs(&fixture).await;
        controllers::complete_rollout(&fixture, "images").await;
        let jobs_left = names::<Job>(&fixture).await;
        let configs_left = names::<ConfigMap>(&fixture).await;
        (jobs.is_disjoint(&jobs_left) && configs.is_disjoint(&configs_left)).then_some(())
    })
    .await;
    a_third_version_leaves_one_record_and_no_canary(&fixture, &next).await;
    eventually("the other Registry has its volume", async || {
        fixture
            .api::<PersistentVolumeClaim>()
            .get_opt("volume-data")
            .await
            .unwrap()
    })
    .await;
    eventually("Secrets are watched where Registries are", async || {
        let asked = fixture.metrics_text();
        asked
            .contains("verb=\"watch\",group=\"\",resource=\"secrets\"")
            .then_some(())
    })
    .await;
    running.stop().await;
    hold_a_lock(&fixture).await;

    every_grant_was_asked_for(&fixture.metrics_text());
}

fn every_grant_was_asked_for(metrics: &str) {
    for grant in GRANTS {
        for verb in grant.verbs {
            let labels = format!(
                "verb=\"{}\",group=\"{}\",resource=\"{}\"",
                verb.as_str(),
                grant.group,
                grant.resource
            );
            assert!(
                metrics.contains(&labels),
                "granted and never asked: {labels}\n{metrics}"
            );
        }
    }
    assert!(!metrics.contains("reason=\"Forbidden\""), "{metrics}");
}

/// What a roll-out does about its lock.
async fn hold_a_lock(fixture: &Fixture) {
    let (cluster, now) = (&fixture.context.cluster, fixture.context.clock.now());
    let holder = Holder::parse("external/test");
    let lock = LockName::of_group(&fixture.namespace, "permissions");
    let claim = Claim {
        holder: &holder,
        created: now,
        duration: Duration::from_mins(1),
        idle: None,
    };
    locks::acquire(cluster, &lock, &claim, now).await.unwrap();
    locks::release(cluster, &lock, &holder, now).await.unwrap();
}

/// With every object around the pods, and without any.
async fn companions_come_and_go(fixture: &Fixture) {
    eventually("the other Registry is measured", async || {
        fixture.api::<ServiceMonitor>().get_opt("volume").await.unwrap()
    })
    .await;
    fixture.respec("volume", &json!({})).await.unwrap();
    companions::issue(fixture).await;
    fixture
        .respec("images", &production(&companions::everything()))
        .await
        .unwrap();
    eventually("the autoscaler, which comes last, is there", async || {
        controllers::finish_jobs(fixture).await;
        fixture
            .api::<HorizontalPodAutoscaler>()
            .get_opt("images")
            .await
            .unwrap()
    })
    .await;
    fixture
        .respec("images", &production(&json!({"replicas": 1})))
        .await
        .unwrap();
    eventually("the autoscaler, which goes last, is gone", async || {
        controllers::finish_jobs(fixture).await;
        let monitors = names::<ServiceMonitor>(fixture).await;
        let scaled = names::<HorizontalPodAutoscaler>(fixture).await;
        (monitors.is_empty() && scaled.is_empty()).then_some(())
    })
    .await;
}

async fn names<K: berth_operator::cluster::Object>(fixture: &Fixture) -> BTreeSet<String> {
    fixture.list::<K>().await.iter().map(ResourceExt::name_any).collect()
}
