//! When a connection has done nothing for too long. Pure: the counts come from `pulse`, the time from the caller.
//!
//! All limits are on silence, never on a whole: a push or a pull may take hours, as long as it goes on.

use super::pulse::Pulse;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Less than this in the time of a stall counts as nothing: a byte a minute would keep a connection for ever.
const LEAST_PROGRESS: u64 = 4096;
const LONGEST_LOOK: Duration = Duration::from_secs(5);
/// What Linux buffers for a client at most, by default.
const SOCKET_BUFFER: u64 = 4 * 1024 * 1024;
/// What a client is expected to take in the time of a stall, where more of it is out of our sight.
const EXPECTED_PROGRESS: u64 = 512 * 1024;

/// How long each kind of silence may last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// From the connection to the first request's head, and from the first byte of a later head to its last.
    pub(super) header: Duration,
    /// Between requests.
    pub(super) idle: Duration,
    /// While an answer waits for the client to take it.
    pub(super) stall: Duration,
}

impl Patience {
    /// How often to look: often enough to be at most a quarter late.
    pub(super) fn look_every(&self) -> Duration {
        let shortest = self.header.min(self.idle).min(self.stall);
        (shortest / 4).clamp(Duration::from_millis(1), LONGEST_LOOK)
    }
}

/// What is to be done with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Keep,
    /// No new request; HTTP/2 clients are told.
    WindDown,
    /// Away with it.
    Close(&'static str),
}

/// What the counts were, and for how long nothing has happened.
#[derive(Debug)]
pub(super) struct Watch {
    patience: Patience,
    begun: u32,
    /// Time without a request under way.
    resting: Duration,
    /// Time since a head was seen to begin.
    head: Duration,
    /// Time, and bytes at its begin, in which the client took next to nothing.
    stalled: (Duration, u64),
}

impl Watch {
    pub(super) fn new(patience: Patience) -> Self {
        Self {
            patience,
            begun: 0,
            resting: Duration::ZERO,
            head: Duration::ZERO,
            stalled: (Duration::ZERO, 0),
        }
    }

    /// Looks at the counts, `passed` after the last look.
    pub(super) fn look(&mut self, pulse: &Pulse, passed: Duration) -> Verdict {
        if self.is_stalled(pulse, passed) {
            return Verdict::Close("the client did not take its answer");
        }
        let begun = pulse.begun.load(Relaxed);
        let is_used = pulse.under_way.load(Relaxed) > 0 || pulse.blocked.load(Relaxed);
        if begun != self.begun || is_used {
            self.begun = begun;
            (self.resting, self.head) = (Duration::ZERO, Duration::ZERO);
            return Verdict::Keep;
        }
        self.resting += passed;
        if begun == 0 && self.resting >= self.patience.header {
            return Verdict::Close("no request came in time");
        }
        let in_a_head = begun > 0 && pulse.read.load(Relaxed) != pulse.read_at_rest.load(Relaxed);
        if in_a_head && !pulse.http2.load(Relaxed) {
            self.head += passed;
            if self.head >= self.patience.header {
                return Verdict::Close("the head of a request did not come in time");
            }
        }
        match self.resting.checked_sub(self.patience.idle) {
            // What does not end by being told is ended.
            Some(more) if more >= self.patience.header => Verdict::Close("no request came"),
            Some(_) => Verdict::WindDown,
            None => Verdict::Keep,
        }
    }

    fn is_stalled(&mut self, pulse: &Pulse, passed: Duration) -> bool {
        let written = pulse.written.load(Relaxed);
        let for_the_client = pulse.answering.load(Relaxed) > pulse.awaited.load(Relaxed);
        let has_progress = written - self.stalled.1 >= LEAST_PROGRESS;
        if has_progress || !(for_the_client || pulse.blocked.load(Relaxed)) {
            self.stalled = (Duration::ZERO, written);
            return false;
        }
        self.stalled.0 += passed;
        self.stalled.0 >= self.patience_with(written)
    }

