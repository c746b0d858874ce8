//! Lengths of time as people write them.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A length of time: whole numbers with units, such as `30s`, `10m`, `1h30m` or `7d`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(pub String);

impl Span {
    /// The span of that text.
    pub fn of(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// How long it is. What the schema refuses counts as no time.
    pub fn duration(&self) -> Duration {
        humantime::parse_duration(&self.0).unwrap_or_default()
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "minLength": 2, "maxLength": 16, "pattern": "^([0-9]{1,6}(ms|s|m|h|d))+$"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_add_up() {
        assert_eq!(Span::of("1h30m").duration(), Duration::from_mins(90));
        assert_eq!(Span::of("14d").duration(), Duration::from_hours(14 * 24));
        assert_eq!(Span::of("250ms").duration(), Duration::from_millis(250));
    }
}
