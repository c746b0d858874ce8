//! The last words of a Job's container, as one JSON object: Kubernetes keeps them in the pod's status.

use super::say;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Where Kubernetes reads them.
const KUBERNETES: &str = "/dev/termination-log";
/// Kubernetes keeps 4096 bytes.
const MOST_BYTES: usize = 4000;
/// What is kept of a long list, and of a long text in characters.
const MOST_ENTRIES: usize = 40;
const MOST_CHARACTERS: usize = 1200;

/// Writes the result to `path`, or where Kubernetes reads it when it does. A run is not undone because nobody can be told.
pub(super) fn tell(path: Option<PathBuf>, result: &Value) {
    let Some(path) = path.or_else(kubernetes) else {
        return;
    };
    if let Err(failed) = std::fs::write(&path, bounded(result)) {
        say(
            &mut std::io::stderr(),
            &format!("warning: write {}: {failed}", path.display()),
        );
    }
}

fn kubernetes() -> Option<PathBuf> {
    Some(PathBuf::from(KUBERNETES)).filter(|path| Path::is_file(path))
}

/// JSON that is cut off is none: what is long is shortened, a list to its newest entries.
fn bounded(result: &Value) -> String {
    let whole = result.to_string();
    if whole.len() <= MOST_BYTES {
        return whole;
    }
    let mut shortened = result.clone();
    shorten(&mut shortened);
    shortened.to_string()
}

fn shorten(value: &mut Value) {
    match value {
        Value::Array(list) => {
            list.drain(..list.len().saturating_sub(MOST_ENTRIES));
            list.iter_mut().for_each(shorten);
        }
        Value::Object(members) => members.values_mut().for_each(shorten),
        Value::String(text) => *text = text.chars().take(MOST_CHARACTERS).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_short_is_told_whole() {
        let result = json!({"applied": ["1", "2"], "error": "no"});

        assert_eq!(bounded(&result), result.to_string());
    }

    #[test]
    fn what_is_long_stays_json_and_keeps_the_newest() {
        let applied: Vec<String> = (0..1000).map(|n| format!("{:014}", n + 1)).collect();
        let result = json!({"applied": applied, "error": "x".repeat(9000)});

        let told = bounded(&result);

        assert!(told.len() <= MOST_BYTES, "{}", told.len());
        let read: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(read["applied"].as_array().unwrap().last().unwrap(), "00000000001000");
    }
}
