//! What is in a namespace in the end, without what differs between any two runs.

use std::collections::BTreeSet;

use berth_operator::api::{Registry, RegistryRollout};
use berth_operator::cluster::Object;
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use regex::Regex;
use serde_json::Value;

use crate::support::Fixture;

/// Everything that a roll-out leaves behind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    /// Each object as text.
    pub(crate) objects: Vec<String>,
    /// What people were told of its phases.
    pub(crate) told: BTreeSet<String>,
}

impl Ending {
    pub(crate) async fn of(fixture: &Fixture) -> Self {
        let neutral = Neutral::new(&fixture.namespace);
        let mut objects = Vec::new();
        neutral.add::<Registry>(fixture, &mut objects).await;
        neutral.add::<RegistryRollout>(fixture, &mut objects).await;
        neutral.add::<Deployment>(fixture, &mut objects).await;
        neutral.add::<ControllerRevision>(fixture, &mut objects).await;
        neutral.add::<Job>(fixture, &mut objects).await;
        neutral.add::<Lease>(fixture, &mut objects).await;
        neutral.add::<ConfigMap>(fixture, &mut objects).await;
        neutral.add::<Secret>(fixture, &mut objects).await;
        neutral.add::<Service>(fixture, &mut objects).await;
        neutral.add::<ServiceAccount>(fixture, &mut objects).await;
        neutral.add::<PodDisruptionBudget>(fixture, &mut objects).await;
        objects.sort();
        let events = fixture.events().await.into_iter();
        let told = events.filter_map(|event| event.reason);
        Self {
            objects,
            told: told.filter(|reason| reason.starts_with("Rollout")).collect(),
        }
    }

    /// What differs, in words.
    pub(crate) fn against(&self, other: &Self) -> String {
        let only = |these: &Self, those: &Self| {
            let lacking = these.objects.iter().filter(|object| !those.objects.contains(object));
            lacking.cloned().collect::<Vec<_>>().join("\n  ")
        };
        format!(
            "undisturbed:\n  {}\n  {:?}\ndisturbed:\n  {}\n  {:?}",
            only(self, other),
            self.told,
            only(other, self),
            other.told
        )
    }
}

struct Neutral {
    chance: Vec<(Regex, &'static str)>,
}

impl Neutral {
    fn new(namespace: &str) -> Self {
        let rule = |pattern: &str, word| (Regex::new(pattern).unwrap(), word);
        Self {
            chance: vec![
                rule(&regex::escape(namespace), "NAMESPACE"),
                rule(r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "TIME"),
                rule("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UID"),
                rule(r"\b[0-9a-f]{8,}\b", "HASH"),
                rule(r#""(timeToRemediationSeconds)":\d+"#, r#""$1":0"#),
            ],
        }
    }

    async fn add<K: Object>(&self, fixture: &Fixture, objects: &mut Vec<String>) {
        for object in fixture.list::<K>().await {
            let mut value = serde_json::to_value(&object).unwrap();
            strip(&mut value, &K::kind(&()));
            let mut text = format!("{} {value}", K::kind(&()));
            for (pattern, word) in &self.chance {
                text = pattern.replace_all(&text, *word).into_owned();
            }
            objects.push(text);
        }
    }
}

fn strip(value: &mut Value, kind: &str) {
    let metadata = value["metadata"].as_object_mut().unwrap();
    for name in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
        metadata.remove(name);
    }
    if kind == "RegistryRollout" {
        // What a phase said last before it was left depends on how often it was looked at.
        let mut timeline = value["status"]["timeline"].as_array_mut().into_iter().flatten().rev();
        timeline.next();
        for left in timeline {
            left["message"] = Value::Null;
        }
    }
    if kind == "Secret" {
        // Made by chance.
        value["data"] = value["data"]
            .as_object()
            .map(|data| data.keys().cloned().collect())
            .unwrap_or_default();
    }
    if kind == "Service" {
        for name in ["clusterIP", "clusterIPs"] {
            value["spec"].as_object_mut().unwrap().remove(name);
        }
    }
}
