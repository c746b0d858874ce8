//! Every value of the chart is explained, checked by the schema and listed in the README.

use serde_json::Value;

use crate::read;

/// The values that are not mappings of further values, by path.
fn leaves(value: &Value, path: &str) -> Vec<String> {
    let wholes = ["resources", "podLabels"];
    match value.as_object() {
        Some(members) if !members.is_empty() && !wholes.contains(&path) => {
            let join = |key: &str| {
                if path.is_empty() {
                    key.to_owned()
                } else {
                    format!("{path}.{key}")
                }
            };
            members
                .iter()
                .flat_map(|(key, value)| leaves(value, &join(key)))
                .collect()
        }
        _ => vec![path.to_owned()],
    }
}

fn values() -> Vec<String> {
    leaves(&serde_yaml::from_str(&read("charts/berth/values.yaml")).unwrap(), "")
}

#[test]
fn every_value_has_a_comment_above_it() {
    let text = read("charts/berth/values.yaml");
    let lines: Vec<&str> = text.lines().collect();
    let bare: Vec<_> = lines
        .windows(2)
        .filter(|pair| pair[1].contains(':') && !pair[1].trim_start().starts_with('#'))
        .filter(|pair| !pair[0].trim_start().starts_with('#'))
        .map(|pair| pair[1].trim())
        .collect();

    // What stands inside a value that is passed on as it is.
    assert_eq!(
        bare,
        ["requests:", "cpu: 10m", "memory: 32Mi", "limits:", "memory: 256Mi"]
    );
}

#[test]
fn every_value_is_in_the_schema() {
    let schema: Value = serde_json::from_str(&read("charts/berth/values.schema.json")).unwrap();
    for path in values() {
        let property = path.split('.').fold(&schema, |schema, key| &schema["properties"][key]);

        assert!(property.is_object(), "{path} is not in values.schema.json");
    }
}

#[test]
fn every_value_is_in_the_readme() {
    let readme = read("charts/berth/README.md");
    for path in values() {
        assert!(readme.contains(&format!("| `{path}` |")), "{path} is not in README.md");
    }
}

#[test]
fn the_chart_has_the_version_of_the_operator() {
    let chart: Value = serde_yaml::from_str(&read("charts/berth/Chart.yaml")).unwrap();

    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
}
