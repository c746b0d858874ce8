//! The configuration file, in a `ConfigMap` whose name says its content.
//!
//! A new content is a new `ConfigMap`, so pods of the old version keep the file they were started with, and a changed
//! file is a changed pod template: it rolls out like a new version.

use k8s_openapi::api::core::v1::ConfigMap;

use super::super::validate::ValidRegistry;
use super::metadata;
use crate::content_hash;
use crate::labels::{Component, names};

/// Name of the file in the `ConfigMap` and in the pod.
pub(super) const FILE: &str = "config.yaml";

pub(super) fn build(registry: &ValidRegistry) -> ConfigMap {
    let text = yaml(&content_hash::sorted(&registry.config));
    let name = names::config_map(&registry.name, &content_hash::short(&[&text]));
    ConfigMap {
        metadata: metadata(registry, name, Component::Registry),
        data: Some([(FILE.to_owned(), text)].into()),
        immutable: Some(true),
        ..ConfigMap::default()
    }
}

/// YAML, or JSON should the value have no YAML form: the registry reads both.
fn yaml(config: &serde_json::Value) -> String {
    serde_yaml::to_string(config).unwrap_or_else(|_| config.to_string())
}
