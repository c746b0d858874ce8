//! Ending upload sessions that nobody uses any more.

use super::Distribution;
use super::error::Error;
use crate::metadata::uploads;

/// Sessions that one transaction ends: few enough that it is short, whatever they have left behind.
const BATCH: u32 = 50;
/// Rows that one transaction removes.
const ROWS: u32 = 500;

/// What one sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Sessions that were ended because nobody used them in time.
    pub expired: u64,
    /// Rows of sessions that were removed because they ended long ago.
    pub forgotten: u64,
}

impl Distribution {
    /// Ends expired sessions, buries what was written for them, and forgets those that ended long ago, batch by batch
    /// until none is left. Any number of replicas may do this at once.
    ///
    /// # Errors
    /// `Database`; what was done until then stays done.
    pub async fn sweep_uploads(&self) -> Result<Swept, Error> {
        let mut swept = Swept::default();
        loop {
            let ended = self.expire_batch().await?;
            swept.expired += ended;
            if ended < BATCH.into() {
                break;
            }
        }
        loop {
            let mut tx = self.metadata.begin().await?;
            let gone = uploads::forget(&mut tx, self.now(), ROWS).await?;
            tx.commit().await?;
            swept.forgotten += gone;
            if gone < ROWS.into() {
                return Ok(swept);
            }
        }
    }

    async fn expire_batch(&self) -> Result<u64, Error> {
        let times = (self.now(), self.after(self.limits.upload_memory));
        let mut tx = self.metadata.begin().await?;
        let ended = uploads::expire(&mut tx, times, BATCH).await?;
        for session in &ended {
            self.bury_all(&mut tx, session, None, "upload_expired").await?;
        }
        tx.commit().await?;
        Ok(ended.len() as u64)
    }
}
