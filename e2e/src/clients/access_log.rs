//! The requests that the registry has answered, as its own log tells them.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::shell::Log;

/// What the registry under test writes; it must be told to write JSON.
#[derive(Debug)]
pub(crate) struct AccessLog(pub(crate) Log);

/// A request that it answered.
#[derive(Debug, Clone)]
pub(super) struct Answered {
    /// The endpoint's name.
    pub(super) endpoint: String,
    pub(super) method: String,
    /// Without the query.
    pub(super) path: String,
    pub(super) status: u64,
}

impl AccessLog {
    /// Every request so far, in order.
    pub(super) fn answered(&self) -> Result<Vec<Answered>> {
        let log = std::fs::read_to_string(self.0.path())?;
        // The last line may be half written.
        let whole = &log[..log.rfind('\n').map_or(0, |end| end + 1)];
        let mut answered = Vec::new();
        for line in whole.lines() {
            let line: Value = serde_json::from_str(line).with_context(|| format!("a line of the log: {line}"))?;
            answered.extend(Answered::of(&line));
        }
        Ok(answered)
    }
}

impl Answered {
    /// None for a line about something else.
    fn of(line: &Value) -> Option<Self> {
        let text = |field: &str| line[field].as_str().map(str::to_owned);
        Some(Self {
            endpoint: text("message")?,
            method: text("method")?,
            path: text("path")?,
            status: line["status"].as_u64()?,
        })
    }
}
