//! How the objects of a Registry are named and labelled.

use std::collections::BTreeMap;

/// The field manager of everything that the operator applies, and the value of `app.kubernetes.io/managed-by`.
pub const OPERATOR: &str = "berth-operator";

/// Label selector of everything that the operator makes.
pub const MANAGED: &str = "app.kubernetes.io/managed-by=berth-operator";

/// Label that names the Registry.
pub const INSTANCE: &str = "app.kubernetes.io/instance";

/// Label that says what a pod is for.
pub const COMPONENT: &str = "app.kubernetes.io/component";

/// Label of pods: `main` or `canary`.
pub const STAGE: &str = "berth.dev/stage";

/// Label of pods that the Service for clients reaches.
pub const SERVES: &str = "berth.dev/serves";

/// The value of [`SERVES`].
pub const SERVES_CLIENTS: &str = "clients";

/// Label of pods: the version that they are to run.
pub const VERSION: &str = "berth.dev/version";

/// Annotation of Deployments and pods: the hash of everything that the pods are made of.
pub const REVISION: &str = "berth.dev/revision";

/// Annotation of a Deployment whose image is pinned: the digest.
pub const IMAGE_DIGEST: &str = "berth.dev/image-digest";

/// What a pod is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// Serves clients.
    Registry,
    /// Serves clients with a version that is still to be judged.
    Canary,
    /// Migrates the database.
    Migration,
}

impl Component {
    fn as_str(self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Canary => "canary",
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

    /// The canary: its Deployment and its Service.
    pub fn canary(registry: &str) -> String {
        format!("{registry}-canary")
    }

    /// The Service of the pods that are no canary.
    pub fn main_service(registry: &str) -> String {
        format!("{registry}-main")
    }

    /// What is kept of the revision with that hash.
    pub fn revision(registry: &str, hash: &str) -> String {
        format!("{registry}-rev-{hash}")
    }

    /// The Job in which an image looks at the database.
    pub fn preflight_job(registry: &str, hash: &str) -> String {
        format!("{registry}-preflight-{hash}")
    }

    /// The Job that migrates after a rollout.
    pub fn post_migration_job(registry: &str, hash: &str) -> String {
        format!("{registry}-mig-post-{hash}")
    }

    /// The Job that migrates before a rollout.
    pub fn migration_job(registry: &str, hash: &str) -> String {
        format!("{registry}-mig-pre-{hash}")
    }
}
