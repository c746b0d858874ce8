//! Reads JSON lines.

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// One repetition of a workload on a target.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Measure {
    /// The target's name.
    pub(super) target: String,
    /// The workload's name.
    pub(super) workload: String,
    /// Connections.
    pub(super) connections: u64,
    /// Which file, which run in it and which repetition: what has the same one was measured side by side.
    pub(super) round: (usize, usize, u64),
    /// Operations in a second.
    pub(super) ops_per_second: f64,
    /// Payload in a second, 10^6 bytes.
    pub(super) megabytes_per_second: f64,
    /// 99 of 100 operations took no longer, milliseconds.
    pub(super) p99_ms: f64,
    /// Processor time of the server for one operation, when it was measured.
    pub(super) cpu_us: Option<f64>,
    /// Operations that failed.
    pub(super) errors: u64,
}

/// The time of a page of tags in a repository of some size.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Page {
    /// The target's name.
    pub(super) target: String,
    /// Tags in the repository.
    pub(super) tags: f64,
    /// The median, milliseconds.
    pub(super) p50_ms: f64,
    /// 99 of 100 took no longer.
    pub(super) p99_ms: f64,
}

/// Resident memory at a moment.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    /// The target's name.
    pub(super) target: String,
    /// Seconds since the watch began.
    pub(super) seconds: f64,
    /// Resident memory, MiB.
    pub(super) rss_mib: f64,
    /// What the server was doing: `push`, `pull`.
    pub(super) phase: String,
}

/// Everything that was measured.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Of the benchmark driver.
    pub(super) measures: Vec<Measure>,
    /// Of `tags`.
    pub(super) pages: Vec<Page>,
    /// Of `watch`.
    pub(super) samples: Vec<Sample>,
}

impl Lines {
    /// Adds the lines of a file.
    pub(super) fn read(&mut self, file: usize, text: &str) -> Result<()> {
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            self.add(file, line).with_context(|| format!("line {}", index + 1))?;
        }
        Ok(())
    }

    fn add(&mut self, file: usize, line: &str) -> Result<()> {
        let line: Value = serde_json::from_str(line).context("no JSON")?;
        if line["workload"].is_string() {
            let mut measure = measure(&line)?;
            measure.round = (file, self.runs_before(file, &measure), measure.round.2);
            self.measures.push(measure);
        } else if line["tags"].is_number() {
            self.pages.push(Page {
                target: text(&line, "target")?,
                tags: number(&line, "tags")?,
                p50_ms: number(&line, "p50_ms")?,
                p99_ms: number(&line, "p99_ms")?,
            });
        } else if line["rss_mib"].is_number() {
            self.samples.push(Sample {
                target: line["target"].as_str().unwrap_or("berth").to_owned(),
                seconds: number(&line, "t")?,
                rss_mib: number(&line, "rss_mib")?,
                phase: line["phase"].as_str().unwrap_or_default().to_owned(),
            });
        } else {
            bail!("neither `workload` nor `tags` nor `rss_mib` is in it");
        }
        Ok(())
    }

    /// A driver that appends to a file counts its repetitions from 1 again.
    fn runs_before(&self, file: usize, new: &Measure) -> usize {
        let same = |old: &&Measure| {
            (old.round.0, old.round.2, old.connections) == (file, new.round.2, new.connections)
                && old.target == new.target
                && old.workload == new.workload
        };
        self.measures.iter().filter(same).count()
    }
}

fn measure(line: &Value) -> Result<Measure> {
    let whole = |name| {
        line[name]
            .as_u64()
            .with_context(|| format!("`{name}` is no whole number"))
    };
    Ok(Measure {
        target: text(line, "target")?,
        workload: text(line, "workload")?,
        connections: whole("conc")?,
        round: (0, 0, whole("rep")?),
        ops_per_second: number(line, "ops_s")?,
        megabytes_per_second: number(line, "mb_s")?,
        p99_ms: number(line, "p99_ms")?,
        cpu_us: line["cpu_us_op"].as_f64(),
        errors: whole("errors")?,
    })
}

fn number(line: &Value, name: &str) -> Result<f64> {
    line[name].as_f64().with_context(|| format!("`{name}` is no number"))
}

fn text(line: &Value, name: &str) -> Result<String> {
    let text = line[name].as_str().with_context(|| format!("`{name}` is no text"))?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEASURE: &str =
        r#"{"target":"berth","workload":"ping","conc":8,"rep":1,"ops_s":2.5,"mb_s":0.0,"p99_ms":4,"errors":0}"#;

    #[test]
    fn lines_are_told_apart_by_their_fields() {
        let mut lines = Lines::default();
        let tags = r#"{"target":"berth","tags":1000,"p50_ms":0.2,"p99_ms":0.9}"#;
        let sample = r#"{"t":0.5,"rss_mib":20.25,"phase":"push"}"#;

        lines.read(0, &[MEASURE, "", tags, sample].join("\n")).unwrap();

        assert_eq!(
            (lines.measures.len(), lines.pages.len(), lines.samples.len()),
            (1, 1, 1)
        );
        assert_eq!(
            (lines.measures[0].ops_per_second, lines.measures[0].cpu_us),
            (2.5, None)
        );
    }

    #[test]
    fn a_run_that_was_appended_is_another_round() {
        let mut lines = Lines::default();

        lines.read(0, &[MEASURE, MEASURE].join("\n")).unwrap();

        assert_ne!(lines.measures[0].round, lines.measures[1].round);
    }

    #[test]
    fn a_line_that_says_nothing_is_named_by_its_number() {
        let error = Lines::default().read(0, "\n{\"x\":1}").unwrap_err();

        assert!(format!("{error:#}").starts_with("line 2: neither"), "{error:#}");
    }
}
