//! Ends deletions: what can no longer be restored is removed for good, and deleted repositories row by row.

use crate::distribution::{Distribution, Erased, Error, Expired};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How often it is looked for what is left of deletions that others began.
const INTERVAL: Duration = Duration::from_mins(1);
/// How long rows that somebody holds are left alone.
const HELD: Duration = Duration::from_millis(200);
/// How long a database that failed is left alone.
const FAILED: Duration = Duration::from_secs(10);

/// Ends deletions until it is told to stop.
#[derive(Debug, Clone)]
pub struct Deletions {
    distribution: Distribution,
}

impl Deletions {
    /// Ends the deletions of these workflows.
    pub fn new(distribution: Distribution) -> Self {
        Self { distribution }
    }

    /// Runs until `stop`. A turn that fails is told; the next one goes on with what it left.
    pub async fn run(self, stop: CancellationToken) {
        let ending = async { tokio::join!(self.expire(), self.erase()) };
        stop.run_until_cancelled(ending).await;
    }

    async fn expire(&self) {
        loop {
            tokio::time::sleep(pause()).await;
            match self.distribution.expire_deleted().await {
                Ok(expired) => tell_expired(expired),
                Err(error) => warn("deleted tags and manifests were not removed for good", &error),
            }
        }
    }

    async fn erase(&self) {
        loop {
            let begun = Instant::now();
            let rest = match self.distribution.erase_some().await {
                Ok(Erased::Nothing) => {
                    self.idle().await;
                    continue;
                }
                Ok(Erased::Held) => HELD,
                // At most half of the time: who pushes and pulls has the rest.
                Ok(Erased::Some) => begun.elapsed(),
                Ok(Erased::Last(_)) => Duration::ZERO,
                Err(error) => {
                    warn("rows of a deleted repository were not removed", &error);
                    FAILED
                }
            };
            tokio::time::sleep(rest).await;
        }
    }

    /// Waits for a repository that this process deletes, and for a while only: others may have left one half done.
    async fn idle(&self) {
        if let Err(error) = self.distribution.forget_deletions().await {
            warn("old deletions of repositories were not forgotten", &error);
        }
        let deleted = self.distribution.repository_deleted();
        // Either way it is looked for.
        drop(tokio::time::timeout(pause(), deleted).await);
    }
}

fn warn(what: &'static str, error: &Error) {
    tracing::warn!(error = error as &dyn std::error::Error, "{what}");
}

fn tell_expired(expired: Expired) {
    let Expired { tags, manifests } = expired;
    if tags + manifests > 0 {
        tracing::info!(tags, manifests, "deleted tags and manifests removed for good");
    }
}

/// Replicas that started together do not do it together.
fn pause() -> Duration {
    INTERVAL.mul_f64(rand::random_range(0.5..1.0))
}
