//! The memory that all uploads together may use.
//!
//! A part must be in memory until the store has it. Who wants to fill one reserves all of it first, so whoever holds a
//! reservation can go on until it is given back: nobody waits for memory while holding some that others wait for. An
//! upload begins with a little from a pool of its own, which is all that most blobs ever need.

use super::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Memory is counted in these.
const UNIT: u64 = 64 * 1024;
/// What an upload begins with.
pub(super) const FIRST: u64 = 4 * UNIT;
/// A client that has waited so long is told to come back; it must not be taken for one that has stopped sending.
const WAIT: Duration = Duration::from_secs(30);

/// A bound in two pools.
#[derive(Debug)]
pub(super) struct Memory {
    beginnings: Arc<Semaphore>,
    parts: Arc<Semaphore>,
    /// All of the second pool.
    most: u32,
    wait: Duration,
}

/// Memory that is set aside, until it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    bytes: u64,
    _permit: OwnedSemaphorePermit,
}

impl Room {
    /// True when so many bytes fit.
    pub(super) fn fits(&self, bytes: u64) -> bool {
        bytes <= self.bytes
    }
}

impl Memory {
    /// A quarter of the bytes for beginnings, the rest for parts.
    pub(super) fn new(bytes: u64) -> Self {
        let (beginnings, parts) = (units(bytes / 4), units(bytes - bytes / 4));
        Self {
            beginnings: Arc::new(Semaphore::new(beginnings as usize)),
            parts: Arc::new(Semaphore::new(parts as usize)),
            most: parts,
            wait: WAIT,
        }
    }

    /// Room for `bytes`, where the part under way will have `part`.
    ///
    /// # Errors
    /// `NoMemory` when none was given back for half a minute.
    pub(super) async fn room(&self, bytes: u64, part: u64) -> Result<Room, Error> {
        let (pool, size) = if bytes <= FIRST {
            (&self.beginnings, FIRST)
        } else {
            (&self.parts, bytes.max(part))
        };
        // A part that is larger than all there is has all there is to itself.
        let units = units(size).min(self.most);
        let reserved = timeout(self.wait, Arc::clone(pool).acquire_many_owned(units)).await;
        match reserved {
            Ok(Ok(permit)) => Ok(Room {
                bytes: size,
                _permit: permit,
            }),
            Ok(Err(_)) | Err(_) => Err(Error::NoMemory),
        }
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn impatient(bytes: u64) -> Memory {
        Memory {
            wait: Duration::from_millis(20),
            ..Memory::new(bytes)
        }
    }

    #[tokio::test]
    async fn a_part_waits_until_another_is_given_back() {
        let memory = Arc::new(Memory::new(16 * MIB));
        let first = memory.room(MIB, 8 * MIB).await.unwrap();
        let waiting = Arc::clone(&memory);
        let mut second = tokio::task::JoinSet::new();
        second.spawn(async move { waiting.room(MIB, 8 * MIB).await.map(drop) });
        let early = timeout(Duration::from_millis(50), second.join_next()).await;
        assert!(early.is_err(), "12 MiB for parts do not hold two of 8");

        drop(first);

        second.join_next().await.unwrap().unwrap().unwrap();
    }

    #[tokio::test]
    async fn small_uploads_go_on_while_parts_use_all_that_they_may() {
        let memory = impatient(16 * MIB);
        let _part = memory.room(MIB, 12 * MIB).await.unwrap();

        assert!(memory.room(1000, 8 * MIB).await.is_ok());
        assert!(matches!(memory.room(MIB, 8 * MIB).await, Err(Error::NoMemory)));
    }

    #[tokio::test]
    async fn a_part_larger_than_all_memory_gets_all_of_it() {
        let memory = impatient(16 * MIB);

        let room = memory.room(64 * MIB, 64 * MIB).await.unwrap();

        assert!(room.fits(64 * MIB));
        assert!(memory.room(MIB, 8 * MIB).await.is_err());
    }
}
