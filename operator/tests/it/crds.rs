//! The definitions that are checked in and shipped are the ones that the code makes.

use berth_operator::api;
use serde_json::Value;

use crate::root;

fn assert_current(folder: &str) {
    for definition in api::definitions() {
        let path = root().join(folder).join(api::file_name(&definition));
        let file = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));

        assert!(
            file == api::definition_yaml(&definition).unwrap(),
            "{} is stale: run `cargo run -p berth-operator -- crds --output-dir {folder}`",
            path.display()
        );
    }
    let files = std::fs::read_dir(root().join(folder)).unwrap().count();
    assert_eq!(
        files,
        api::definitions().len(),
        "{folder} holds one file per kind and nothing else"
    );
}

#[test]
fn the_checked_in_definitions_are_current() {
    assert_current("crds");
}

#[test]
fn the_chart_ships_the_same_definitions() {
    assert_current("charts/berth/crds");
}

fn each_field(schema: &Value, path: &str, visit: &mut dyn FnMut(&str, &Value)) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        visit(&path, field);
        each_field(field, &path, visit);
    }
    if schema["items"].is_object() {
        each_field(&schema["items"], &format!("{path}[]"), visit);
    }
}

fn each_field_of_each_kind(visit: &mut dyn FnMut(&str, &Value)) {
    for definition in api::definitions() {
        let definition = serde_json::to_value(definition).unwrap();
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let kind = definition["spec"]["names"]["kind"].as_str().unwrap().to_owned();
        each_field(schema, &kind, visit);
    }
}

#[test]
fn every_field_has_a_description() {
    let mut bare = Vec::new();
    each_field_of_each_kind(&mut |path, field| {
        if field["description"].as_str().is_none_or(str::is_empty) {
            bare.push(path.to_owned());
        }
    });

    assert!(bare.is_empty(), "fields without a description: {bare:?}");
}

#[test]
fn descriptions_are_for_users_of_a_cluster() {
    let words = [
        "Option<", "Vec<", "String", "struct", "enum ", "serde", "None", "`Some", "derive", "::",
    ];
    let mut strange = Vec::new();
    each_field_of_each_kind(&mut |path, field| {
        let text = field["description"].as_str().unwrap_or_default();
        strange.extend(
            words
                .iter()
                .filter(|word| text.contains(**word))
                .map(|word| format!("{path}: {word}")),
        );
    });

    assert!(strange.is_empty(), "words of the source in descriptions: {strange:?}");
}

#[test]
fn every_text_and_every_list_of_the_spec_has_a_bound() {
    let mut unbounded = Vec::new();
    each_field_of_each_kind(&mut |path, field| {
        let in_spec = path.contains(".spec.");
        let bounded = match field["type"].as_str() {
            Some("string") => field["maxLength"].is_u64() || field["enum"].is_array(),
            Some("array") => field["maxItems"].is_u64(),
            Some("object") if field["additionalProperties"].is_object() => field["maxProperties"].is_u64(),
            Some("integer") => field["maximum"].is_number() && field["minimum"].is_number(),
            _ => true,
        };
        if in_spec && !bounded {
            unbounded.push(path.to_owned());
        }
    });

    assert!(
        unbounded.is_empty(),
        "the API server estimates a rule's cost by the bounds: {unbounded:?}"
    );
}
