//! One request: a replica is chosen, the request sent, the end of it judged and written down.

use std::{sync::atomic::Ordering, thread, time::Duration};

use super::{
    super::history::{Call, Moment, Outcome, Record, RepositoryId, Seen},
    Player,
};
use crate::conformance::client::{Answer, Request};

/// Before a server that is down is asked again.
const REST: Duration = Duration::from_millis(150);

/// What a success said, and what is wrong with it.
pub(super) type Judged = (Seen, Option<String>);

/// A request and what it is in the checker's words.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) repository: RepositoryId,
    pub(super) call: Call,
    pub(super) request: Request<'a>,
}

impl Player<'_> {
    /// Sends it to any replica, and writes down how it ended. Gives the answer of a success.
    pub(super) fn ask(
        &mut self,
        asked: &Asked<'_>,
        judge: impl FnOnce(&Answer) -> Judged,
    ) -> (Outcome, Option<Answer>) {
        let replica = self.random.below(self.clients.len());
        let invoked = self.ground.recorder.now();
        let manages = matches!(asked.call, Call::UndeleteTag { .. } | Call::UndeleteManifest { .. });
        let door = if manages { &mut self.admins } else { &mut self.clients };
        let client = &mut door[replica];
        let answer = match client.reach() {
            Err(_) => Err(Outcome::NotSent),
            Ok(()) => client
                .send(&asked.request)
                .map_err(|error| Outcome::Unknown(format!("{error:#}"))),
        };
        let (outcome, wrong, answer) = match answer {
            Err(outcome) => (outcome, None, None),
            Ok(answer) if answer.status < 400 => {
                let (seen, wrong) = judge(&answer);
                (Outcome::Done(seen), wrong, Some(answer))
            }
            Ok(answer) => (failure(&answer), None, None),
        };
        self.record((replica, invoked), asked, (outcome.clone(), wrong));
        if matches!(outcome, Outcome::NotSent | Outcome::Unknown(_)) {
            thread::sleep(REST);
        }
        (outcome, answer)
    }

    /// Sends the head and a part of the body to any replica, and hangs up.
    pub(super) fn hang_up(&mut self, asked: &Asked<'_>, bytes: usize) {
        let replica = self.random.below(self.clients.len());
        let invoked = self.ground.recorder.now();
        let sent = self.clients[replica].hang_up_after(&asked.request, bytes);
        let outcome = match sent {
            Ok(()) => Outcome::Unknown(format!("hung up after {bytes} bytes")),
            Err(error) => Outcome::Unknown(format!("{error:#}")),
        };
        self.record((replica, invoked), asked, (outcome, None));
    }

    /// The life of now: a request that has just ended met this one, or one before.
    pub(super) fn life(&self, replica: usize) -> u64 {
        self.ground.lives[replica].load(Ordering::SeqCst)
    }

    fn record(
        &self,
        (replica, invoked): (usize, Moment),
        asked: &Asked<'_>,
        (outcome, wrong): (Outcome, Option<String>),
    ) {
        self.ground.recorder.add(Record {
            client: self.number,
            replica,
            life: self.life(replica),
            repository: asked.repository,
            call: asked.call,
            invoked,
            completed: self.ground.recorder.now(),
            outcome,
            wrong,
        });
    }
}

/// From 500 on the server says itself that it does not know.
pub(super) fn failure(answer: &Answer) -> Outcome {
    let errors = answer.json();
    if answer.status >= 500 {
        return Outcome::Unknown(format!("{} {}", answer.status, answer.code()));
    }
    let named = errors["errors"].as_array().map_or(&[][..], Vec::as_slice);
    let missing = named.iter().filter_map(|error| error["detail"]["digest"].as_str());
    Outcome::Refused {
        status: answer.status,
        code: answer.code(),
        missing: missing.map(str::to_owned).collect(),
    }
}

/// Nothing in the answer matters.
pub(super) fn unjudged(_: &Answer) -> Judged {
    (Seen::Nothing, None)
}
