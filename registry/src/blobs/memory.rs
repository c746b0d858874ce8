//! The memory that all uploads together may use.
//!
//! A part must be in memory until the store has it. Who wants to fill one reserves all of it first, so whoever holds a
//! reservation can go on until it is given back: nobody waits for memory while holding some that others wait for. An
//! upload begins with a little from a pool of its own, which is all that most blobs ever need.
//!
//! A client fills its reservation as slowly as it likes until others wait. Then it must have been fast enough that they
//! all get their turn before they are sent away; only time in which the registry waited for it counts.

use super::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};

/// Memory is counted in these.
const UNIT: u64 = 64 * 1024;
/// What an upload begins with.
pub(super) const FIRST: u64 = 4 * UNIT;

/// A bound in two pools.
#[derive(Debug)]
pub(super) struct Memory {
    beginnings: Pool,
    parts: Pool,
    /// All of the second pool.
    most: u32,
    times: Times,
}

/// How long is waited.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// A client that has waited so long is told to come back; it must not be taken for one that has stopped sending. So
    /// it is less than the minute that proxies give.
    wait: Duration,
    /// A client that fills its memory while others wait has this time, and after it
    grace: Duration,
    /// this one: together they are less than the others wait.
    fill: Duration,
}

const TIMES: Times = Times {
    wait: Duration::from_secs(45),
    grace: Duration::from_secs(5),
    fill: Duration::from_secs(32),
};

/// A bound, and how many wait until there is enough of it.
#[derive(Debug)]
struct Pool {
    free: Arc<Semaphore>,
    waiting: watch::Sender<usize>,
}

/// One that waits.
struct Waiting<'p>(&'p Pool);

/// Memory that is set aside, until it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    bytes: u64,
    times: Times,
    /// Bytes that the client has sent since.
    came: u64,
    /// How long the client was waited for.
    waited: Duration,
    /// How many wait for what this one has.
    wanted: watch::Receiver<usize>,
    _permit: OwnedSemaphorePermit,
}

impl Room {
    /// True when so many bytes fit.
    pub(super) fn fits(&self, bytes: u64) -> bool {
        bytes <= self.bytes
    }

    /// The client has sent so many bytes.
    pub(super) fn came(&mut self, bytes: usize) {
        self.came += bytes as u64;
    }

    /// Waits for what the client sends next.
    ///
    /// # Errors
    /// `TooSlow` when others wait and the client was waited for long enough.
    pub(super) async fn filling<T>(&mut self, next: impl Future<Output = T>) -> Result<T, Error> {
        let begun = Instant::now();
        let came = tokio::select! {
            biased;
            came = next => came,
            () = self.overdue() => return Err(Error::TooSlow),
        };
        self.waited += begun.elapsed();
        Ok(came)
    }

    async fn overdue(&mut self) {
        #[expect(clippy::cast_precision_loss, reason = "of a time, the first digits are enough")]
        let filled = self.came as f64 / self.bytes as f64;
        let earned = self.times.fill.mul_f64(filled.min(1.0));
        sleep((self.times.grace + earned).saturating_sub(self.waited)).await;
        if self.wanted.wait_for(|waiting| *waiting > 0).await.is_err() {
            // Nobody is left who could want it.
            std::future::pending::<()>().await;
        }
    }
}

impl Memory {
    /// A quarter of the bytes for beginnings, the rest for parts.
    pub(super) fn new(bytes: u64) -> Self {
        let (beginnings, parts) = (units(bytes / 4), units(bytes - bytes / 4));
        Self {
            beginnings: Pool::new(beginnings),
            parts: Pool::new(parts),
            most: parts,
            times: TIMES,
        }
    }

