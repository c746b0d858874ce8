//! A tag that is pushed is rolled out, without a change of the Registry.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use berth_operator::api::conditions::ConditionType;
use berth_operator::api::rollout::Phase;
use berth_operator::api::rollout::status::Trigger;
use berth_operator::api::{Registry, RegistryRollout};
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::support::controllers::{Play, play};
use crate::support::images::Images;
use crate::support::{Fixture, condition, production};

/// Some intervals of a channel.
const LIMIT: Duration = Duration::from_secs(40);
/// Longer than the interval between two looks, which is spread a little.
const INTERVAL: Duration = Duration::from_secs(6);

fn followed(images: &Images, more: &Value) -> Value {
    let mut channel = json!({"repository": images.repository(), "semver": "^1", "interval": "5s"});
    for (key, value) in more.as_object().unwrap() {
        channel[key] = value.clone();
    }
    production(&json!({
        "release": {"channel": channel},
        "rollout": {"canary": {"bake": {"min": "0s", "max": "0s"}}, "analysis": {"interval": "0s"}},
    }))
}

async fn ready(images: &Images) -> Fixture {
    let fixture = Fixture::new().await;
    fixture.create_credentials().await;
    fixture.create("images", &followed(images, &json!({}))).await.unwrap();
    fixture.pass_until_ready("images").await;
    fixture
}

async fn image(fixture: &Fixture) -> String {
    let deployment: Deployment = fixture.get("images").await;
    let pod = deployment.spec.unwrap().template.spec.unwrap();
    pod.containers[0].image.clone().unwrap()
}

fn resolved(registry: &Registry) -> (String, String) {
    let (truth, reason, _) = condition(registry, ConditionType::VersionResolved);
    (truth, reason)
}

fn phase(registry: &Registry) -> Option<Phase> {
    Some(registry.status.as_ref()?.rollout.as_ref()?.phase)
}

/// Passes and the controllers' part, until `is_so`.
async fn until(fixture: &Fixture, what: &str, is_so: impl Fn(&Registry) -> bool) -> Registry {
    let begun = Instant::now();
    loop {
        let registry = fixture.pass("images").await;
        if is_so(&registry) {
            return registry;
        }
        assert!(begun.elapsed() < LIMIT, "{what}: {:#?}", registry.status);
        play(fixture, "images", &Play::default()).await;
    }
}

/// Passes for longer than an interval: the channel was looked at again.
async fn look_again(fixture: &Fixture) -> Registry {
    let begun = Instant::now();
    while begun.elapsed() < INTERVAL {
        fixture.pass("images").await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    fixture.pass("images").await
}

async fn versions(fixture: &Fixture) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::new();
    for registry in fixture.list::<Registry>().await {
        versions.insert(registry.name_any(), registry.resource_version().unwrap());
    }
    for deployment in fixture.list::<Deployment>().await {
        versions.insert(
            format!("deployment {}", deployment.name_any()),
            deployment.resource_version().unwrap(),
        );
    }
    versions
}

#[tokio::test]
async fn a_pushed_tag_begins_one_roll_out_and_the_same_again_writes_nothing() {
    let mut images = Images::start().await;
    let first = images.push("1.0.0").await;
    let fixture = ready(&images).await;
    assert_eq!(image(&fixture).await, first);
    assert!(fixture.list::<RegistryRollout>().await.is_empty());

    let second = images.push("1.1.0").await;
    let completed = until(&fixture, "the tag is rolled out", |registry| {
        phase(registry) == Some(Phase::Completed)
    })
    .await;

    assert_eq!(image(&fixture).await, second);
    assert_eq!(resolved(&completed), ("True".to_owned(), "Resolved".to_owned()));
    let release = completed.status.unwrap().release.unwrap();
    assert_eq!((release.version.as_str(), release.tag.as_str()), ("1.1.0", "1.1.0"));
    let records = fixture.list::<RegistryRollout>().await;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].spec.trigger, Trigger::Channel);
    assert_eq!(records[0].spec.to.version.as_deref(), Some("1.1.0"));

    fixture.pass_until_ready("images").await;
    let before = versions(&fixture).await;
    images.push("1.1.0").await;
    images.push("0.9.0").await;
    look_again(&fixture).await;
    fixture
        .pass_of(&std::sync::Arc::new(fixture.restarted()), "images")
        .await;
    assert_eq!(versions(&fixture).await, before);
    assert_eq!(fixture.list::<RegistryRollout>().await.len(), 1);

    images.stop();
    let away = until(&fixture, "the source is away", |registry| {
        resolved(registry).1 == "SourceUnreachable"
    })
    .await;
    assert_eq!(condition(&away, ConditionType::Ready).0, "True");
    assert_eq!(image(&fixture).await, second);
}

