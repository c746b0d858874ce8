//! Large objects that were read whole and compared with their digest: each once a day, on its way out.
//!
//! Comparing costs about as much as sending, so what was found right is remembered. An object never changes under its key;
//! what a disk does to it later is found when it is read a day after, or by a scrub.

use super::error::{Error, Mismatch};
use super::read::BlobBody;
use bytes::Bytes;
use futures::Stream;
use oci::{Digest, Digester};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// For how long nobody compares again.
const LASTS: Duration = Duration::from_hours(24);
/// Objects of one generation; there are two: about 4 MiB.
const GENERATION: usize = 16 * 1024;

/// When objects were last found right, by key. What was not read while a whole generation came is forgotten.
#[derive(Debug, Default)]
pub(super) struct Proved(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<String, Instant>,
    old: HashMap<String, Instant>,
}

impl Proved {
    pub(super) fn has(&self, key: &str, now: Instant) -> bool {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lasts = |at: &Instant| now.duration_since(*at) < LASTS;
        if let Some(at) = generations.young.get(key) {
            return lasts(at);
        }
        let Some((key, at)) = generations.old.remove_entry(key) else {
            return false;
        };
        let held = lasts(&at);
        generations.add(key, at);
        held
    }

    fn add(&self, key: &str, now: Instant) {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        generations.add(key.to_owned(), now);
    }
}

impl Generations {
    fn add(&mut self, key: String, at: Instant) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, at);
    }
}

/// Which bytes are to come.
pub(super) struct Expected {
    pub(super) key: String,
    pub(super) size: u64,
    pub(super) digest: Digest,
}

/// Passes all bytes of an object on, and the last of them only when all are those of its digest.
pub(super) fn compared(body: BlobBody, expected: Expected, proved: Arc<Proved>) -> BlobBody {
    BlobBody::of(Comparing {
        body,
        digester: Some(Digester::new(expected.digest.algorithm())),
        left: expected.size,
        expected,
        proved,
    })
}

struct Comparing {
    body: BlobBody,
    /// Absent when all is said.
    digester: Option<Digester>,
    left: u64,
    expected: Expected,
    proved: Arc<Proved>,
}

impl Comparing {
    fn passed_on(&mut self, piece: Bytes) -> Result<Bytes, Error> {
        let Some(digester) = &mut self.digester else {
            return Ok(piece);
        };
        digester.update(&piece);
        self.left = self.left.saturating_sub(piece.len() as u64);
        if self.left > 0 {
            return Ok(piece);
        }
        let (key, expected) = (&self.expected.key, self.expected.digest);
        let actual = self.digester.take().map(Digester::finish);
        match actual.filter(|actual| *actual != expected) {
            None => {
                self.proved.add(key, Instant::now());
                Ok(piece)
            }
            Some(actual) => Err(Error::Damaged {
                key: key.clone(),
                mismatch: Box::new(Mismatch { expected, actual }),
            }),
        }
    }
}

impl Stream for Comparing {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(Pin::new(&mut self.body).poll_next(cx));
        Poll::Ready(next.map(|piece| piece.and_then(|piece| self.passed_on(piece))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{StreamExt, stream};

    fn passing(content: &'static [u8], of: &[u8], proved: &Arc<Proved>) -> BlobBody {
        let pieces: Vec<_> = content.chunks(3).map(|piece| Ok(Bytes::from_static(piece))).collect();
        let expected = Expected {
            key: "key".to_owned(),
            size: content.len() as u64,
            digest: Digest::of(oci::Algorithm::Sha512, of),
        };
        compared(BlobBody::of(stream::iter(pieces)), expected, Arc::clone(proved))
    }

    #[tokio::test]
    async fn right_bytes_pass_and_are_remembered_for_a_day() {
        let proved = Arc::default();
        let body = passing(b"right bytes", b"right bytes", &proved);
        assert!(!proved.has("key", Instant::now()));

        let pieces: Vec<_> = body.map(Result::unwrap).collect().await;

        assert_eq!(pieces.concat(), b"right bytes");
        assert!(proved.has("key", Instant::now()));
        assert!(!proved.has("key", Instant::now() + LASTS));
        assert!(!proved.has("another", Instant::now()));
    }

    #[tokio::test]
    async fn wrong_bytes_never_come_to_their_end() {
        let proved = Arc::default();

        let mut pieces: Vec<_> = passing(b"wr0ng bytes", b"wrong bytes", &proved).collect().await;

        assert!(matches!(pieces.pop(), Some(Err(Error::Damaged { .. }))));
        let sent: usize = pieces.into_iter().map(|piece| piece.unwrap().len()).sum();
        assert_eq!(sent, 9);
        assert!(!proved.has("key", Instant::now()));
    }

    #[test]
    fn what_is_read_stays_and_the_rest_makes_room() {
        let (proved, now) = (Proved::default(), Instant::now());
        proved.add("read", now);
        for number in 0..3 * GENERATION {
            proved.add(&number.to_string(), now);
            assert!(proved.has("read", now), "{number}");
        }

        assert!(!proved.has("0", now));
        let generations = proved.0.lock().unwrap();
        assert!(generations.young.len() + generations.old.len() <= 2 * GENERATION);
    }
}
