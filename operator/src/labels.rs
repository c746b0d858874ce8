//! How the objects of a Registry are named and labelled.

use std::collections::BTreeMap;

/// The field manager of everything that the operator applies, and the value of `app.kubernetes.io/managed-by`.
pub const OPERATOR: &str = "berth-operator";

/// Label selector of everything that the operator makes.
pub const MANAGED: &str = "app.kubernetes.io/managed-by=berth-operator";

/// Label that names the Registry.
pub const INSTANCE: &str = "app.kubernetes.io/instance";

/// Label that says what a pod is for.
const COMPONENT: &str = "app.kubernetes.io/component";

/// What a pod is for. A Service selects [`Component::Registry`] only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// Serves clients.
    Registry,
    /// Migrates the database.
    Migration,
}

impl Component {
    fn as_str(self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Migration => "migration",
        }
    }
}

/// The labels that select pods: they never change during the life of a Registry.
pub fn selector(instance: &str, component: Component) -> BTreeMap<String, String> {
    [
        ("app.kubernetes.io/name", "berth-registry"),
        (INSTANCE, instance),
        (COMPONENT, component.as_str()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect()
}

/// The labels that every pod of a Registry has, whatever it is for.
pub fn every_pod(instance: &str) -> BTreeMap<String, String> {
    let mut labels = selector(instance, Component::Registry);
    labels.remove(COMPONENT);
    labels
}

/// `labels` as a selector in one line.
pub fn selector_text(labels: &BTreeMap<String, String>) -> String {
    let terms: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    terms.join(",")
}

/// The labels of an object.
pub fn labels(instance: &str, component: Component) -> BTreeMap<String, String> {
    let mut labels = selector(instance, component);
    labels.insert("app.kubernetes.io/managed-by".to_owned(), OPERATOR.to_owned());
    labels.insert("app.kubernetes.io/part-of".to_owned(), "berth".to_owned());
    labels
}

/// Label selector of everything that was made for one Registry.
pub fn of_instance(instance: &str) -> String {
    format!("{MANAGED},{INSTANCE}={instance}")
}

/// The names of the objects of a Registry. Deployment, Service and `ServiceAccount` have the Registry's own name.
pub mod names {
    /// The Service of the management API.
    pub fn admin_service(registry: &str) -> String {
        format!("{registry}-admin")
    }

    /// The Secret that is generated once.
    pub fn http_secret(registry: &str) -> String {
        format!("{registry}-http")
    }

    /// The certificate with which pods serve, and its Secret.
    pub fn certificate(registry: &str) -> String {
        format!("{registry}-tls")
    }

    /// The certificate with which the Ingress serves, and its Secret.
    pub fn ingress_certificate(registry: &str) -> String {
        format!("{registry}-ingress-tls")
    }

    /// The claim of the volume.
    pub fn claim(registry: &str) -> String {
        format!("{registry}-data")
    }

    /// The `ConfigMap` with content of that hash.
    pub fn config_map(registry: &str, hash: &str) -> String {
        format!("{registry}-config-{hash}")
    }

    /// The Job that migrates before a rollout.
    pub fn migration_job(registry: &str, hash: &str) -> String {
        format!("{registry}-mig-pre-{hash}")
    }
}