#[tokio::test]
async fn a_digest_that_was_taken_back_is_not_chosen_again() {
    let images = Images::start().await;
    let first = images.push("1.0.0").await;
    let fixture = ready(&images).await;
    let second = images.push("1.1.0").await;
    let begun = until(&fixture, "a roll-out begins", |registry| {
        matches!(phase(registry), Some(Phase::CanaryDeploying))
    })
    .await;
    let id = begun.status.unwrap().rollout.unwrap().id;
    let abort = json!({"metadata": {"annotations": {"berth.dev/rollout-abort": format!("{id} it is bad")}}});
    patch(&fixture, abort).await;
    until(&fixture, "it is taken back", |registry| {
        phase(registry) == Some(Phase::RolledBack)
    })
    .await;

    let after = look_again(&fixture).await;

    assert_eq!(image(&fixture).await, first);
    assert_eq!(fixture.list::<RegistryRollout>().await.len(), 1);
    let refused = &after.status.as_ref().unwrap().refused[0];
    assert_eq!(Some(refused.image.as_str()), Some(second.as_str()));

    let third = images.push("1.2.0").await;
    until(&fixture, "the next tag is rolled out", |registry| {
        phase(registry) == Some(Phase::Completed)
    })
    .await;
    assert_eq!(image(&fixture).await, third);
}

async fn patch(fixture: &Fixture, patch: Value) {
    use kube::api::{Patch, PatchParams};
    fixture
        .api::<Registry>()
        .patch("images", &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap();
}

#[tokio::test]
async fn before_a_channel_came_to_anything_nothing_is_made_and_the_reason_is_told() {
    let images = Images::start().await;
    let fixture = Fixture::new().await;
    fixture.create_credentials().await;
    fixture.create("images", &followed(&images, &json!({}))).await.unwrap();

    let empty = fixture.pass("images").await;
    assert_eq!(resolved(&empty).1, "SourceUnreachable");
    assert_eq!(condition(&empty, ConditionType::Ready).1, "SourceUnreachable");
    images.push("2.0.0").await;
    let none = until(&fixture, "nothing fits", |registry| resolved(registry).1 == "NoMatch").await;
    assert_eq!(condition(&none, ConditionType::Stalled).0, "True");
    assert!(fixture.list::<Deployment>().await.is_empty());
    let first = images.push("1.0.0").await;
    until(&fixture, "it fits", |registry| resolved(registry).1 == "Resolved").await;
    fixture.pass_until_ready("images").await;
    assert_eq!(image(&fixture).await, first);
}

#[tokio::test]
async fn an_unsigned_image_or_a_missing_key_changes_nothing_and_says_so() {
    let images = Images::start().await;
    images.push("1.0.0").await;
    let fixture = Fixture::new().await;
    fixture.create_credentials().await;
    let verified = json!({"verify": {"cosign": {"keyRef": {"name": "signer"}}}});
    fixture.create("images", &followed(&images, &verified)).await.unwrap();

    assert_eq!(resolved(&fixture.pass("images").await).1, "SecretMissing");
    let key = "-----BEGIN PUBLIC KEY-----\n\
               MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt\n\
               6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==\n\
               -----END PUBLIC KEY-----\n";
    fixture.create_secret("signer", &[("cosign.pub", key)]).await;
    assert_eq!(resolved(&fixture.pass("images").await).1, "SignatureInvalid");
    assert!(fixture.list::<Deployment>().await.is_empty());
}

#[tokio::test]
async fn a_named_version_and_a_channel_exclude_each_other() {
    let fixture = Fixture::new().await;
    let release = json!({"channel": {"repository": "registry.example.com/a/b", "semver": "^1"}});
    let refused = async |spec: Value| fixture.create("images", &spec).await.unwrap_err().to_string();

    let text = refused(json!({"version": "1.0.0", "release": release})).await;
    assert!(text.contains("remove version, or remove release.channel"), "{text}");
    let text = refused(json!({"image": {"tag": "1.0.0"}, "release": release})).await;
    assert!(text.contains("remove image.repository"), "{text}");
}

#[tokio::test]
async fn a_registry_that_holds_its_own_image_is_told_and_does_not_fetch_it_at_each_start() {
    let fixture = Fixture::new().await;
    let spec = json!({"image": {"repository": "images.example.com/berth/berth-registry", "pullPolicy": "Always"},
        "exposure": {"ingress": {"host": "images.example.com"}}});
    fixture.create("images", &spec).await.unwrap();

    let ready = fixture.pass_until_ready("images").await;

    let (truth, reason, message) = condition(&ready, ConditionType::ImageSource);
    assert_eq!((truth.as_str(), reason.as_str()), ("False", "SelfHosted"), "{message}");
    let deployment: Deployment = fixture.get("images").await;
    let pod = deployment.spec.unwrap().template.spec.unwrap();
    assert_eq!(pod.containers[0].image_pull_policy.as_deref(), Some("IfNotPresent"));
}
