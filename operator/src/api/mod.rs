//! The kinds that the operator brings to a cluster: what a user writes, and what the operator answers in `status`.
//!
//! Doc comments on fields are the text of `kubectl explain`: they are written for whoever runs a cluster.
//! This module knows neither a client nor a controller.

pub mod collection;
pub mod conditions;
pub mod database;
pub mod exposure;
pub mod image;
pub mod network;
pub mod notifications;
pub mod registry;
pub mod release;
pub mod rollout;
pub mod scaling;
pub mod scheduling;
mod schema;
pub mod service;
pub mod span;
pub mod status;
pub mod storage;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

pub use registry::{Registry, RegistrySpec};
pub use rollout::{RegistryApproval, RegistryRollout};
pub use status::RegistryStatus;

/// The API group of every kind.
pub const GROUP: &str = "berth.dev";

/// The version of every kind.
pub const VERSION: &str = "v1alpha1";

/// Every kind's definition, ready for `kubectl apply`.
///
/// The one list that the `crds` command, the chart test and the API server tests read.
pub fn definitions() -> Vec<CustomResourceDefinition> {
    vec![
        schema::tidy(Registry::crd()),
        schema::tidy(RegistryRollout::crd()),
        schema::tidy(RegistryApproval::crd()),
    ]
}

/// The file below `crds/` that holds `definition`.
pub fn file_name(definition: &CustomResourceDefinition) -> String {
    format!("{}.yaml", definition.spec.names.plural)
}

/// `definition` as it is checked in and applied: YAML under a line that says where it comes from.
///
/// # Errors
/// When the definition cannot be written as YAML.
pub fn definition_yaml(definition: &CustomResourceDefinition) -> Result<String, serde_yaml::ser::Error> {
    let yaml = serde_yaml::to_string(definition)?;
    Ok(format!(
        "# Written by `berth-operator crds --output-dir crds`; change operator/src/api instead.\n{yaml}"
    ))
}
