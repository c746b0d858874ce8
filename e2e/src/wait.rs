//! Bounded waits on a value.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// Asks `look` until it gives a value, and gives up after `limit`.
///
/// `what` is what is waited for, in words that fit behind "waited for". An error from `look` ends the wait at once.
///
/// # Errors
/// The error of `look`, or that the time is over.
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let started = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        if let Some(value) = look().with_context(|| format!("waited for: {what}"))? {
            return Ok(value);
        }
        if started.elapsed() > limit {
            bail!("waited {} s for: {what}", limit.as_secs());
        }
        thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// As [`until`], but an error of `look` is taken as "not yet"; the last one is in the error when the time is over.
///
/// # Errors
/// That the time is over.
pub fn until_ok<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<T>) -> Result<T> {
    let mut last = None;
    let found = until(what, limit, || match look() {
        Ok(value) => Ok(Some(value)),
        Err(error) => {
            last = Some(error);
            Ok(None)
        }
    });
    match (found, last) {
        (Err(over), Some(last)) => Err(last.context(over.to_string())),
        (found, _) => found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_with_the_value() {
        let mut left = 3;

        let value = until("three looks", Duration::from_secs(5), || {
            left -= 1;
            Ok((left == 0).then_some("there"))
        });

        assert_eq!(value.unwrap(), "there");
    }

    #[test]
    fn a_wait_that_is_over_tells_the_last_error() {
        let over = until_ok::<()>("the node", Duration::from_millis(1), || bail!("connection refused")).unwrap_err();

        assert_eq!(format!("{over:#}"), "waited 0 s for: the node: connection refused");
    }
}
