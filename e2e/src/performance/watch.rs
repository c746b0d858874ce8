//! Reads the resident memory of a server twice a second.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;

use crate::progress::line;

const EVERY: Duration = Duration::from_millis(500);

/// What to watch.
#[derive(Debug, Args)]
pub(super) struct Watch {
    /// The server
    pid: u32,
    /// How long; the end of the server ends it too
    #[arg(long, default_value_t = 60)]
    secs: u64,
    /// What the server does meanwhile: push, pull. A second watch with another phase is drawn behind the first
    #[arg(long, default_value = "")]
    phase: String,
    /// The target's name
    #[arg(long, default_value = "berth")]
    target: String,
}

impl Watch {
    /// Writes a line for each look at the server.
    ///
    /// # Errors
    /// When there is no such server to begin with.
    pub(super) fn run(&self) -> Result<()> {
        let path = format!("/proc/{}/status", self.pid);
        fs::read_to_string(&path).with_context(|| format!("no process {}: {path}", self.pid))?;
        let begun = Instant::now();
        let mut looks = 0;
        while begun.elapsed() <= Duration::from_secs(self.secs) {
            // A server that has ended has no memory to speak of.
            let Some(rss_mib) = fs::read_to_string(&path).ok().as_deref().and_then(rss_mib) else {
                break;
            };
            let seconds = (begun.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
            let sample = json!({"target": self.target, "t": seconds, "rss_mib": rss_mib, "phase": self.phase});
            line(&sample.to_string());
            looks += 1;
            thread::sleep((EVERY * looks).saturating_sub(begun.elapsed()));
        }
        Ok(())
    }
}

fn rss_mib(status: &str) -> Option<f64> {
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = kib.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some((kib / 1024.0 * 100.0).round() / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_in_mib() {
        assert_eq!(
            rss_mib("Name:\tberth\nVmHWM:\t  99999 kB\nVmRSS:\t   20736 kB\n"),
            Some(20.25)
        );
    }

    #[test]
    fn a_server_that_is_about_to_end_has_none() {
        assert_eq!(rss_mib("Name:\tberth\nState:\tZ (zombie)\n"), None);
    }
}
