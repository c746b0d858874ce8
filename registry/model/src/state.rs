//! The whole system at one moment, and every step that can come next.

use crate::client::{Client, Operation};
use crate::collector::{Collector, Reaper};
use crate::flaw::Flaw;
use crate::promise;
use crate::rows::{KEYS, Key, Link, Manifest, Rows, Set, Subject, Tag};
use crate::scenario::Scenario;
use stateright::{Model, Property};

/// A protocol, right or with one flaw, in one scenario.
#[derive(Debug, Clone, Copy)]
pub struct Protocol {
    /// Who acts.
    pub scenario: &'static Scenario,
    /// What is wrong; nothing is what Berth does.
    pub flaw: Option<Flaw>,
}

/// The most clients of a scenario.
pub const CLIENTS: usize = 3;
/// The most collectors, and the most reapers.
pub const REPLICAS: usize = 2;

/// Everything at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// The database.
    pub rows: Rows,
    /// What a database that lags behind has, while it could take the first one's place.
    pub copy: Option<Rows>,
    /// Whether a copy can still be left behind.
    pub may_lag: bool,
    /// A copy took the database's place.
    pub rolled_back: bool,
    /// The store: objects, by [`Key`].
    pub store: Set,
    /// What clients were promised of each [`Link`] and may still rely on; recorded nowhere.
    pub words: Set,
    /// By the scenario's scripts.
    pub clients: [Client; CLIENTS],
    /// Each of a replica.
    pub collectors: [Collector; REPLICAS],
    /// Each of a replica.
    pub reapers: [Reaper; REPLICAS],
}

/// One effect of one actor, or of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A client goes on.
    Client(usize),
    /// A client dies.
    ClientDies(usize),
    /// A collector takes a review up.
    CollectorTakes(usize, Subject),
    /// A collector goes on.
    Collector(usize),
    /// A collector dies and is restarted: its transaction never was.
    CollectorDies(usize),
    /// A reaper finds a tombstone.
    ReaperFinds(usize, Key),
    /// A reaper goes on.
    Reaper(usize),
    /// A reaper dies and is restarted.
    ReaperDies(usize),
    /// A session expires.
    Sweep(Key),
    /// A promise ends.
    Expire(Link),
    /// A deleted manifest cannot be restored any more.
    Forget(Manifest),
    /// A deleted tag cannot be restored any more.
    ForgetTag(Tag),
    /// The copy of the database stops to follow.
    Lag,
    /// The copy takes the database's place.
    RollBack,
}

impl Protocol {
    /// Whether this is what is wrong.
    pub fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    /// A step in words.
    pub fn tell(&self, before: &State, action: Action) -> String {
        match action {
            Action::Client(client) => self.tell_of(client, before.clients[client]),
            Action::ClientDies(client) => format!("client {client} dies"),
            Action::CollectorTakes(collector, subject) => format!("collector {collector} takes up {subject:?}"),
            Action::Collector(collector) => match before.collectors[collector] {
                Collector::Idle => format!("collector {collector} rests"),
                Collector::Looked(subject) => format!("collector {collector} locks {subject:?}"),
                Collector::Locked(subject) => format!("collector {collector} looks at {subject:?}"),
                Collector::Condemned(subject) => format!("collector {collector} deletes {subject:?}"),
                Collector::Emptied(subject) => format!("collector {collector} deletes the row of {subject:?}"),
            },
            Action::CollectorDies(collector) => format!("collector {collector} dies"),
            Action::ReaperFinds(reaper, key) => format!("reaper {reaper} finds the tombstone of object {key}"),
            Action::Reaper(reaper) => format!("reaper {reaper} goes on: {:?}", before.reapers[reaper]),
            Action::ReaperDies(reaper) => format!("reaper {reaper} dies"),
            Action::Sweep(key) => format!("the session of object {key} expires"),
            Action::Expire(link) => format!("what was promised of {link:?} ends"),
            Action::Forget(manifest) => format!("the time to restore {manifest:?} is over"),
            Action::ForgetTag(tag) => format!("the time to restore tag {tag:?} is over"),
            Action::Lag => "the copy of the database stops to follow".to_owned(),
            Action::RollBack => "the copy takes the database's place".to_owned(),
        }
    }

