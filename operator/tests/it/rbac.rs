//! The chart grants exactly what the code asks.

use std::collections::BTreeSet;

use berth_operator::rbac::GRANTS;
use serde_json::Value;

use crate::read;

/// One permission: API group, resource, verb.
type Permission = (String, String, String);

fn words(value: &Value) -> Vec<String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .map(|word| word.as_str().unwrap().to_owned())
        .collect()
}

fn permissions(rule: &Value) -> Vec<Permission> {
    let mut permissions = Vec::new();
    for group in words(&rule["apiGroups"]) {
        for resource in words(&rule["resources"]) {
            let of_verb = |verb| (group.clone(), resource.clone(), verb);
            permissions.extend(words(&rule["verbs"]).into_iter().map(of_verb));
        }
    }
    permissions
}

/// The rules of a role: what stands under its line `rules:`, which has no template in it.
fn rules(text: &str) -> Vec<Value> {
    let (_, rules) = text.split_once("\nrules:\n").expect("a line `rules:`");
    serde_yaml::from_str(rules).unwrap()
}

fn granted_by_the_chart() -> BTreeSet<Permission> {
    rules(&read("charts/berth/templates/clusterrole.yaml"))
        .iter()
        .flat_map(permissions)
        .collect()
}

fn asked_by_the_code() -> BTreeSet<Permission> {
    let permissions = GRANTS.iter().flat_map(|grant| {
        grant.verbs.iter().map(|verb| {
            (
                grant.group.to_owned(),
                grant.resource.to_owned(),
                verb.as_str().to_owned(),
            )
        })
    });
    permissions.collect()
}

#[test]
fn the_chart_grants_what_the_code_asks_and_no_more() {
    let (granted, asked) = (granted_by_the_chart(), asked_by_the_code());

    assert_eq!(
        asked.difference(&granted).collect::<Vec<_>>(),
        Vec::<&Permission>::new(),
        "asked but not granted"
    );
    assert_eq!(
        granted.difference(&asked).collect::<Vec<_>>(),
        Vec::<&Permission>::new(),
        "granted but not asked"
    );
}

#[test]
fn no_permission_is_wider_than_a_named_resource_and_a_named_verb() {
    let forbidden = ["*", "escalate", "bind", "impersonate", "pods/exec"];
    for (group, resource, verb) in granted_by_the_chart() {
        for word in [&group, &resource, &verb] {
            assert!(!forbidden.contains(&word.as_str()), "{group} {resource} {verb}");
        }
    }
}

#[test]
fn secrets_are_never_listed() {
    let secrets = granted_by_the_chart()
        .into_iter()
        .filter(|(_, resource, _)| resource == "secrets");
    let verbs: BTreeSet<String> = secrets.map(|(_, _, verb)| verb).collect();

    assert_eq!(verbs, ["create", "get"].map(str::to_owned).into());
}

#[test]
fn people_may_not_write_the_status_nor_read_secrets() {
    let text = read("charts/berth/templates/userroles.yaml");
    let roles = text.trim_end().trim_end_matches("{{- end }}").split("\n---\n");
    for role in roles {
        for (_, resource, verb) in rules(role).iter().flat_map(permissions) {
            let reads = ["get", "list", "watch"].contains(&verb.as_str());
            assert!(
                resource == "registries" || (resource == "registries/status" && reads),
                "{resource} {verb}"
            );
        }
    }
}