    /// A full socket has room again only when a third of it is empty, so what the client took until then is not seen.
    /// The buffer is at most as large as what was ever written.
    fn patience_with(&self, written: u64) -> Duration {
        let unseen = written.min(SOCKET_BUFFER) / 3;
        let stall = self.patience.stall;
        let eighths = u32::try_from(unseen * 8 / EXPECTED_PROGRESS).unwrap_or(u32::MAX);
        stall + stall * eighths / 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::pulse::{Paced, UnderWay};
    use axum::body::Body;
    use std::sync::Arc;

    const PATIENCE: Patience = Patience {
        header: Duration::from_secs(30),
        idle: Duration::from_mins(2),
        stall: Duration::from_mins(1),
    };
    const STEP: Duration = Duration::from_secs(5);

    /// Looks every five seconds until something is to be done, at most an hour; gives the seconds, too.
    fn until_told(watch: &mut Watch, pulse: &Pulse, mut between: impl FnMut(&Pulse)) -> Option<(u64, Verdict)> {
        (1..=720).find_map(|look| {
            between(pulse);
            let verdict = watch.look(pulse, STEP);
            (verdict != Verdict::Keep).then_some((look * 5, verdict))
        })
    }

    fn quiet(_: &Pulse) {}

    #[test]
    fn a_connection_without_a_request_is_closed_whatever_it_sends() {
        let pulse = Pulse::default();
        let trickle = |pulse: &Pulse| {
            pulse.read.fetch_add(1, Relaxed);
        };

        let told = until_told(&mut Watch::new(PATIENCE), &pulse, trickle);

        assert_eq!(told, Some((30, Verdict::Close("no request came in time"))));
    }

    #[test]
    fn an_idle_connection_is_wound_down_and_then_closed() {
        let pulse = Arc::new(Pulse::default());
        let mut watch = Watch::new(PATIENCE);
        drop(UnderWay::begin(&pulse, http::Version::HTTP_11));
        watch.look(&pulse, STEP);

        assert_eq!(until_told(&mut watch, &pulse, quiet), Some((120, Verdict::WindDown)));
        for _ in 0..5 {
            assert_eq!(watch.look(&pulse, STEP), Verdict::WindDown);
        }
        assert_eq!(watch.look(&pulse, STEP), Verdict::Close("no request came"));
    }

    #[test]
    fn a_later_head_that_trickles_in_is_not_waited_for_longer_than_the_first() {
        let pulse = Arc::new(Pulse::default());
        let mut watch = Watch::new(PATIENCE);
        drop(UnderWay::begin(&pulse, http::Version::HTTP_11));
        watch.look(&pulse, STEP);

        let told = until_told(&mut watch, &pulse, |pulse| {
            pulse.read.fetch_add(1, Relaxed);
        });

        assert_eq!(
            told,
            Some((30, Verdict::Close("the head of a request did not come in time")))
        );
    }

    #[test]
    fn pings_of_an_idle_http2_client_are_no_requests() {
        let pulse = Arc::new(Pulse::default());
        let mut watch = Watch::new(PATIENCE);
        drop(UnderWay::begin(&pulse, http::Version::HTTP_2));
        watch.look(&pulse, STEP);

        let told = until_told(&mut watch, &pulse, |pulse| {
            pulse.read.fetch_add(17, Relaxed);
            pulse.written.fetch_add(17, Relaxed);
        });

        assert_eq!(told, Some((120, Verdict::WindDown)));
    }

    #[test]
    fn a_request_may_take_its_time_while_the_server_works_on_it() {
        let pulse = Arc::new(Pulse::default());
        let _working = UnderWay::begin(&pulse, http::Version::HTTP_11);

        assert_eq!(until_told(&mut Watch::new(PATIENCE), &pulse, quiet), None);
    }

    #[test]
    fn an_answer_that_the_client_does_not_take_ends_the_connection() {
        let pulse = Arc::new(Pulse::default());
        let under_way = UnderWay::begin(&pulse, http::Version::HTTP_2);
        let _answer = Paced::new(Body::from("bytes"), under_way, ());
        let pings = |pulse: &Pulse| {
            pulse.written.fetch_add(17, Relaxed);
        };

        let told = until_told(&mut Watch::new(PATIENCE), &pulse, pings);

        assert_eq!(told, Some((60, Verdict::Close("the client did not take its answer"))));
    }

    #[test]
    fn an_answer_that_is_taken_slowly_goes_on() {
        let pulse = Arc::new(Pulse::default());
        let under_way = UnderWay::begin(&pulse, http::Version::HTTP_11);
        let _answer = Paced::new(Body::from("bytes"), under_way, ());
        pulse.blocked.store(true, Relaxed);

        let told = until_told(&mut Watch::new(PATIENCE), &pulse, |pulse| {
            pulse.written.fetch_add(500, Relaxed);
        });

        assert_eq!(told, None);
    }

    #[test]
    fn a_client_that_waits_for_our_storage_is_not_blamed() {
        let pulse = Arc::new(Pulse::default());
        let under_way = UnderWay::begin(&pulse, http::Version::HTTP_11);
        let stuck = Body::from_stream(futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
        let mut answer = Paced::new(stuck, under_way, ());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(http_body::Body::poll_frame(std::pin::Pin::new(&mut answer), &mut context).is_pending());

        assert_eq!(until_told(&mut Watch::new(PATIENCE), &pulse, quiet), None);
    }

    #[test]
    fn what_a_large_socket_buffer_hides_is_waited_for() {
        let pulse = Arc::new(Pulse::default());
        drop(UnderWay::begin(&pulse, http::Version::HTTP_11));
        pulse.blocked.store(true, Relaxed);
        pulse.written.store(100 * SOCKET_BUFFER, Relaxed);
        let mut watch = Watch::new(PATIENCE);
        watch.look(&pulse, STEP);

        let told = until_told(&mut watch, &pulse, quiet);

        assert_eq!(told, Some((220, Verdict::Close("the client did not take its answer"))));
    }

    #[test]
    fn the_rest_of_an_answer_in_a_full_socket_counts_as_a_stall() {
        let pulse = Arc::new(Pulse::default());
        drop(UnderWay::begin(&pulse, http::Version::HTTP_11));
        pulse.blocked.store(true, Relaxed);

        let told = until_told(&mut Watch::new(PATIENCE), &pulse, quiet);

        assert_eq!(told, Some((60, Verdict::Close("the client did not take its answer"))));
    }
}
