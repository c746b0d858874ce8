//! Ends deletions: what can no longer be restored is removed for good.

use crate::distribution::{Distribution, Expired};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often it is looked for what can no longer be restored.
const INTERVAL: Duration = Duration::from_mins(1);

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
        let expiring = async {
            loop {
                tokio::time::sleep(pause()).await;
                self.expire().await;
            }
        };
        stop.run_until_cancelled(expiring).await;
    }

    async fn expire(&self) {
        match self.distribution.expire_deleted().await {
            Ok(expired) => tell(expired),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "old deletions not removed for good"
                );
            }
        }
    }
}

fn tell(expired: Expired) {
    let Expired { tags, manifests } = expired;
    if tags + manifests > 0 {
        tracing::info!(tags, manifests, "deleted tags and manifests removed for good");
    }
}

/// Replicas that started together do not do it together.
fn pause() -> Duration {
    INTERVAL.mul_f64(rand::random_range(0.5..1.0))
}
