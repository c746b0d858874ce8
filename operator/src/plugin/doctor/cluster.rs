//! What Berth needs of a cluster: definitions, an operator at work, policies, rights, and what others may bring; pure.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde_json::Value;

use super::finding::{Finding, Level};
use crate::locks::lease;
use crate::plugin::refusal::{Asked, role};
use crate::plugin::view::age;

/// How many missing fields are named.
const NAMED: usize = 4;

/// A definition in the cluster compared with the one that this program is built with.
pub fn definition(name: &str, live: &Value, wanted: &Value) -> Finding {
    let (about, schema) = ("cluster", "/spec/versions/0/schema/openAPIV3Schema");
    let missing = lacking(live.pointer(schema), wanted.pointer(schema), "");
    if !missing.is_empty() {
        let more = if missing.len() > NAMED { ", …" } else { "" };
        let named = missing[..missing.len().min(NAMED)].join(", ");
        return Finding::problem(about, format!("the definition {name} is older than this program"))
            .why(format!("it does not know {named}{more}: what is set there is lost"))
            .remedy("upgrade Berth's chart, or run `berth-operator crds --apply`");
    }
    let newer = lacking(wanted.pointer(schema), live.pointer(schema), "");
    if newer.is_empty() {
        return Finding::good(about, format!("the definition {name} is of this version"));
    }
    Finding::new(
        Level::Note,
        about,
        format!("the definition {name} is newer than this program"),
    )
    .remedy(format!(
        "this is kubectl-berth {}: install a newer one",
        env!("CARGO_PKG_VERSION")
    ))
}

/// The fields that `wanted` has and `live` does not, by path. Below one that is missing nothing more is named.
fn lacking(live: Option<&Value>, wanted: Option<&Value>, path: &str) -> Vec<String> {
    let fields = |schema: Option<&Value>| {
        let items = schema.and_then(|schema| schema.get("items")).or(schema);
        let known = items.and_then(|schema| schema.get("properties"));
        known.and_then(Value::as_object).cloned().unwrap_or_default()
    };
    let (live, wanted) = (fields(live), fields(wanted));
    let mut missing = Vec::new();
    for (name, schema) in &wanted {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        match live.get(name) {
            None => missing.push(path),
            Some(known) => missing.extend(lacking(Some(known), Some(schema), &path)),
        }
    }
    missing
}

/// A definition that is not there.
pub fn no_definition(name: &str) -> Finding {
    Finding::problem("cluster", format!("the definition {name} is not there"))
        .remedy("install Berth's chart, or run `berth-operator crds --apply`")
}

/// Whether an operator is there.
pub fn operators(found: &[Deployment]) -> Vec<Finding> {
    let about = "operator";
    if found.is_empty() {
        let remedy = "install Berth's chart; where you may not see it, name its place with --operator-namespace";
        return vec![Finding::problem(about, "no Deployment of Berth's operator was found").remedy(remedy)];
    }
    found
        .iter()
        .map(|deployment| {
            let place = format!("{}/{}", deployment.namespace().unwrap_or_default(), deployment.name_any());
            let status = deployment.status.clone().unwrap_or_default();
            let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
            let available = status.available_replicas.unwrap_or(0);
            if available > 0 {
                return Finding::good(about, format!("Deployment {place}: {available} of {wanted} pods run"));
            }
            let conditions = status.conditions.unwrap_or_default();
            let why = conditions.into_iter().find(|condition| condition.status == "False");
            Finding::problem(about, format!("Deployment {place}: no pod of the operator runs"))
                .why(why.and_then(|condition| condition.message).unwrap_or_default())
                .remedy(format!(
                    "`kubectl -n {} describe deployment {}`; Registries serve without it, but nothing is changed or healed",
                    deployment.namespace().unwrap_or_default(),
                    deployment.name_any()
                ))
        })
        .collect()
}

/// Whether one operator works: its Lease is held and renewed.
pub fn leader(namespace: &str, found: Option<&Lease>, elects: bool, now: Timestamp) -> Finding {
    let about = "operator";
    let place = format!("Lease {namespace}/{}", crate::leader::LEASE);
    let Some(hold) = found.and_then(lease::hold) else {
        if !elects {
            return Finding::new(Level::Note, about, "one operator runs without an election");
        }
        return Finding::problem(about, format!("{place}: no operator leads"))
            .why("an operator takes it within seconds of its start")
            .remedy(format!(
                "look at what it prints: `kubectl -n {namespace} logs deployment/berth-operator`"
            ));
    };
    if hold.is_expired(now) {
        return Finding::problem(about, format!("{place}: {} does not renew it", hold.holder))
            .why(format!("it did so last {} ago", age(hold.renewed, now)))
            .remedy(format!(
                "does it reach the API server? `kubectl -n {namespace} logs deployment/berth-operator`"
            ));
    }
    Finding::good(
        about,
        format!("{place}: {} leads for {}", hold.holder, age(hold.since, now)),
    )
}

