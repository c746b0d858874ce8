//! What was seen of one roll-out.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use serde_json::Value;

/// Kubernetes keeps whole seconds; and a pod answers a moment longer than the operator says so.
const SLACK: Duration = Duration::from_secs(3);
/// Phases in which nothing more happens by itself.
const ENDS: [&str; 6] = ["Completed", "RolledBack", "Failed", "Superseded", "Held", "Paused"];

/// One roll-out, as its `RegistryRollout` tells it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) id: String,
    /// The phases that it went through, and when each began.
    pub(crate) phases: Vec<(String, SystemTime)>,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) record: Value,
}

/// True when nothing more happens by itself.
pub(crate) fn is_over(phase: &str) -> bool {
    ENDS.contains(&phase)
}

impl Seen {
    pub(crate) fn read(record: &Value) -> Result<Self> {
        let status = &record["status"];
        let timeline = status["timeline"].as_array().context("a roll-out has a timeline")?;
        let phases = timeline.iter().map(|entry| {
            let phase = entry["phase"].as_str().context("an entry has a phase")?;
            Ok((phase.to_owned(), time(entry["at"].as_str().unwrap_or_default())?))
        });
        Ok(Self {
            id: text(&record["metadata"]["name"]),
            phases: phases.collect::<Result<_>>()?,
            reason: text(&status["reason"]),
            message: text(&status["message"]),
            record: record.clone(),
        })
    }

    /// Where it ended.
    pub(crate) fn end(&self) -> &str {
        self.phases.last().map_or("", |(phase, _)| phase)
    }

    /// The phase in which it was stopped: the last one in which something went forward.
    pub(crate) fn stopped_in(&self) -> &str {
        let stops = |phase: &str| is_over(phase) || phase == "RollingBack";
        let forward = self.phases.iter().take_while(|(phase, _)| !stops(phase));
        forward.last().map_or("", |(phase, _)| phase)
    }

    /// While pods of the new version may have served.
    pub(crate) fn with_canary(&self) -> Option<(SystemTime, SystemTime)> {
        let (_, from) = self.phases.iter().find(|(phase, _)| phase == "CanaryDeploying")?;
        let to = self.phases.last().map_or(*from, |(_, at)| *at);
        Some((*from - SLACK, to + SLACK))
    }

    pub(crate) fn seconds(&self) -> u64 {
        let began = self.phases.first().map(|(_, at)| *at);
        let ended = self.phases.last().map(|(_, at)| *at);
        let took = began
            .zip(ended)
            .and_then(|(began, ended)| ended.duration_since(began).ok());
        took.unwrap_or_default().as_secs()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// `2026-11-23T01:20:13Z`, with or without a fraction, as the API server writes it.
fn time(written: &str) -> Result<SystemTime> {
    let field = |from: usize, to: usize| -> Result<i64> {
        let digits = written.get(from..to).with_context(|| format!("{written} is no time"))?;
        Ok(digits.parse()?)
    };
    let (year, month, day) = (field(0, 4)?, field(5, 7)?, field(8, 10)?);
    let (hour, minute, second) = (field(11, 13)?, field(14, 16)?, field(17, 19)?);
    // Days of the civil calendar, with years that begin in March: the day of a leap year is their last.
    let years = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = 365 * years + years / 4 - years / 100 + years / 400 + of_year - 719_468;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds)?))
}
