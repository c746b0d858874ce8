//! Collector, reaper and sweeper: one effect at a time.

use crate::flaw::Flaw;
use crate::rows::{Key, Manifest, Rows, Session, Set, Subject};
use crate::state::{Protocol, State};

/// A collector: one review at a time, in one transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Collector {
    /// Between reviews, or restarted.
    #[default]
    Idle,
    /// Has looked before it locks: only with a flaw.
    Looked(Subject),
    /// Has the row of the subject locked.
    Locked(Subject),
    /// Has looked, in a new statement, and found nothing that keeps it.
    Condemned(Subject),
    /// Has deleted the object: only with a flaw.
    Emptied(Subject),
}

/// A reaper: one tombstone at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Reaper {
    /// Between tombstones, or restarted.
    #[default]
    Idle,
    /// Has found a tombstone that is due.
    Found(Key),
    /// Has made the first of its two effects: the object is gone.
    Halfway(Key),
}

impl Protocol {
    /// Takes up a review: locks the row of its subject.
    pub(crate) fn collector_takes(&self, state: &mut State, collector: usize, subject: Subject) -> bool {
        if state.collectors[collector] != Collector::Idle || !state.rows.reviews.has(subject) {
            return false;
        }
        // The review's own row is locked, too; others pass over it.
        let taken = state.collectors.iter().any(|other| other.subject() == Some(subject));
        let child = subject == Subject::Manifest(Manifest::Image) && self.child_held(state);
        if taken || (child && self.locks()) {
            return false;
        }
        if !state.rows.exists(subject) {
            state.rows.reviews = state.rows.reviews.without(subject);
            return true;
        }
        let looks_now = self.has(Flaw::CheckedBeforeLock) && !self.kept(&state.rows, subject);
        state.collectors[collector] = if looks_now {
            Collector::Looked(subject)
        } else {
            Collector::Locked(subject)
        };
        true
    }

    /// The next effect of a collector that has taken a review up.
    pub(crate) fn collector_steps(&self, state: &mut State, collector: usize) -> bool {
        let before = state.collectors[collector];
        let next = match before {
            Collector::Idle => return false,
            Collector::Locked(subject) if self.kept(&state.rows, subject) => {
                self.keep(&mut state.rows, subject);
                Collector::Idle
            }
            Collector::Looked(subject) | Collector::Locked(subject) => Collector::Condemned(subject),
            Collector::Condemned(subject) if self.empties(state, subject) => Collector::Emptied(subject),
            Collector::Condemned(subject) | Collector::Emptied(subject) => {
                self.delete(&mut state.rows, subject);
                Collector::Idle
            }
        };
        state.collectors[collector] = next;
        true
    }

    /// Whether anything keeps the subject: looked up in a statement after the lock.
    fn kept(&self, rows: &Rows, subject: Subject) -> bool {
        let forgotten = self.has(Flaw::ChildrenForgotten);
        let referenced = match subject {
            Subject::Manifest(manifest) if forgotten => rows.tagged(manifest),
            Subject::Manifest(manifest) if self.has(Flaw::DeletionNotSeen) => {
                rows.tagged(manifest) || rows.listed(manifest)
            }
            Subject::Manifest(manifest) if rows.hidden.has(manifest) => true,
            Subject::Link(link) if self.lets_go(rows) => !rows.exists(Subject::Link(link)),
            Subject::Manifest(_) | Subject::Link(_) | Subject::Blob(_) => rows.referenced(subject, self.scenario.image),
        };
        let attached = rows.attached(subject) && !self.has(Flaw::SubjectNotSeen);
        referenced || attached || (rows.promised(subject) && !self.has(Flaw::LeaseNotChecked))
    }

    /// What a manifest or a link keeps is reviewed again when that goes; what only a promise keeps, when it has ended.
    fn keep(&self, rows: &mut Rows, subject: Subject) {
        let put_off = !rows.referenced(subject, self.scenario.image) && rows.promised(subject);
        if !put_off || self.has(Flaw::ReviewDropped) {
            rows.reviews = rows.reviews.without(subject);
        }
    }

    /// With the flaw, a manifest that was deleted keeps nothing.
    fn lets_go(&self, rows: &Rows) -> bool {
        self.has(Flaw::DeletedLetsGo) && rows.hidden.has(Manifest::Image)
    }

    fn empties(&self, state: &mut State, subject: Subject) -> bool {
        let Subject::Blob(blob) = subject else {
            return false;
        };
        if !self.has(Flaw::StorageDeletedFirst) {
            return false;
        }
        if let Some(key) = state.rows.blobs[blob as usize] {
            state.store = state.store.without(key);
        }
        true
    }

