//! The numbered steps that a person watches.

use std::{
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    progress::{line, live, seconds},
    shell::Log,
};

const SHOWN_OF_A_FAILURE: usize = 25;

/// Counts and times the steps.
#[derive(Debug)]
pub(super) struct Steps {
    titles: &'static [&'static str],
    begun: usize,
    started: Instant,
}

/// What a step gives, and a word for its line.
pub(super) struct Done<T> {
    pub(super) value: T,
    pub(super) note: String,
}

/// A step that is done, with what is worth saying about it.
pub(super) fn done<T>(value: T, note: impl Into<String>) -> Done<T> {
    Done {
        value,
        note: note.into(),
    }
}

impl Steps {
    pub(super) fn new(titles: &'static [&'static str]) -> Self {
        Self {
            titles,
            begun: 0,
            started: Instant::now(),
        }
    }

    /// Does the next step. When it fails the end of its log is shown.
    pub(super) fn step<T>(&mut self, log: &Log, work: impl FnOnce() -> Result<Done<T>>) -> Result<T> {
        let title = self.titles.get(self.begun).unwrap_or(&"");
        self.begun += 1;
        let label = format!("[{}/{}] {title}", self.begun, self.titles.len());
        let next = self
            .titles
            .get(self.begun)
            .map(|next| format!(", then: {next}"))
            .unwrap_or_default();
        if !io::stdout().is_terminal() {
            line(&format!("{label} ...{next}"));
        }
        let (outcome, took) = live(&format!("{label}{next}"), log, work);
        match outcome {
            Ok(Done { value, note }) => {
                let note = if note.is_empty() {
                    String::new()
                } else {
                    format!(" ({note})")
                };
                line(&format!("{label}: {}{note}", seconds(took)));
                Ok(value)
            }
            Err(error) => {
                line(&format!("{label}: FAILED after {}", seconds(took)));
                line(&log.tail(SHOWN_OF_A_FAILURE));
                line(&format!("(all of it: {})", log.path().display()));
                Err(error)
            }
        }
    }

    /// The time since the first step began.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}
