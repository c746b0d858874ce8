//! The table of results, a line for each roll-out.

use std::{
    env,
    fs::OpenOptions,
    io::Write,
    sync::{Mutex, PoisonError},
};

use anyhow::Result;
use e2e::{progress, releases};

use crate::{client::Asked, seen::Seen};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Requests of the clients during one roll-out.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counted {
    /// While no pod of the new version can have served, and what went wrong then.
    pub(crate) without_canary: usize,
    pub(crate) wrong_without: usize,
    /// While one may have, and what went wrong then.
    pub(crate) with_canary: usize,
    pub(crate) wrong_with: usize,
}

impl Counted {
    pub(crate) fn of(asked: &[Asked], seen: &Seen) -> Self {
        let mut counted = Self::default();
        let canary = seen.with_canary();
        for one in asked {
            let beside = canary.is_some_and(|(from, to)| (from..=to).contains(&one.at));
            let wrong = usize::from(one.wrong.is_some());
            if beside {
                counted.with_canary += 1;
                counted.wrong_with += wrong;
            } else {
                counted.without_canary += 1;
                counted.wrong_without += wrong;
            }
        }
        counted
    }
}

/// Adds a line.
pub(crate) fn line(release: &str, expected: &str, seen: &Seen, counted: Counted) -> Result<()> {
    let Counted {
        without_canary,
        wrong_without,
        with_canary,
        wrong_with,
    } = counted;
    let stopped = if seen.end() == "Completed" {
        String::new()
    } else {
        format!("{} -> ", seen.stopped_in())
    };
    let found = format!("{stopped}{}", seen.end());
    write(&format!(
        "{release:<34} {expected:<38} {found:<38} {:<24} {:>4} s {:>6} requests {wrong_with:>4} of {with_canary:<5} wrong beside the canary, \
         {wrong_without} of {without_canary} without",
        seen.reason,
        seen.seconds(),
        with_canary + without_canary,
    ))
}

/// Adds a line as it is.
pub(crate) fn write(line: &str) -> Result<()> {
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    progress::line(line);
    let Some(path) = env::var_os(releases::TABLE) else {
        return Ok(());
    };
    let mut table = OpenOptions::new().append(true).create(true).open(path)?;
    Ok(writeln!(table, "{}", line.trim_end())?)
}