    /// Room for `bytes`, where the part under way will have `part`.
    ///
    /// # Errors
    /// `NoMemory` when none was given back in time.
    pub(super) async fn room(&self, bytes: u64, part: u64) -> Result<Room, Error> {
        let (pool, size) = if bytes <= FIRST {
            (&self.beginnings, FIRST)
        } else {
            (&self.parts, bytes.max(part))
        };
        // A part that is larger than all there is has all there is to itself.
        let permit = pool.reserve(units(size).min(self.most), self.times.wait).await?;
        Ok(Room {
            bytes: size,
            times: self.times,
            came: 0,
            waited: Duration::ZERO,
            wanted: pool.waiting.subscribe(),
            _permit: permit,
        })
    }
}

impl Pool {
    fn new(units: u32) -> Self {
        Self {
            free: Arc::new(Semaphore::new(units as usize)),
            waiting: watch::Sender::new(0),
        }
    }

    async fn reserve(&self, units: u32, wait: Duration) -> Result<OwnedSemaphorePermit, Error> {
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_many_owned(units) {
            return Ok(permit);
        }
        let _waiting = Waiting::begin(self);
        let reserved = timeout(wait, Arc::clone(&self.free).acquire_many_owned(units)).await;
        match reserved {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(Error::NoMemory),
        }
    }
}

impl<'p> Waiting<'p> {
    fn begin(pool: &'p Pool) -> Self {
        pool.waiting.send_modify(|waiting| *waiting += 1);
        Self(pool)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.send_modify(|waiting| *waiting -= 1);
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
            times: Times {
                wait: Duration::from_millis(20),
                ..TIMES
            },
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

    /// Like the real ones, twenty times as fast.
    fn hasty(bytes: u64) -> Memory {
        Memory {
            times: Times {
                wait: Duration::from_secs(5),
                grace: TIMES.grace / 20,
                fill: TIMES.fill / 20,
            },
            ..Memory::new(bytes)
        }
    }

    /// So many mebibytes arrive, one each time.
    async fn sent(room: &mut Room, mebibytes: usize, each: Duration) -> Result<(), Error> {
        for _ in 0..mebibytes {
            room.filling(sleep(each)).await?;
            room.came(1024 * 1024);
        }
        Ok(())
    }

    #[test]
    fn whoever_waits_gets_memory_before_it_is_sent_away() {
        assert!(TIMES.grace + TIMES.fill < TIMES.wait);
        assert!(TIMES.wait < Duration::from_mins(1), "then proxies give up");
    }

    #[tokio::test]
    async fn a_slow_client_keeps_its_memory_until_others_wait() {
        let memory = hasty(16 * MIB);
        let mut slow = memory.room(MIB, 12 * MIB).await.unwrap();
        let silence = slow.filling(std::future::pending::<()>());
        let alone = timeout(Duration::from_millis(500), silence).await;
        assert!(alone.is_err(), "nobody waits");

        let cut = async move { slow.filling(std::future::pending::<()>()).await };
        let (cut, another) = tokio::join!(cut, memory.room(MIB, 8 * MIB));

        assert!(matches!(cut, Err(Error::TooSlow)));
        assert!(another.is_ok());
    }

    #[tokio::test]
    async fn a_client_that_sends_a_little_is_stopped_when_that_is_too_little() {
        let memory = hasty(16 * MIB);
        let mut slow = memory.room(MIB, 12 * MIB).await.unwrap();

        let sending = async move { sent(&mut slow, 12, Duration::from_millis(400)).await };
        let (cut, another) = tokio::join!(sending, memory.room(MIB, 8 * MIB));

        assert!(matches!(cut, Err(Error::TooSlow)));
        assert!(another.is_ok());
    }

    #[tokio::test]
    async fn a_client_that_is_fast_enough_is_not_stopped_though_the_store_takes_its_time() {
        let memory = hasty(16 * MIB);
        let mut room = memory.room(MIB, 12 * MIB).await.unwrap();

        let sending = async move {
            sent(&mut room, 1, Duration::from_millis(20)).await?;
            sleep(Duration::from_secs(1)).await;
            sent(&mut room, 11, Duration::from_millis(20)).await
        };
        let (sent, another) = tokio::join!(sending, memory.room(MIB, 12 * MIB));

        assert!(sent.is_ok());
        assert!(another.is_ok());
    }
}
