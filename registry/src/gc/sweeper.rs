//! Ends upload sessions that nobody uses any more. The objects of ended sessions become tombstones, not deletions.

use crate::distribution::{Distribution, Swept};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Sweeps until it is told to stop.
#[derive(Debug, Clone)]
pub struct Sweeper {
    distribution: Distribution,
    interval: Duration,
}

impl Sweeper {
    /// Sweeps every `interval`, more or less.
    pub fn new(distribution: Distribution, interval: Duration) -> Self {
        Self { distribution, interval }
    }

    /// Runs until `stop`. A sweep that fails is told and tried again at the next turn.
    pub async fn run(self, stop: CancellationToken) {
        let sweeping = async {
            loop {
                tokio::time::sleep(self.pause()).await;
                self.sweep().await;
            }
        };
        stop.run_until_cancelled(sweeping).await;
    }

    async fn sweep(&self) {
        match self.distribution.sweep_uploads().await {
            Ok(swept) => tell(swept),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "upload sessions not swept");
            }
        }
    }

    /// Replicas that started together do not sweep together.
    fn pause(&self) -> Duration {
        self.interval.mul_f64(rand::random_range(0.5..1.0))
    }
}

fn tell(swept: Swept) {
    let Swept { expired, forgotten } = swept;
    if expired > 0 {
        tracing::info!(expired, forgotten, "upload sessions ended that nobody used");
    }
}
