//! O10: an upload session stands where its client was told it stands, whichever replica is asked.
//!
//! One client writes to a session, one request at a time. A chunk is kept whole or not at all.

use std::collections::BTreeMap;

use super::{
    super::history::{Call, Outcome, Record, Seen, Session},
    Checker, Violation,
};

const ORACLE: &str = "O10 sessions";

pub(super) fn check(checker: &Checker<'_>) -> Vec<Violation> {
    let mut sessions: BTreeMap<Session, Standing> = BTreeMap::new();
    let mut violations = Vec::new();
    for (place, record) in checker.records() {
        if let Some((session, offset)) = opened(record) {
            sessions.insert(session, Standing::at(offset));
            continue;
        }
        let Some(standing) = record.call.session().and_then(|session| sessions.get_mut(&session)) else {
            continue;
        };
        if let Some(wrong) = standing.take(record) {
            violations.push(Violation::new(ORACLE, format!("{wrong}: {record}"), &[place]));
        }
    }
    violations
}

fn opened(record: &Record) -> Option<(Session, usize)> {
    match (record.call, &record.outcome) {
        (Call::OpenUpload { session }, Outcome::Done(_)) => Some((session, 0)),
        (Call::Mount { .. }, Outcome::Done(Seen::Opened(session))) => Some((*session, 0)),
        _ => None,
    }
}

/// Where a session may stand.
#[derive(Debug)]
struct Standing {
    /// Offsets that are possible.
    offsets: Vec<usize>,
    /// It has ended, or may have.
    ended: bool,
}

impl Standing {
    fn at(offset: usize) -> Self {
        Self {
            offsets: vec![offset],
            ended: false,
        }
    }

    /// Goes on to where the session stands after the request; says what is wrong with the answer.
    fn take(&mut self, record: &Record) -> Option<String> {
        let ends = matches!(record.call, Call::Finish { .. } | Call::CancelUpload { .. });
        match (&record.outcome, record.call) {
            (Outcome::Refused { status: 404, .. }, _) if !self.ended => {
                return Some("a session that nobody has ended is unknown".to_owned());
            }
            (Outcome::Done(_) | Outcome::Unknown(_), _) if ends => self.ended = true,
            (Outcome::Unknown(_), Call::Chunk { to, .. }) => self.offsets.push(to),
            (Outcome::Done(Seen::Offset(told)), Call::Chunk { to, .. }) => {
                self.offsets = vec![to];
                return (*told != to).then(|| format!("{told} bytes are stored in place of {to}"));
            }
            // What may still be under way comes later, or never; the end of an upload brings bytes, too.
            (Outcome::Done(Seen::Offset(told)), Call::AskUpload { .. }) => {
                let wrong = !self.ended && !self.offsets.contains(told);
                return wrong.then(|| format!("{told} bytes are stored in place of {:?}", self.offsets));
            }
            (Outcome::Done(_) | Outcome::Unknown(_) | Outcome::Refused { .. } | Outcome::NotSent, _) => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            super::{
                history::{Moment, tests::ByHand},
                library::BlobId,
            },
            tests::broken,
        },
        *,
    };

    const OPEN: Call = Call::OpenUpload { session: 1 };
    const ASK: Call = Call::AskUpload { session: 1 };

    fn chunk(to: usize) -> Call {
        Call::Chunk { session: 1, to }
    }

    fn at(history: ByHand, times: (Moment, Moment), call: Call, offset: usize) -> ByHand {
        history.call(times, call, Outcome::Done(Seen::Offset(offset)))
    }

    #[test]
    fn a_session_that_stands_where_it_was_told_is_right() {
        let history = at(ByHand::default().done((1, 2), OPEN), (3, 4), chunk(5), 5);
        let whole = at(history, (5, 6), ASK, 5).unknown((7, 8), chunk(9));

        assert!(broken(&at(whole, (9, 10), ASK, 9)).is_empty());
    }

    #[test]
    fn stored_bytes_that_another_replica_does_not_know_are_found() {
        let history = at(ByHand::default().done((1, 2), OPEN), (3, 4), chunk(5), 5);

        assert_eq!(broken(&at(history, (5, 6), ASK, 0)), [ORACLE]);
    }

    #[test]
    fn half_a_chunk_is_found() {
        let history = ByHand::default().done((1, 2), OPEN).unknown((3, 4), chunk(5));

        assert_eq!(broken(&at(history, (5, 6), ASK, 3)), [ORACLE]);
    }

    #[test]
    fn a_session_that_is_unknown_before_its_end_is_found() {
        let finish = Call::Finish {
            session: Some(1),
            blob: BlobId(0),
        };
        let lost = ByHand::default().done((1, 2), OPEN).refused((3, 4), ASK, 404);
        let ended = ByHand::default()
            .done((1, 2), OPEN)
            .unknown((3, 4), finish)
            .refused((5, 6), ASK, 404);

        assert_eq!(broken(&lost), [ORACLE]);
        assert!(broken(&ended).is_empty());
    }
}
