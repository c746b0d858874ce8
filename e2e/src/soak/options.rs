//! What the command line says behind `--`.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use clap::Parser;

/// A soak: clients, a nemesis, and a checker that reads the history afterwards.
#[derive(Debug, Clone, Parser)]
#[command(name = "soak", bin_name = "cargo verify --only soak --", max_term_width = 110)]
pub struct Options {
    /// How long clients and nemesis are at work, in minutes, over both pairs of stores together
    #[arg(long, value_name = "N", default_value_t = 5.0)]
    minutes: f64,
    /// How many clients there are
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(super) clients: usize,
    /// Repeat the plan of this seed; without it one is drawn and told
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Soak this berth-registry in place of the one that is built with the tests
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

/// Each pair of stores has its half of the time.
const PAIRS: f64 = 2.0;

impl Options {
    /// Reads the arguments behind `--`.
    ///
    /// # Errors
    /// What is wrong with them, in words for whoever typed them.
    pub fn read(arguments: &[String]) -> Result<Self> {
        let all = std::iter::once("soak").chain(arguments.iter().map(String::as_str));
        let options = Self::try_parse_from(all).context("read what stands behind --")?;
        ensure!(
            options.minutes > 0.0 && options.minutes < 10_000.0,
            "--minutes {} is no length of a soak",
            options.minutes
        );
        ensure!(
            (1..=64).contains(&options.clients),
            "--clients {} is not from 1 to 64",
            options.clients
        );
        Ok(options)
    }

    /// The server that was asked for.
    pub fn program(&self) -> Option<&PathBuf> {
        self.program.as_ref()
    }

    pub(super) fn length(&self) -> Duration {
        Duration::from_secs_f64(self.minutes * 60.0 / PAIRS)
    }

    pub(super) fn seed(&self) -> u64 {
        // Short enough to be typed.
        self.seed
            .unwrap_or_else(|| RandomState::new().build_hasher().finish() % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Options> {
        let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        Options::read(&arguments)
    }

    #[test]
    fn both_pairs_share_the_time() {
        assert_eq!(read(&[]).unwrap().length(), Duration::from_secs(150));
        assert_eq!(read(&["--minutes", "60"]).unwrap().length(), Duration::from_mins(30));
    }

    #[test]
    fn what_is_no_soak_is_refused() {
        for wrong in [
            &["--minutes", "0"][..],
            &["--minutes", "NaN"],
            &["--clients", "0"],
            &["--hours", "1"],
        ] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_seed_that_is_given_is_used() {
        assert_eq!(read(&["--seed", "42"]).unwrap().seed(), 42);
    }
}