/// Whether a policy of admission is there.
pub fn policy(name: &str, found: bool) -> Finding {
    if found {
        return Finding::good("cluster", format!("the policy of admission {name} is there"));
    }
    Finding::warning("cluster", format!("the policy of admission {name} is not there"))
        .why("nobody vouches for the names of those who ask and approve, and `promote` needs no right of its own")
        .remedy("admissionPolicies.create=true of the chart")
}

/// Whether an API that others bring is there.
pub fn optional(group_version: &str, whose: &str, is_there: bool) -> Finding {
    let is = if is_there { "is there" } else { "is not there" };
    Finding::new(Level::Note, "cluster", format!("{whose} ({group_version}) {is}"))
}

/// A right: verb, group, resource.
pub type Right = (&'static str, &'static str, &'static str);

/// What the caller can do with the commands, and which rights each needs.
pub const NEEDS: [(&str, &[Right]); 7] = [
    (
        "status, rollout watch and history",
        &[
            ("list", "berth.dev", "registries"),
            ("get", "berth.dev", "registries"),
            ("list", "berth.dev", "registryrollouts"),
        ],
    ),
    (
        "logs",
        &[("list", "", "pods"), ("get", "", "pods/log"), ("list", "batch", "jobs")],
    ),
    (
        "rollout pause, resume, abort and retry",
        &[("patch", "berth.dev", "registries")],
    ),
    (
        "rollout promote and skip-step",
        &[
            ("override", "berth.dev", "registries"),
            ("patch", "berth.dev", "registries"),
        ],
    ),
    (
        "rollout approve and reject",
        &[
            ("create", "berth.dev", "registryapprovals"),
            ("get", "berth.dev", "registries"),
        ],
    ),
    ("lock status", &[("list", "coordination.k8s.io", "leases")]),
    (
        "lock hold and release",
        &[
            ("create", "coordination.k8s.io", "leases"),
            ("update", "coordination.k8s.io", "leases"),
        ],
    ),
];

/// Which of `needs` is missing for what the commands do, `missing` being the first one.
pub fn right(commands: &str, missing: Option<&Right>) -> Finding {
    let Some((verb, group, resource)) = missing else {
        return Finding::good("you", format!("you may use {commands}"));
    };
    let asked = Asked {
        verb,
        resource: (*resource).to_owned(),
        group: (*group).to_owned(),
        namespace: String::new(),
    };
    let what = format!("you may not use {commands}: {verb} {resource}");
    Finding::new(Level::Note, "you", what).remedy(format!("the role {} has that right", role(&asked)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema(properties: &Value) -> Value {
        json!({"spec": {"versions": [{"schema": {"openAPIV3Schema": {"properties": properties}}}]}})
    }

    #[test]
    fn an_older_definition_is_told_with_the_fields_that_it_loses() {
        let wanted = schema(&json!({"spec": {"properties": {
            "a": {}, "list": {"items": {"properties": {"b": {}}}}, "c": {"properties": {"d": {}}},
        }}}));
        let live = schema(&json!({"spec": {"properties": {"a": {}, "list": {"items": {"properties": {}}}}}}));

        let found = definition("registries.berth.dev", &live, &wanted);
        assert_eq!(found.level, Level::Problem);
        assert!(found.why.unwrap().contains("spec.c, spec.list.b"));
        assert_eq!(definition("r", &wanted, &live).level, Level::Note);
        assert_eq!(definition("r", &live, &live).level, Level::Good);
    }

    #[test]
    fn an_operator_that_does_not_renew_its_lease_is_a_problem() {
        let now: Timestamp = "2026-01-01T00:10:00Z".parse().unwrap();
        let lease = |renewed: &str| -> Lease {
            serde_json::from_value(json!({"spec": {
                "holderIdentity": "berth-operator-1", "leaseDurationSeconds": 15, "renewTime": renewed,
            }}))
            .unwrap()
        };

        let level = |renewed: &str| leader("berth", Some(&lease(renewed)), true, now).level;
        assert_eq!(level("2026-01-01T00:09:58.000000Z"), Level::Good);
        assert_eq!(level("2026-01-01T00:09:00.000000Z"), Level::Problem);
        assert_eq!(leader("berth", None, true, now).level, Level::Problem);
        assert_eq!(leader("berth", None, false, now).level, Level::Note);
    }

    #[test]
    fn every_right_that_a_command_needs_is_in_a_role_that_is_named() {
        let told = right("logs", Some(&("list", "", "pods"))).remedy.unwrap();

        assert!(told.contains("registry-view"), "{told}");
        assert_eq!(right("logs", None).level, Level::Good);
    }
}
