//! The Registries that the documentation shows are ones that the operator takes.

use std::collections::BTreeMap;

use berth_operator::api::Registry;
use berth_operator::registry::build::build;
use berth_operator::registry::credentials::{self, Secrets};
use berth_operator::registry::observe::Observed;
use berth_operator::registry::validate::{Defaults, validate};
use serde_json::Value;

use crate::root;

/// Every Registry in the folders of examples, with the file that it is in.
fn samples() -> Vec<(String, Value)> {
    let mut samples = Vec::new();
    for folder in ["charts/berth/examples", "e2e/examples"] {
        let Ok(entries) = std::fs::read_dir(root().join(folder)) else {
            continue;
        };
        for path in entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|ext| ext == "yaml"))
        {
            let text = std::fs::read_to_string(&path).unwrap();
            let documents: Vec<Value> = serde_yaml::from_multiple(&text).unwrap();
            let registries = documents.into_iter().filter(|document| document["kind"] == "Registry");
            samples.extend(registries.map(|document| (path.display().to_string(), document)));
        }
    }
    samples
}

/// Keys of `written` that `read` does not have: misspelt, or fields that are no more.
fn lost_keys(written: &Value, read: &Value, path: &str) -> Vec<String> {
    let Some(members) = written.as_object() else {
        return Vec::new();
    };
    let lost = |(key, value): (&String, &Value)| match read.get(key) {
        Some(read) => lost_keys(value, read, &format!("{path}.{key}")),
        None if value.as_object().is_some_and(serde_json::Map::is_empty) => Vec::new(),
        None => vec![format!("{path}.{key}")],
    };
    members.iter().flat_map(lost).collect()
}

fn secrets_of(registry: &Registry) -> Secrets {
    let mut secrets = Secrets::new();
    for credential in credentials::referenced(registry) {
        let values: &mut BTreeMap<_, _> = secrets.entry(credential.secret).or_default();
        values.insert(credential.key, b"value".to_vec());
    }
    for (name, _) in credentials::wholes(registry).pull_secrets {
        secrets.entry(name).or_default();
    }
    secrets
}

#[test]
fn every_field_of_every_sample_exists() {
    let samples = samples();
    assert!(samples.len() >= 3, "{samples:?}");

    for (path, sample) in samples {
        let registry: Registry =
            serde_json::from_value(sample.clone()).unwrap_or_else(|error| panic!("{path}: {error}"));
        let read = serde_json::to_value(&registry).unwrap();

        assert_eq!(lost_keys(&sample, &read, ""), Vec::<String>::new(), "{path}");
    }
}

#[test]
fn every_sample_can_be_built() {
    let defaults = Defaults {
        repository: "berth/berth-registry".to_owned(),
        version: "0.1.0".to_owned(),
    };
    for (path, sample) in samples() {
        let registry: Registry = serde_json::from_value(sample).unwrap();
        let observed = Observed {
            secrets: secrets_of(&registry),
            ..Observed::default()
        };

        let valid = validate(&registry, &observed, &defaults).unwrap_or_else(|refusal| panic!("{path}: {refusal:?}"));

        assert!(build(&valid, "digest").deployment.spec.is_some(), "{path}");
    }
}
