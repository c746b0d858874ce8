//! The memory that all bodies that are read whole may use together.
//!
//! A body begins with a little, from a pool of its own that is all most manifests need. Who sends more gets room for all
//! that it announced before any of it is read: whoever has that can go on, and waits for nobody. A client that only
//! announces holds nothing, and the buffer grows with what comes.

use super::error::ApiError;
use super::screen::Overload;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Memory is counted in these.
const UNIT: u64 = 4 * 1024;
/// What a body begins with.
const FIRST: usize = 16 * 1024;
/// Shorter than a client waits for an answer.
const WAIT: Duration = Duration::from_secs(5);

/// A bound in two pools. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct BodyMemory {
    beginnings: Arc<Semaphore>,
    rest: Arc<Semaphore>,
    wait: Duration,
}

/// Memory that is set aside for one body, until it is dropped.
#[derive(Debug, Default)]
pub(super) struct Room {
    bytes: usize,
    permits: Vec<OwnedSemaphorePermit>,
}

impl BodyMemory {
    /// A quarter of the bytes for beginnings, the rest for what is longer.
    pub(super) fn new(bytes: u64) -> Self {
        let pool = |bytes: u64| Arc::new(Semaphore::new(units(bytes) as usize));
        Self {
            beginnings: pool(bytes / 4),
            rest: pool(bytes - bytes / 4),
            wait: WAIT,
        }
    }

    #[cfg(test)]
    pub(super) fn impatient(bytes: u64) -> Self {
        let wait = Duration::from_millis(20);
        Self {
            wait,
            ..Self::new(bytes)
        }
    }

    /// Makes room for `needed` bytes of a body that will have `whole`.
    ///
    /// # Errors
    /// `Overloaded` when others did not give back enough in time; the caller is to give back all that it has.
    pub(super) async fn make(&self, room: &mut Room, needed: usize, whole: usize) -> Result<(), ApiError> {
        if room.bytes == 0 {
            room.permits.push(self.reserved(&self.beginnings, FIRST).await?);
            room.bytes = FIRST;
        }
        if needed > room.bytes {
            let whole = whole.max(needed);
            room.permits.push(self.reserved(&self.rest, whole - room.bytes).await?);
            room.bytes = whole;
        }
        Ok(())
    }

    async fn reserved(&self, pool: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, ApiError> {
        let reserving = Arc::clone(pool).acquire_many_owned(units(bytes as u64));
        match timeout(self.wait, reserving).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(ApiError::Overloaded(Overload::Manifests)),
        }
    }
}

impl Room {
    /// What the whole body may have.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    async fn room(memory: &BodyMemory, needed: usize, whole: usize) -> Result<Room, ApiError> {
        let mut room = Room::default();
        memory.make(&mut room, needed, whole).await.map(|()| room)
    }

    #[tokio::test]
    async fn what_was_announced_takes_nothing_until_it_comes() {
        let memory = BodyMemory::impatient(8 * MIB as u64);
        let mut announced = Vec::new();
        for _ in 0..50 {
            announced.push(room(&memory, 10, 4 * MIB).await.unwrap());
        }

        assert!(room(&memory, FIRST + 1, 4 * MIB).await.is_ok());
    }

    #[tokio::test]
    async fn small_bodies_go_on_while_large_ones_use_all_that_they_may() {
        let memory = BodyMemory::impatient(8 * MIB as u64);
        let large = room(&memory, 2 * MIB, 4 * MIB).await.unwrap();

        assert!(matches!(
            room(&memory, 2 * MIB, 4 * MIB).await,
            Err(ApiError::Overloaded(Overload::Manifests))
        ));
        assert!(room(&memory, 1000, 1000).await.is_ok());

        drop(large);
        assert!(room(&memory, 2 * MIB, 4 * MIB).await.is_ok(), "given back");
    }

    #[tokio::test]
    async fn of_many_that_want_more_at_once_each_gets_it_in_turn() {
        let memory = BodyMemory::new(8 * MIB as u64);
        let pushes = (0..40).map(|_| async {
            let room = room(&memory, 2 * MIB, 4 * MIB).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
            room.is_ok()
        });

        let got = futures::future::join_all(pushes).await;

        assert_eq!(got, vec![true; 40]);
    }
}
