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
    total: usize,
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
    pub(super) fn new(total: usize) -> Self {
        Self {
            total,
            begun: 0,
            started: Instant::now(),
        }
    }

    /// Does one step. When it fails the end of its log is shown.
    pub(super) fn step<T>(&mut self, title: &str, log: &Log, work: impl FnOnce() -> Result<Done<T>>) -> Result<T> {
        self.begun += 1;
        let label = format!("[{}/{}] {title}", self.begun, self.total);
        if !io::stdout().is_terminal() {
            line(&format!("{label} ..."));
        }
        let (outcome, took) = live(&label, log, work);
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
