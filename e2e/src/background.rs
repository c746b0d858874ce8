//! Long builds that start early and are waited for late.

use std::{
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

use crate::shell::Log;

/// Work in a thread of its own, with a log.
#[derive(Debug)]
pub struct Background<T> {
    thread: JoinHandle<(Result<T>, Duration)>,
    log: Log,
}

impl<T: Send + 'static> Background<T> {
    /// Starts `work`.
    pub fn start(log: Log, work: impl FnOnce(&Log) -> Result<T> + Send + 'static) -> Self {
        let own = log.clone();
        let thread = thread::spawn(move || {
            let started = Instant::now();
            (work(&own), started.elapsed())
        });
        Self { thread, log }
    }

    /// Where its programs write.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// What came of it and how long it took in all, once it has ended.
    ///
    /// # Errors
    /// What the work failed with.
    pub fn join(self) -> Result<(T, Duration)> {
        let ended = self
            .thread
            .join()
            .map_err(|_payload| anyhow!("a background thread panicked"));
        let (value, took) = ended?;
        Ok((value?, took))
    }
}
