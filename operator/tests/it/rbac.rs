//! The chart grants exactly what the code asks.

use std::collections::BTreeSet;

use berth_operator::plugin::doctor::cluster::NEEDS;
use berth_operator::plugin::refusal::{self, Asked};
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

    assert_eq!(verbs, ["create", "get", "watch"].map(str::to_owned).into());
}

/// Each role for people, by name.
fn user_roles() -> Vec<(String, BTreeSet<Permission>)> {
    let text = read("charts/berth/templates/userroles.yaml");
    let roles = text.trim_end().trim_end_matches("{{- end }}").split("\n---\n");
    let name = |role: &str| {
        let line = role.lines().find(|line| line.starts_with("  name: ")).unwrap();
        line.trim_start_matches("  name: ").to_owned()
    };
    roles
        .map(|role| (name(role), rules(role).iter().flat_map(permissions).collect()))
        .collect()
}

#[test]
fn people_may_not_write_what_the_operator_says_nor_read_secrets() {
    for (role, granted) in user_roles() {
        for (group, resource, verb) in granted {
            let reads = ["get", "list", "watch"].contains(&verb.as_str());
            let removes = ["delete", "deletecollection"].contains(&verb.as_str());
            let allowed = match (group.as_str(), resource.as_str()) {
                ("berth.dev", "registries") => true,
                ("berth.dev", "registryrollouts") => reads || removes,
                ("berth.dev", "registryapprovals") => reads || removes || role == "registry-approver",
                ("coordination.k8s.io", "leases") => reads || role == "registry-operator-admin",
                ("berth.dev", "registries/status" | "registryrollouts/status")
                | ("", "pods" | "pods/log" | "services" | "persistentvolumeclaims")
                | ("batch", "jobs")
                | ("discovery.k8s.io", "endpointslices") => reads,
                _ => false,
            };
            assert!(allowed, "{role}: {group} {resource} {verb}");
        }
    }
}

#[test]
fn each_command_of_the_plugin_has_its_rights_in_the_role_that_it_names() {
    for (commands, needs) in NEEDS {
        let named = |verb: &'static str, group: &str, resource: &str| {
            refusal::role(&Asked {
                verb,
                resource: resource.to_owned(),
                group: group.to_owned(),
                namespace: String::new(),
            })
        };
        for (verb, group, resource) in needs {
            let role = named(verb, group, resource);
            let roles = user_roles();
            let (_, granted) = roles.iter().find(|(name, _)| name == role).unwrap();
            let needed = ((*group).to_owned(), (*resource).to_owned(), (*verb).to_owned());
            assert!(granted.contains(&needed), "{commands}: {role} lacks {needed:?}");
        }
    }
}

#[test]
fn only_an_approver_may_approve_and_no_role_of_the_cluster_contains_that_one() {
    let is_approver = |granted: &BTreeSet<Permission>| {
        granted
            .iter()
            .any(|(_, resource, verb)| resource == "registryapprovals" && verb == "create")
    };
    let found: Vec<_> = user_roles()
        .into_iter()
        .filter(|(_, granted)| is_approver(granted))
        .collect();

    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, "registry-approver");
    let text = read("charts/berth/templates/userroles.yaml");
    let role = text
        .split("\n---\n")
        .find(|role| role.contains("name: registry-approver"))
        .unwrap();
    assert!(!role.contains("aggregate-to"));
}

#[test]
fn the_election_needs_no_more_than_the_lease() {
    let text = read("charts/berth/templates/leader.yaml");
    let role = text.trim_end().trim_end_matches("{{- end }}");
    let granted: BTreeSet<Permission> = rules(role).iter().flat_map(permissions).collect();
    let lease = |verb: &str| ("coordination.k8s.io".to_owned(), "leases".to_owned(), verb.to_owned());

    assert_eq!(granted, ["get", "create", "update"].map(lease).into());
}

#[test]
fn an_upgrade_may_change_the_definitions_and_nothing_else() {
    let text = read("charts/berth/templates/definitions.yaml");
    let role = text.trim_end().trim_end_matches("{{- end }}");
    let rules = rules(role);
    let named: BTreeSet<String> = rules.iter().flat_map(|rule| words(&rule["resourceNames"])).collect();
    let defined: BTreeSet<String> = berth_operator::api::definitions()
        .into_iter()
        .map(|definition| definition.metadata.name.unwrap())
        .collect();

    assert_eq!(named, defined);
    for (group, resource, verb) in rules.iter().flat_map(permissions) {
        assert_eq!(
            (group.as_str(), resource.as_str()),
            ("apiextensions.k8s.io", "customresourcedefinitions")
        );
        assert!(["create", "get", "patch"].contains(&verb.as_str()), "{verb}");
    }
}