    fn tell_of(&self, client: usize, before: Client) -> String {
        let Client::At { operation, step } = before else {
            return format!("client {client} is at its end");
        };
        let operation = self.scenario.scripts[client][usize::from(operation)];
        let what = match operation {
            Operation::Upload(..) if self.has(Flaw::BytesBeforeSession) => {
                ["writes the bytes", "opens the session", "commits", ""]
            }
            Operation::Upload(..) => ["opens the session", "writes the bytes", "commits", "commits again"],
            Operation::Restore(_) if !self.has(Flaw::RestoreUnlocked) => ["commits", "", "", ""],
            Operation::PutImage(_) | Operation::PutIndex(_) | Operation::Restore(_) => ["looks", "commits", "", ""],
            Operation::Head(_)
            | Operation::Mount
            | Operation::PutSignature
            | Operation::DeleteTag(_)
            | Operation::DeleteManifest(_)
            | Operation::DeleteBlob(_) => ["commits", "commits", "", ""],
        };
        format!("client {client}, {operation:?}: {}", what[usize::from(step)])
    }

    fn step(&self, state: &mut State, action: Action) -> bool {
        match action {
            Action::Client(client) => self.client_steps(state, client),
            Action::ClientDies(client) => {
                let alive = state.clients[client].is_active();
                state.clients[client] = Client::Dead;
                alive
            }
            Action::CollectorTakes(collector, subject) => self.collector_takes(state, collector, subject),
            Action::Collector(collector) => self.collector_steps(state, collector),
            Action::CollectorDies(collector) => {
                let before = std::mem::take(&mut state.collectors[collector]);
                before != Collector::Idle
            }
            Action::ReaperFinds(reaper, key) => self.reaper_finds(state, reaper, key),
            Action::Reaper(reaper) => self.reaper_steps(state, reaper),
            Action::ReaperDies(reaper) => std::mem::take(&mut state.reapers[reaper]) != Reaper::Idle,
            Action::Sweep(key) => self.sweep(state, key),
            Action::Expire(link) => {
                let ends = state.words.has(link) || state.rows.leases.has(link);
                state.words = state.words.without(link);
                state.rows.leases = state.rows.leases.without(link);
                ends
            }
            Action::Forget(manifest) => self.forget(state, manifest),
            Action::ForgetTag(tag) => self.forget_tag(&mut state.rows, tag),
            Action::Lag => state.lag(),
            Action::RollBack => self.roll_back(state),
        }
    }

    /// What was not copied never was; transactions that are open are undone, and what is promised is what the copy knows.
    fn roll_back(&self, state: &mut State) -> bool {
        let Some(copy) = state.copy.take() else {
            return false;
        };
        state.rolled_back = true;
        state.words = state.words.both(copy.leases);
        state.rows = copy;
        state.collectors.fill(Collector::Idle);
        for (client, script) in state.clients.iter_mut().zip(self.scenario.scripts) {
            client.loses_its_transaction(script);
        }
        true
    }
}

impl State {
    fn lag(&mut self) -> bool {
        if !self.may_lag {
            return false;
        }
        self.may_lag = false;
        self.copy = Some(self.rows.clone());
        true
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.scenario.start()]
    }

    fn actions(&self, _state: &State, actions: &mut Vec<Action>) {
        for client in 0..self.scenario.scripts.len() {
            actions.push(Action::Client(client));
            if self.scenario.crashes {
                actions.push(Action::ClientDies(client));
            }
        }
        for collector in 0..self.scenario.collectors {
            actions.push(Action::Collector(collector));
            actions.push(Action::CollectorDies(collector));
            actions.extend(Subject::ALL.map(|subject| Action::CollectorTakes(collector, subject)));
        }
        for reaper in 0..self.scenario.reapers {
            actions.push(Action::Reaper(reaper));
            actions.push(Action::ReaperDies(reaper));
            actions.extend(KEYS.map(|key| Action::ReaperFinds(reaper, key)));
        }
        actions.extend(KEYS.map(Action::Sweep));
        actions.extend(Link::ALL.map(Action::Expire));
        if self.scenario.retention {
            actions.extend(Manifest::ALL.map(Action::Forget));
            actions.extend([Tag::One, Tag::Two].map(Action::ForgetTag));
        }
        actions.extend([Action::Lag, Action::RollBack]);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut next = last.clone();
        self.step(&mut next, action).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let always = promise::ALL.iter().map(|(name, holds)| Property::always(name, *holds));
        let sometimes = promise::COMES_ABOUT
            .iter()
            .map(|(name, happens)| Property::sometimes(name, *happens));
        always.chain(sometimes).collect()
    }
}
