//! Objects that the unit tests of this controller start from.

use kube::api::ObjectMeta;
use serde_json::{Value, json};

use super::credentials::Secrets;
use super::observe::Observed;
use super::validate::{Defaults, ValidRegistry, validate};
use crate::api::Registry;

/// A Registry `images` in namespace `team` with that spec.
pub(crate) fn registry(spec: &Value) -> Registry {
    Registry {
        metadata: ObjectMeta {
            name: Some("images".to_owned()),
            namespace: Some("team".to_owned()),
            uid: Some("uid-1".to_owned()),
            generation: Some(3),
            ..ObjectMeta::default()
        },
        spec: serde_json::from_value(spec.clone()).expect("spec of a test"),
        status: None,
    }
}

/// A Registry on PostgreSQL and S3, with `more` at the top of its spec.
pub(crate) fn production(more: &Value) -> Registry {
    let mut spec = json!({
        "storage": {"s3": {"bucket": "images", "credentialsRef": {"name": "bucket"}}},
        "database": {"postgres": {"host": "db", "name": "berth", "credentialsRef": {"name": "db"}}},
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    registry(&spec)
}

/// A cluster with the Secrets that [`production`] refers to, and nothing else.
pub(crate) fn observed() -> Observed {
    let secret = |keys: [&str; 2]| {
        keys.map(|key| (key.to_owned(), format!("value-of-{key}").into_bytes()))
            .into()
    };
    let secrets: Secrets = [
        ("db".to_owned(), secret(["username", "password"])),
        ("bucket".to_owned(), secret(["access-key-id", "secret-access-key"])),
        ("pull".to_owned(), std::collections::BTreeMap::default()),
    ]
    .into();
    Observed {
        secrets,
        ..Observed::default()
    }
}

pub(crate) fn defaults() -> Defaults {
    Defaults {
        repository: "berth/berth-registry".to_owned(),
        version: "0.1.0".to_owned(),
    }
}

/// `registry` validated against [`observed`].
pub(crate) fn valid(registry: &Registry) -> ValidRegistry {
    validate(registry, &observed(), &defaults()).expect("a valid Registry")
}
