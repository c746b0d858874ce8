//! Whether an object in the cluster still is what the operator applied; pure.
//!
//! Two things must hold. The annotation [`APPLIED_HASH`] says that the last applied content is the wanted one: so a
//! field that is no longer wanted is noticed. And the API server's own record, `metadata.managedFields`, says that the
//! operator still owns each applied field: whoever changes or removes one takes it out of that record, so drift is
//! noticed without comparing values, which the API server may have written in another form (`1000m` as `1`).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use serde_json::{Map, Value};

use crate::labels::OPERATOR;

/// Annotation with the hash of what was applied last.
pub const APPLIED_HASH: &str = "berth.dev/applied-hash";

/// Whether the object with `live` metadata is as `desired` was applied.
pub fn is_as_applied(live: &ObjectMeta, desired: &Value) -> bool {
    let hash = |annotations: Option<&str>| annotations.map(str::to_owned);
    let wanted = hash(desired["metadata"]["annotations"][APPLIED_HASH].as_str());
    let applied = live
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(APPLIED_HASH))
        .cloned();
    wanted.is_some() && wanted == applied && owned_fields(live).is_some_and(|fields| owns_object(fields, desired))
}

/// Whether the operator's last apply set the field at `path`, such as `spec`, `replicas`.
pub fn sets(live: &ObjectMeta, path: &[&str]) -> bool {
    let fields = owned_fields(live);
    fields.is_some_and(|fields| {
        path.iter()
            .try_fold(fields, |fields, key| fields.get(format!("f:{key}")))
            .is_some()
    })
}

fn owned_fields(live: &ObjectMeta) -> Option<&Value> {
    let ours = |entry: &&ManagedFieldsEntry| {
        entry.manager.as_deref() == Some(OPERATOR)
            && entry.operation.as_deref() == Some("Apply")
            && entry.subresource.as_deref().unwrap_or_default().is_empty()
    };
    Some(&live.managed_fields.as_deref()?.iter().find(ours)?.fields_v1.as_ref()?.0)
}

/// The API server does not record the fields that say which object it is.
fn owns_object(fields: &Value, desired: &Value) -> bool {
    let identity = ["apiVersion", "kind"];
    each(desired, |key, value| match key {
        key if identity.contains(&key) => true,
        "metadata" => each(value, |key, value| {
            ["name", "namespace"].contains(&key) || owns_member(&fields["f:metadata"], key, value)
        }),
        key => owns_member(fields, key, value),
    })
}

fn each(object: &Value, mut holds: impl FnMut(&str, &Value) -> bool) -> bool {
    object
        .as_object()
        .is_none_or(|members| members.iter().all(|(key, value)| holds(key, value)))
}

fn owns_member(fields: &Value, key: &str, value: &Value) -> bool {
    fields.get(format!("f:{key}")).is_some_and(|owned| owns(owned, value))
}

/// An owned field without members is owned whole, as are lists and maps that Kubernetes treats as one value.
fn owns(fields: &Value, desired: &Value) -> bool {
    if fields.as_object().is_none_or(Map::is_empty) {
        return true;
    }
    match desired {
        Value::Object(members) => members.iter().all(|(key, value)| owns_member(fields, key, value)),
        Value::Array(items) => items.iter().all(|item| owns_item(fields, item)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

/// Items of a list are recorded by their keys, `k:{"name":"config"}`, or by their value, `v:"text"`.
fn owns_item(fields: &Value, item: &Value) -> bool {
    fields
        .as_object()
        .into_iter()
        .flatten()
        .any(|(name, owned)| match name.split_once(':') {
            Some(("k", keys)) => {
                serde_json::from_str(keys).is_ok_and(|keys: Value| has_keys(item, &keys)) && owns(owned, item)
            }
            Some(("v", value)) => serde_json::from_str(value).is_ok_and(|value: Value| value == *item),
            _ => false,
        })
}

fn has_keys(item: &Value, keys: &Value) -> bool {
    keys.as_object()
        .is_some_and(|keys| keys.iter().all(|(key, value)| item.get(key) == Some(value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::FieldsV1;
    use serde_json::json;

    fn desired() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "a", "namespace": "n", "annotations": {(APPLIED_HASH): "h1"}},
            "spec": {"selector": {"app": "a"}, "ports": [{"port": 80, "protocol": "TCP", "name": "http"}]},
        })
    }

    fn record() -> Value {
        json!({
            "f:metadata": {"f:annotations": {(format!("f:{APPLIED_HASH}")): {}}},
            "f:spec": {
                "f:selector": {},
                "f:ports": {r#"k:{"port":80,"protocol":"TCP"}"#: {".": {}, "f:name": {}, "f:port": {}, "f:protocol": {}}},
            },
        })
    }

    fn live(hash: &str, record: Value) -> ObjectMeta {
        ObjectMeta {
            annotations: Some([(APPLIED_HASH.to_owned(), hash.to_owned())].into()),
            managed_fields: Some(vec![ManagedFieldsEntry {
                manager: Some(OPERATOR.to_owned()),
                operation: Some("Apply".to_owned()),
                fields_v1: Some(FieldsV1(record)),
                ..ManagedFieldsEntry::default()
            }]),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn an_untouched_object_is_as_applied() {
        assert!(is_as_applied(&live("h1", record()), &desired()));
    }

    #[test]
    fn other_content_was_applied_when_the_hash_differs() {
        assert!(!is_as_applied(&live("h0", record()), &desired()));
    }

    #[test]
    fn a_field_that_somebody_took_over_is_drift() {
        let mut record = record();
        record["f:spec"]["f:ports"][r#"k:{"port":80,"protocol":"TCP"}"#]
            .as_object_mut()
            .unwrap()
            .remove("f:name");

        assert!(!is_as_applied(&live("h1", record), &desired()));
    }

    #[test]
    fn an_item_that_somebody_removed_is_drift() {
        let mut record = record();
        record["f:spec"]["f:ports"] = json!({r#"k:{"port":81,"protocol":"TCP"}"#: {}});

        assert!(!is_as_applied(&live("h1", record), &desired()));
    }

    #[test]
    fn an_object_of_another_field_manager_is_not_as_applied() {
        let mut live = live("h1", record());
        live.managed_fields.as_mut().unwrap()[0].manager = Some("kubectl".to_owned());

        assert!(!is_as_applied(&live, &desired()));
    }
}