    /// Row, tombstone, reviews of what it referred to, the review itself: one commit. Where a foreign key holds the row
    /// nothing of it happens.
    fn delete(&self, rows: &mut Rows, subject: Subject) {
        let cascades = self.has(Flaw::CheckThenCascade);
        let blind = cascades
            || self.has(Flaw::ChildrenForgotten)
            || self.has(Flaw::ExistenceCached)
            || self.has(Flaw::DeletionNotSeen)
            || self.lets_go(rows);
        if !rows.exists(subject) || (rows.referenced(subject, self.scenario.image) && !blind) {
            return;
        }
        rows.reviews = rows.reviews.without(subject);
        match subject {
            Subject::Manifest(manifest) => {
                let signed = rows.signed;
                rows.hidden = rows.hidden.without(manifest);
                if cascades {
                    for target in rows.tags.iter_mut().filter(|target| **target == Some(manifest)) {
                        *target = None;
                    }
                }
                self.remove_manifest(rows, manifest);
                // Nobody asked for a signature to go.
                rows.signed = signed && rows.manifests.has(Manifest::Image);
            }
            Subject::Link(link) => {
                rows.links = rows.links.without(link);
                rows.review([Subject::Blob(link.blob())]);
            }
            Subject::Blob(blob) => {
                let key = rows.blobs[blob as usize].take();
                let buried = key.filter(|_| !self.has(Flaw::StorageDeletedFirst));
                rows.tombstones = buried.into_iter().fold(rows.tombstones, Set::with);
            }
        }
    }

    /// Finds a tombstone after its time: no write to the object can be under way any more, and every copy of the database
    /// that could take its place has the tombstone.
    pub(crate) fn reaper_finds(&self, state: &mut State, reaper: usize, key: Key) -> bool {
        if state.reapers[reaper] != Reaper::Idle || !state.rows.tombstones.has(key) {
            return false;
        }
        let written_late = self.writes(state, key) && !self.has(Flaw::NoQuarantine);
        let lags = |copy: &Rows| !copy.tombstones.has(key) && !self.has(Flaw::LagIgnored);
        if written_late || state.copy.as_ref().is_some_and(lags) {
            return false;
        }
        state.reapers[reaper] = Reaper::Found(key);
        true
    }

    /// Object, then row.
    pub(crate) fn reaper_steps(&self, state: &mut State, reaper: usize) -> bool {
        let row_first = self.has(Flaw::TombstoneDroppedFirst);
        state.reapers[reaper] = match state.reapers[reaper] {
            Reaper::Idle => return false,
            Reaper::Found(key) if row_first => {
                state.rows.tombstones = state.rows.tombstones.without(key);
                Reaper::Halfway(key)
            }
            Reaper::Found(key) => {
                state.store = state.store.without(key);
                Reaper::Halfway(key)
            }
            Reaper::Halfway(key) if row_first => {
                state.store = state.store.without(key);
                Reaper::Idle
            }
            Reaper::Halfway(key) => {
                state.rows.tombstones = state.rows.tombstones.without(key);
                Reaper::Idle
            }
        };
        true
    }

    /// Ends a session that nobody used in time; time is the adversary's.
    pub(crate) fn sweep(&self, state: &mut State, key: Key) -> bool {
        let session = &mut state.rows.sessions[usize::from(key)];
        if *session != Session::Open {
            return false;
        }
        *session = Session::Aborted;
        let blob = self.scenario.blob_of(key);
        state.rows.tombstones = state.rows.tombstones.with(self.object(blob, key));
        true
    }

    /// Whether somebody can still write to this object.
    fn writes(&self, state: &State, key: Key) -> bool {
        let clients = state.clients.iter().zip(self.scenario.scripts);
        clients
            .into_iter()
            .any(|(client, script)| self.scenario.is_before_its_write(*client, script, key))
    }

    fn locks(&self) -> bool {
        !self.has(Flaw::CheckThenCascade)
    }

    /// Whether a collector holds the row, so that whoever wants to refer to it waits.
    pub(crate) fn locked(&self, state: &State, subject: Subject) -> bool {
        let holds =
            |collector: &Collector| collector.subject() == Some(subject) && *collector != Collector::Looked(subject);
        self.locks() && state.collectors.iter().any(holds)
    }
}

impl Collector {
    /// What it has taken up.
    pub fn subject(self) -> Option<Subject> {
        match self {
            Self::Idle => None,
            Self::Looked(subject) | Self::Locked(subject) | Self::Condemned(subject) | Self::Emptied(subject) => {
                Some(subject)
            }
        }
    }
}
