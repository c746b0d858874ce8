//! What was checked and what came of it, counted as the official program counts.

use std::fmt;

/// Why a check did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The answer is wrong.
    Failed(String),
    /// The answer is allowed, but says that the registry cannot do it: the official program calls it a Skip. For Berth
    /// it is as bad as a failure.
    Unsupported(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(why) => write!(out, "FAIL {why}"),
            Self::Unsupported(why) => write!(out, "SKIP {why}"),
        }
    }
}

impl From<anyhow::Error> for Fault {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(format!("{error:#}"))
    }
}

/// The outcome of a check.
pub(super) type Checked<T = ()> = Result<T, Fault>;

/// How many checks of a group came out how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// As they should.
    pub passed: usize,
    /// Wrong.
    pub failed: usize,
    /// Not supported by the registry.
    pub skipped: usize,
}

impl Counts {
    /// True when at least one passed and nothing else happened.
    pub fn is_clean(&self) -> bool {
        self.passed > 0 && self.failed == 0 && self.skipped == 0
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        write!(out, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// All checks of one run.
#[derive(Debug, Default)]
pub struct Tally {
    groups: Vec<(String, Counts)>,
    faults: Vec<String>,
}

impl Tally {
    /// Begins a group; what is recorded from now on belongs to it.
    pub(super) fn begin(&mut self, group: &str) {
        self.groups.push((group.to_owned(), Counts::default()));
    }

    /// Counts one check; true when it passed.
    pub(super) fn record(&mut self, check: &str, outcome: Checked) -> bool {
        if self.groups.is_empty() {
            self.begin("checks");
        }
        let passed = outcome.is_ok();
        let Some((group, counts)) = self.groups.last_mut() else {
            return passed;
        };
        match outcome {
            Ok(()) => counts.passed += 1,
            Err(fault) => {
                match fault {
                    Fault::Failed(_) => counts.failed += 1,
                    Fault::Unsupported(_) => counts.skipped += 1,
                }
                self.faults.push(format!("{group}/{check}: {fault}"));
            }
        }
        passed
    }

    /// The groups in their order.
    pub fn groups(&self) -> &[(String, Counts)] {
        &self.groups
    }

    /// One line for each check that did not pass.
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    /// The sum of all groups.
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        for (_, counts) in &self.groups {
            total.passed += counts.passed;
            total.failed += counts.failed;
            total.skipped += counts.skipped;
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_registry_cannot_do_is_not_clean() {
        let mut tally = Tally::default();
        tally.begin("blobs");
        tally.record("mount", Ok(()));
        tally.record("post only", Err(Fault::Unsupported("202".to_owned())));

        assert_eq!(tally.total().to_string(), "1 passed, 0 failed, 1 skipped");
        assert!(!tally.total().is_clean());
        assert_eq!(tally.faults(), ["blobs/post only: SKIP 202"]);
    }

    #[test]
    fn a_run_without_a_check_is_not_clean() {
        assert!(!Tally::default().total().is_clean());
    }
}
