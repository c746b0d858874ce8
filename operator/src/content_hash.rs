//! Hashes of content: the same content gives the same hash, on every build and in every release.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// Ten hexadecimal digits that stand for `parts`, for names. The parts' borders count.
pub fn short(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    hex::encode(&digest.finalize()[..5])
}

/// Sixteen hexadecimal digits that stand for `value`, whatever the order of its keys.
pub fn of_value(value: &Value) -> String {
    hex::encode(&Sha256::digest(sorted(value).to_string())[..8])
}

/// `value` with the keys of every object in order.
pub fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<_> = map.iter().collect();
            keys.sort_by_key(|(key, _)| *key);
            Value::Object(
                keys.into_iter()
                    .map(|(key, value)| (key.clone(), sorted(value)))
                    .collect(),
            )
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_border_between_parts_counts() {
        assert_ne!(short(&["ab", "c"]), short(&["a", "bc"]));
    }

    #[test]
    fn the_hash_of_a_value_is_the_same_in_every_release() {
        let value = serde_json::json!({"b": [1, {"d": null, "c": "x"}], "a": true});

        assert_eq!(
            of_value(&value),
            hex::encode(&Sha256::digest(r#"{"a":true,"b":[1,{"c":"x","d":null}]}"#)[..8])
        );
    }
}
