//! One thing that was looked at: what was found, why, and what to do; pure.

use serde::Serialize;
use serde_json::{Value, json};

use crate::plugin::refusal::Refusal;
use crate::plugin::screen::{Line, Tone, wrapped};

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Level {
    /// As it should be.
    Good,
    /// Worth knowing, and nothing to be done.
    Note,
    /// It could not be looked at.
    Unknown,
    /// It may need somebody soon.
    Warning,
    /// It needs somebody.
    Problem,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub level: Level,
    /// What it is about: `cluster`, `operator`, `you`, or a Registry as `namespace/name`.
    pub about: String,
    /// What was found.
    pub what: String,
    /// Why it is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    /// Something that speaks for itself.
    pub fn new(level: Level, about: &str, what: impl Into<String>) -> Self {
        Self {
            level,
            about: about.to_owned(),
            what: what.into(),
            why: None,
            remedy: None,
        }
    }

    /// Something good.
    pub fn good(about: &str, what: impl Into<String>) -> Self {
        Self::new(Level::Good, about, what)
    }

    /// Something that needs somebody.
    pub fn problem(about: &str, what: impl Into<String>) -> Self {
        Self::new(Level::Problem, about, what)
    }

    /// Something that may need somebody.
    pub fn warning(about: &str, what: impl Into<String>) -> Self {
        Self::new(Level::Warning, about, what)
    }

    /// What could not be looked at. That a user may not look is no fault of the cluster.
    pub fn unseen(about: &str, what: &str, refusal: &Refusal) -> Self {
        let level = if refusal.is_forbidden() {
            Level::Unknown
        } else {
            Level::Problem
        };
        Self::new(level, about, format!("{what} could not be looked at")).why(refusal.to_string())
    }

    /// The same with its cause.
    #[must_use]
    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into()).filter(|why| !why.is_empty());
        self
    }

    /// The same with what to do.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    fn lines(&self, width: usize) -> Vec<Line> {
        let (tone, mark) = match self.level {
            Level::Good => (Tone::Good, "✔"),
            Level::Note => (Tone::Faint, "·"),
            Level::Unknown => (Tone::Warn, "?"),
            Level::Warning => (Tone::Warn, "!"),
            Level::Problem => (Tone::Bad, "✖"),
        };
        let mut lines = Vec::new();
        let room = width.saturating_sub(2);
        for (number, text) in wrapped(&self.what, room).into_iter().enumerate() {
            let begin = if number == 0 {
                format!("{mark} ")
            } else {
                "  ".to_owned()
            };
            lines.push(Line::of(tone, begin).and(Tone::Plain, text));
        }
        for (word, text) in [("why", &self.why), ("do ", &self.remedy)] {
            let texts = text.iter().flat_map(|text| wrapped(text, width.saturating_sub(8)));
            for (number, text) in texts.enumerate() {
                let begin = if number == 0 { word } else { "   " };
                lines.push(Line::of(Tone::Faint, format!("    {begin} ")).and(Tone::Plain, text));
            }
        }
        lines
    }
}

/// All findings, each below what it is about.
pub fn lines(findings: &[Finding], width: usize) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut about = "";
    for finding in findings {
        if finding.about != about {
            if !lines.is_empty() {
                lines.push(Line::default());
            }
            lines.push(Line::of(Tone::Strong, finding.about.as_str()));
            about = &finding.about;
        }
        lines.extend(finding.lines(width));
    }
    lines.push(Line::default());
    let count = |level: Level| findings.iter().filter(|finding| finding.level == level).count();
    let (problems, warnings) = (count(Level::Problem), count(Level::Warning));
    lines.push(match (problems, warnings) {
        (0, 0) => Line::of(Tone::Good, "nothing is wrong"),
        (0, _) => Line::of(Tone::Warn, format!("nothing is wrong; to look at: {warnings}")),
        _ => Line::of(Tone::Bad, format!("wrong: {problems}; to look at: {warnings}")),
    });
    lines
}

/// Whether nothing needs somebody.
pub fn is_well(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.level != Level::Problem)
}

/// The same for programs.
pub fn value(findings: &[Finding]) -> Value {
    json!({"ok": is_well(findings), "findings": findings})
}
