//! Specs made from the definition itself: each is refused with a message, or becomes ready, or says what it waits for.
//!
//! Every field is left out, as small and as large as it may be, beyond that, of another type, and dangling where it
//! names another object; then pairs of settings are tried together. The test plays the controllers' part.

mod specs;

use std::collections::BTreeMap;
use std::sync::Arc;

use berth_operator::api::Registry;
use berth_operator::api::conditions::{self, ConditionType};
use berth_operator::foreign::Certificate;
use berth_operator::registry;
use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt;
use kube::api::{DynamicObject, ListParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use crate::support::{Fixture, controllers};

/// How many specs are tried at the same time.
const TOGETHER: usize = 6;
/// After so many passes nothing new can come.
const PASSES: usize = 8;

/// What became of a spec.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// The API server did not take it.
    RefusedByTheApiServer,
    /// The operator does not build it, for that reason.
    RefusedByTheOperator(String),
    /// It is as the spec says.
    Ready,
    /// The spec says that nothing is to be done.
    Suspended,
    /// Nobody can know why nothing happens.
    StuckSilently(String),
}

#[tokio::test]
async fn no_spec_is_stuck_without_a_word() {
    let fixture = Fixture::new().await;
    prepare(&fixture).await;
    let specs = specs::all();
    let count = specs.len();
    assert!(count >= 600, "only {count} specs");

    let tried = futures::stream::iter(specs.into_iter().enumerate()).map(|(number, spec)| {
        let fixture = &fixture;
        async move {
            let name = format!("r{number}");
            let spec_of_it = specs::named(&spec.content, &name);
            let outcome = Box::pin(outcome(fixture, &name, &spec_of_it)).await;
            (spec, outcome)
        }
    });
    let outcomes: Vec<_> = tried.buffer_unordered(TOGETHER).collect().await;

    report(&outcomes);
    let stuck: Vec<_> = outcomes
        .iter()
        .filter(|(_, outcome)| matches!(outcome, Outcome::StuckSilently(_)))
        .map(|(spec, outcome)| format!("{}: {outcome:?}", spec.label))
        .collect();
    assert!(stuck.is_empty(), "{} of {count} are stuck: {stuck:#?}", stuck.len());
}

#[expect(clippy::print_stderr, reason = "the counts are the result")]
fn report(outcomes: &[(specs::Spec, Outcome)]) {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for (spec, outcome) in outcomes {
        let kind = match outcome {
            Outcome::StuckSilently(_) => "stuck silently".to_owned(),
            Outcome::RefusedByTheOperator(reason) => format!("refused by the operator: {reason}"),
            Outcome::RefusedByTheApiServer => "refused by the API server".to_owned(),
            Outcome::Ready => "ready".to_owned(),
            Outcome::Suspended => "suspended".to_owned(),
        };
        *counts.entry(format!("{} {kind}", spec.group)).or_default() += 1;
    }
    eprintln!("{} generated specs:", outcomes.len());
    for (kind, count) in counts {
        eprintln!("{count:6} {kind}");
    }
}

/// Everything that a spec may refer to, but what is called `dangling`.
async fn prepare(fixture: &Fixture) {
    let keys = [
        "username",
        "password",
        "access-key-id",
        "secret-access-key",
        "access-key",
        "sas-token",
        "key.json",
        "key",
        "ca.crt",
        "tls.crt",
        "tls.key",
        "token",
    ];
    let values: Vec<(&str, &str)> = keys.iter().map(|key| (*key, "value")).collect();
    fixture.create_secret("secret", &values).await;
    crate::overrides::create_config_map(fixture, "settings", "value").await;
    let claim: PersistentVolumeClaim = serde_json::from_value(json!({
        "metadata": {"name": "claim"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }))
    .unwrap();
    fixture
        .api::<PersistentVolumeClaim>()
        .create(&PostParams::default(), &claim)
        .await
        .unwrap();
}

async fn outcome(fixture: &Fixture, name: &str, spec: &Value) -> Outcome {
    match create(fixture, name, spec).await {
        Ok(()) => {}
        Err(kube::Error::Api(status)) if !status.message.is_empty() && matches!(status.code, 400 | 422) => {
            return Outcome::RefusedByTheApiServer;
        }
        Err(error) => return Outcome::StuckSilently(error.to_string()),
    }
    let mut last = Outcome::StuckSilently("never looked at".to_owned());
    for _ in 0..PASSES {
        let registry: Registry = fixture.get(name).await;
        if let Err(error) = Box::pin(registry::reconcile(Arc::new(registry), Arc::clone(&fixture.context))).await {
            last = Outcome::StuckSilently(error.to_string());
            continue;
        }
        last = judged(&fixture.get(name).await);
        if !matches!(last, Outcome::StuckSilently(_)) {
            return last;
        }
        play_controllers(fixture, name).await;
    }
    last
}

/// As `kubectl create` would: the operator's own types would not even write what is wrong.
async fn create(fixture: &Fixture, name: &str, spec: &Value) -> Result<(), kube::Error> {
    let kind = ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("berth.dev", "v1alpha1", "Registry"),
        "registries",
    );
    let object: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "Registry", "metadata": {"name": name}, "spec": spec,
    }))
    .unwrap();
    let api = kube::Api::<DynamicObject>::namespaced_with(fixture.client.clone(), &fixture.namespace, &kind);
    api.create(&PostParams::default(), &object).await.map(drop)
}

fn judged(registry: &Registry) -> Outcome {
    let conditions = registry.status.as_ref().map(|status| status.conditions.as_slice());
    let conditions = conditions.unwrap_or_default();
    let holds =
        |type_| conditions::find(conditions, type_).filter(|found| found.status == "True" && !found.message.is_empty());
    if holds(ConditionType::Paused).is_some() {
        return Outcome::Suspended;
    }
    if let Some(stalled) = holds(ConditionType::Stalled) {
        return Outcome::RefusedByTheOperator(stalled.reason.clone());
    }
    if holds(ConditionType::Ready).is_some() {
        return Outcome::Ready;
    }
    let said = conditions::find(conditions, ConditionType::Ready);
    Outcome::StuckSilently(said.map_or_else(String::new, |said| format!("{}: {}", said.reason, said.message)))
}

/// What the Deployment's controller, the Job's and cert-manager would do for this Registry.
async fn play_controllers(fixture: &Fixture, name: &str) {
    let labelled = ListParams::default().labels(&format!("app.kubernetes.io/instance={name}"));
    for job in fixture.api::<Job>().list(&labelled).await.unwrap().items {
        controllers::finish_job(fixture, &job).await;
    }
    for deployment in fixture.api::<Deployment>().list(&labelled).await.unwrap().items {
        controllers::complete_rollout(fixture, &deployment.name_any()).await;
    }
    for certificate in fixture.api::<Certificate>().list(&labelled).await.unwrap().items {
        let secret = certificate.spec.members["secretName"].as_str().unwrap().to_owned();
        let is_there = fixture
            .api::<k8s_openapi::api::core::v1::Secret>()
            .get_opt(&secret)
            .await
            .unwrap();
        if is_there.is_none() {
            fixture
                .create_secret(&secret, &[("tls.crt", "c"), ("tls.key", "k")])
                .await;
        }
    }
}
