//! A client: it draws what to do next, does it over HTTP, and writes down every request with its end.
//!
//! - `ask`: one request, from the choice of a replica to the record.
//! - `judged`: what came back, held against the library (O1).
//! - `push`, `pull`, `removal`, `undelete`, `listing`: the things that a client does.

mod ask;
mod judged;
mod listing;
mod pull;
mod push;
mod removal;
mod undelete;

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use super::{
    history::{Recorder, RepositoryId, Session, Tag},
    library::Library,
    random::Random,
};
use crate::conformance::client::Client;

/// A server that does not answer for so long is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the clients share.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) library: Library,
    pub(super) recorder: Recorder,
    /// Where the replicas listen.
    pub(super) hosts: Vec<String>,
    /// Where they take orders.
    pub(super) admins: Vec<String>,
    /// The secret that signs those.
    pub(super) secret: &'static str,
    /// How often each replica has been started.
    pub(super) lives: Vec<AtomicU64>,
    /// How many repositories there are.
    pub(super) repositories: usize,
    /// Tags that every client uses; each has some of its own behind them.
    pub(super) shared_tags: usize,
    /// The number of the next upload session.
    pub(super) sessions: AtomicU64,
    /// The clients are to end.
    pub(super) over: AtomicBool,
}

/// Tags that only one client uses.
pub(super) const OWN_TAGS: usize = 1;

impl Ground {
    fn session(&self) -> Session {
        self.sessions.fetch_add(1, Ordering::SeqCst)
    }

    /// Every tag that `clients` clients use.
    pub(super) fn tags(&self, clients: usize) -> impl Iterator<Item = Tag> + use<> {
        (0..self.shared_tags + clients * OWN_TAGS).map(Tag)
    }

    /// Every repository.
    pub(super) fn repositories(&self) -> impl Iterator<Item = RepositoryId> + use<> {
        (0..self.repositories).map(RepositoryId)
    }
}

/// One client.
#[derive(Debug)]
pub(super) struct Player<'g> {
    number: usize,
    ground: &'g Ground,
    random: Random,
    /// One for each replica.
    clients: Vec<Client>,
    /// One for each replica's management API.
    admins: Vec<Client>,
}

impl<'g> Player<'g> {
    pub(super) fn new(number: usize, ground: &'g Ground, seed: u64) -> Self {
        let client = |host: &String| Client::new(host).without_redirects().with_patience(PATIENCE);
        Self {
            number,
            ground,
            random: Random::new(seed, number as u64 + 1),
            clients: ground.hosts.iter().map(client).collect(),
            admins: ground.admins.iter().map(client).collect(),
        }
    }

    /// Does one thing after the other until it is to end.
    pub(super) fn play(mut self) {
        while !self.ground.over.load(Ordering::SeqCst) {
            self.act();
            let pause = self.random.between(5, 60);
            thread::sleep(Duration::from_millis(pause));
        }
    }

    fn act(&mut self) {
        let repository = self.repository();
        match self.random.below(100) {
            0..24 => self.push_root(repository),
            24..32 => self.push_referrer(repository),
            32..54 => self.pull(repository),
            54..62 => self.move_tag(repository),
            62..71 => self.delete_tag(repository),
            71..76 => self.delete_manifest(repository),
            76..81 => self.delete_blob(repository),
            81..85 => self.undelete(repository),
            85..90 => self.list_tags(repository),
            90..97 => self.list_referrers(repository),
            _ => self.break_off(repository),
        }
    }

    fn repository(&mut self) -> RepositoryId {
        RepositoryId(self.random.below(self.ground.repositories))
    }

    /// A tag that others use too, or one that nobody else uses.
    fn tag(&mut self) -> Tag {
        let own = self.ground.shared_tags + self.number * OWN_TAGS + self.random.below(OWN_TAGS);
        let shared = self.random.below(self.ground.shared_tags);
        Tag(if self.random.chance(60) { shared } else { own })
    }

    /// Waits a moment, as a client does that computes something.
    fn think(&mut self, most: u64) {
        let pause = self.random.between(0, most);
        thread::sleep(Duration::from_millis(pause));
    }
}
