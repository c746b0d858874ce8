//! Reads what a pod shows at `/metrics`; pure.

use super::memory::{Counters, Place};
use crate::analysis::objectives::BOUNDS;
use crate::api::rollout::RouteClass;

/// What a pod shows, as far as it is judged by.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// Namespace and name of its Registry.
    pub registry: String,
    /// Its stage.
    pub stage: String,
    /// Its version.
    pub version: String,
    /// Its counters.
    pub counters: Counters,
}

/// Why a pod's text cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// It is cut off, or something else.
    #[error("it does not end with `# EOF`: it is cut off, or no metrics")]
    NoEnd,
    /// A line cannot be read.
    #[error("the line `{0}` cannot be read")]
    Line(String),
    /// A number is no count.
    #[error("the line `{0}` has no count")]
    NotACount(String),
    /// A series that every version shows is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
}

/// Reads a whole text.
///
/// # Errors
/// When it is cut off, a line of ours cannot be read, or a series is missing.
pub fn read(text: &str) -> Result<Shown, TextError> {
    if !text.ends_with("# EOF\n") {
        return Err(TextError::NoEnd);
    }
    let mut reading = Reading::default();
    for line in text.lines().filter(|line| line.starts_with("berth_registry_")) {
        reading.line(line)?;
    }
    reading.end()
}

#[derive(Default)]
struct Reading {
    info: Option<(String, String, String)>,
    counters: Counters,
    classes: Vec<RouteClass>,
    infinite: Vec<RouteClass>,
    bounds: usize,
    has_panics: bool,
}

impl Reading {
    fn line(&mut self, line: &str) -> Result<(), TextError> {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        match name.strip_prefix("berth_registry_") {
            Some("info") => self.info(line),
            Some("http_panics_total") => {
                self.has_panics = true;
                self.counters.add(Place::Panics, value(line)?);
                Ok(())
            }
            Some("http_class_requests_total") => self.requests(line),
            Some("http_class_duration_seconds_bucket") => self.bucket(line),
            _ => Ok(()),
        }
    }

    fn info(&mut self, line: &str) -> Result<(), TextError> {
        let labels = labels(line)?;
        let label = |name| find(&labels, name).unwrap_or_default().to_owned();
        self.info = Some((label("registry"), label("stage"), label("version")));
        Ok(())
    }

    fn requests(&mut self, line: &str) -> Result<(), TextError> {
        let labels = labels(line)?;
        let class = class(&labels).ok_or_else(|| unreadable(line))?;
        let code = find(&labels, "code").ok_or_else(|| unreadable(line))?;
        let count = value(line)?;
        self.classes.push(class);
        self.counters.add(Place::Total(class), count);
        let place = if code.starts_with('5') {
            Place::Bad(class)
        } else {
            Place::Good(class)
        };
        self.counters.add(place, count);
        match code {
            "401" => self.counters.add(Place::Unauthorized(class), count),
            "403" => self.counters.add(Place::Forbidden(class), count),
            "404" => self.counters.add(Place::Missing(class), count),
            _ => {}
        }
        Ok(())
    }

    fn bucket(&mut self, line: &str) -> Result<(), TextError> {
        let labels = labels(line)?;
        let class = class(&labels).ok_or_else(|| unreadable(line))?;
        let code = find(&labels, "code").ok_or_else(|| unreadable(line))?;
        let le = find(&labels, "le").ok_or_else(|| unreadable(line))?;
        if code.starts_with('5') {
            return Ok(());
        }
        let count = value(line)?;
        if le == "+Inf" {
            self.infinite.push(class);
            self.counters.add(Place::Within(class, BOUNDS.len()), count);
            return Ok(());
        }
        let seconds: f64 = le.parse().map_err(|_not_a_number| unreadable(line))?;
        let bound = BOUNDS.iter().position(|bound| (bound - seconds).abs() < 1e-9);
        if let Some(bound) = bound {
            self.bounds += 1;
            self.counters.add(Place::Within(class, bound), count);
        }
        Ok(())
    }

    fn end(self) -> Result<Shown, TextError> {
        let (registry, stage, version) = self.info.ok_or(TextError::Missing("berth_registry_info"))?;
        if !self.has_panics {
            return Err(TextError::Missing("berth_registry_http_panics_total"));
        }
        if !RouteClass::ALL.iter().all(|class| self.classes.contains(class)) {
            return Err(TextError::Missing(
                "a class of berth_registry_http_class_requests_total",
            ));
        }
        let has_all = RouteClass::ALL.iter().all(|class| self.infinite.contains(class));
        if !has_all || self.bounds != self.infinite.len() * BOUNDS.len() {
            return Err(TextError::Missing(
                "a bound of berth_registry_http_class_duration_seconds",
            ));
        }
        Ok(Shown {
            registry,
            stage,
            version,
            counters: self.counters,
        })
    }
}

fn unreadable(line: &str) -> TextError {
    TextError::Line(line.chars().take(160).collect())
}

fn find<'a>(labels: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = labels.iter().find(|(label, _)| label == name);
    found.map(|(_, value)| value.as_str())
}

fn class(labels: &[(String, String)]) -> Option<RouteClass> {
    let name = find(labels, "class")?;
    RouteClass::ALL.into_iter().find(|class| class.as_str() == name)
}

/// The number behind the labels; a time or an example may follow it.
fn value(line: &str) -> Result<f64, TextError> {
    let (_, rest) = split(line)?;
    let number: Option<f64> = rest.split_whitespace().next().and_then(|text| text.parse().ok());
    let count = number.filter(|number| number.is_finite() && *number >= 0.0);
    count.ok_or_else(|| TextError::NotACount(line.chars().take(160).collect()))
}

fn labels(line: &str) -> Result<Vec<(String, String)>, TextError> {
    let (inside, _) = split(line)?;
    let mut labels = Vec::new();
    let mut rest = inside;
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"").ok_or_else(|| unreadable(line))?;
        let end = closing_quote(after).ok_or_else(|| unreadable(line))?;
        labels.push((name.trim_start_matches(',').trim().to_owned(), unescaped(&after[..end])));
        rest = after[end + 1..].trim_start_matches(',');
    }
    Ok(labels)
}

/// What is between the braces, and what is behind them.
fn split(line: &str) -> Result<(&str, &str), TextError> {
    let Some(open) = line.find('{') else {
        let (_, rest) = line.split_once(' ').ok_or_else(|| unreadable(line))?;
        return Ok(("", rest));
    };
    let inside = &line[open + 1..];
    let mut is_quoted = false;
    let mut is_escaped = false;
    for (place, letter) in inside.char_indices() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            '}' if !is_quoted => return Ok((&inside[..place], &inside[place + 1..])),
            _ => {}
        }
    }
    Err(unreadable(line))
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    for (place, letter) in text.char_indices() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return Some(place),
            _ => {}
        }
    }
    None
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('n') => plain.push('\n'),
                Some(other) => plain.push(other),
                None => {}
            },
            _ => plain.push(letter),
        }
    }
    plain
}
