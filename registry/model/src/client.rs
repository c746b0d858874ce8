//! Clients: a script each, one effect at a time.

use crate::flaw::Flaw;
use crate::rows::{Blob, Key, Link, Manifest, Rows, Session, Subject, Tag};
use crate::state::{Protocol, State};

/// What a client does as one request, or as the few that make an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Uploads a blob under a key of its own.
    Upload(Link, Key),
    /// Asks whether the blob is there; where it is not, what comes next is done, else passed over.
    Head(Link),
    /// Asks to mount blob A; where it cannot be, what comes next is done, else passed over.
    Mount,
    /// Pushes the image, perhaps under a tag.
    PutImage(Option<Tag>),
    /// Pushes the index, perhaps under a tag.
    PutIndex(Option<Tag>),
    /// Pushes the signature; the image may be missing.
    PutSignature,
    /// Deletes a tag.
    DeleteTag(Tag),
    /// Deletes a manifest by its digest.
    DeleteManifest(Manifest),
    /// Takes a blob from the repository.
    DeleteBlob(Link),
    /// Undoes the deletion of a tag, and of its manifest where that was deleted, too.
    Restore(Tag),
}

/// How far a client has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Client {
    /// At a step of an operation of its script.
    At {
        /// The operation.
        operation: u8,
        /// Its step.
        step: u8,
    },
    /// Through with its script.
    Done,
    /// Refused, with every right.
    Refused,
    /// Told "blob unknown" of what it was promised.
    Deceived,
    /// Crashed.
    Dead,
}

impl Client {
    /// At the start of its script.
    pub const START: Self = Self::At { operation: 0, step: 0 };

    /// The database forgot a transaction that had begun.
    pub(crate) fn loses_its_transaction(&mut self, script: &[Operation]) {
        if let Self::At { operation, step } = self
            && matches!(
                script[usize::from(*operation)],
                Operation::PutImage(_) | Operation::PutIndex(_)
            )
        {
            *step = 0;
        }
    }

    /// Whether it does anything more.
    pub fn is_active(self) -> bool {
        matches!(self, Self::At { .. })
    }
}

/// What came of a step.
enum Outcome {
    /// The next step of the operation.
    Step,
    /// The operation is done.
    Next,
    /// The operation is done, and so is the next one.
    Skip,
    /// Back to the first step.
    Again,
    /// The end of this client.
    End(Client),
    /// A lock or nothing to do: somebody else must go first.
    Wait,
}

impl Protocol {
    /// The next effect of a client, if nothing is in its way.
    pub(crate) fn client_steps(&self, state: &mut State, client: usize) -> bool {
        let Client::At { operation, step } = state.clients[client] else {
            return false;
        };
        let script = self.scenario.scripts[client];
        let outcome = match script[usize::from(operation)] {
            Operation::Upload(link, key) => self.upload(state, (link, key), step),
            Operation::Head(link) => self.head(state, link, step),
            Operation::Mount => self.mount(state),
            Operation::PutImage(tag) => self.put_image(state, tag, step),
            Operation::PutIndex(tag) => self.put_index(state, tag, step),
            Operation::PutSignature => self.put_signature(state),
            Operation::DeleteTag(tag) => self.delete_tag(state, tag),
            Operation::DeleteManifest(manifest) => self.delete_manifest(state, manifest),
            Operation::DeleteBlob(link) => self.delete_blob(state, link),
            Operation::Restore(tag) => self.restore(state, tag, step),
        };
        let at = |operation: u8, step| {
            if usize::from(operation) < script.len() {
                Client::At { operation, step }
            } else {
                Client::Done
            }
        };
        state.clients[client] = match outcome {
            Outcome::Step => at(operation, step + 1),
            Outcome::Next => at(operation + 1, 0),
            Outcome::Skip => at(operation + 2, 0),
            Outcome::Again => at(operation, 0),
            Outcome::End(end) => end,
            Outcome::Wait => return false,
        };
        true
    }

    /// Session, bytes, commit.
    fn upload(&self, state: &mut State, (link, key): (Link, Key), step: u8) -> Outcome {
        let bytes_first = self.has(Flaw::BytesBeforeSession);
        let object = self.object(link.blob(), key);
        let session = usize::from(key);
        match (step, bytes_first) {
            (0, false) | (1, true) => {
                state.rows.sessions[session] = Session::Open;
                Outcome::Step
            }
            (0, true) | (1, false) => {
                state.store = state.store.with(object);
                Outcome::Step
            }
            (2, _) => self.finish(state, (link, object), session),
            _ => {
                state.rows.review([Subject::Link(link)]);
                self.promise(state, link);
                Outcome::Next
            }
        }
    }

    /// One transaction: the session's end, the blob or a tombstone for our copy of it, link, lease, review.
    fn finish(&self, state: &mut State, (link, object): (Link, Key), session: usize) -> Outcome {
        if self.locked(state, Subject::Blob(link.blob())) || self.locked(state, Subject::Link(link)) {
            return Outcome::Wait;
        }
        if state.rows.sessions[session] != Session::Open && !self.has(Flaw::SessionNotClaimed) {
            return Outcome::End(Client::Refused);
        }
        state.rows.sessions[session] = Session::Done;
        let blob = link.blob() as usize;
        match state.rows.blobs[blob] {
            None => state.rows.blobs[blob] = Some(object),
            Some(first) if first == object || self.has(Flaw::DuplicateNotBuried) => {}
            Some(_) => state.rows.tombstones = state.rows.tombstones.with(object),
        }
        if self.has(Flaw::PromiseInSecondCommit) {
            state.rows.links = state.rows.links.with(link);
            return Outcome::Step;
        }
        self.grant(state, link);
        Outcome::Next
    }

    /// HEAD by who may push: a promise, made under locks that a collector waits for.
    fn head(&self, state: &mut State, link: Link, step: u8) -> Outcome {
        let unlocked = self.has(Flaw::PromiseUnlocked);
        if !unlocked && (self.link_held(state, link) || self.locked(state, Subject::Blob(link.blob()))) {
            return Outcome::Wait;
        }
        if step == 0 {
            if !state.rows.links.has(link) {
                return Outcome::Next;
            }
            if unlocked {
                return Outcome::Step;
            }
        }
        self.promise(state, link);
        Outcome::Skip
    }

    fn mount(&self, state: &mut State) -> Outcome {
        let blob = Link::A.blob();
        if self.locked(state, Subject::Blob(blob)) || self.link_held(state, Link::A) {
            return Outcome::Wait;
        }
        let rows = &state.rows;
        if rows.blobs[blob as usize].is_none() || rows.links.both(blob.links()).is_empty() {
            return Outcome::Next;
        }
        // A link that a collector is about to delete is still there for an insertion that does nothing on conflict.
        if state.rows.links.has(Link::A) {
            self.promise(state, Link::A);
            state.rows.review([Subject::Link(Link::A)]);
        } else {
            self.grant(state, Link::A);
        }
        Outcome::Skip
    }

    /// A link, a promise, and a review for when nothing comes of it.
    fn grant(&self, state: &mut State, link: Link) {
        state.rows.links = state.rows.links.with(link);
        state.rows.review([Subject::Link(link)]);
        self.promise(state, link);
    }

    fn promise(&self, state: &mut State, link: Link) {
        state.words = state.words.with(link);
        if !self.has(Flaw::NoLease) {
            state.rows.leases = state.rows.leases.with(link);
        }
    }

    /// Looks, then writes: what was seen may be gone, and the foreign keys say so.
    fn put_image(&self, state: &mut State, tag: Option<Tag>, step: u8) -> Outcome {
        let lacking = self.scenario.image.less(state.rows.links);
        if step == 0 {
            return if lacking.is_empty() {
                Outcome::Step
            } else if state.words.both(lacking).is_empty() {
                Outcome::End(Client::Refused)
            } else {
                Outcome::End(Client::Deceived)
            };
        }
        let held = |link: &Link| self.scenario.image.has(*link) && self.locked(state, Subject::Link(*link));
        if Link::ALL.iter().any(held) || self.locked(state, Subject::Manifest(Manifest::Image)) {
            return Outcome::Wait;
        }
        if !lacking.is_empty() && !self.has(Flaw::ExistenceCached) {
            return Outcome::Again;
        }
        state.rows.manifests = state.rows.manifests.with(Manifest::Image);
        // One that was deleted is there again when it is pushed again.
        state.rows.hidden = state.rows.hidden.without(Manifest::Image);
        self.name(state, Manifest::Image, tag)
    }

    /// Looks and holds the child until the commit.
    fn put_index(&self, state: &mut State, tag: Option<Tag>, step: u8) -> Outcome {
        if step == 0 {
            return if self.locked(state, Subject::Manifest(Manifest::Image)) {
                Outcome::Wait
            } else if state.rows.shown(Manifest::Image) {
                Outcome::Step
            } else {
                Outcome::End(Client::Refused)
            };
        }
        if self.locked(state, Subject::Manifest(Manifest::Index)) {
            return Outcome::Wait;
        }
        if !state.rows.shown(Manifest::Image) && !self.has(Flaw::ChildrenForgotten) {
            return Outcome::Again;
        }
        state.rows.manifests = state.rows.manifests.with(Manifest::Index);
        state.rows.hidden = state.rows.hidden.without(Manifest::Index);
        state.rows.sparse = false;
        self.name(state, Manifest::Index, tag)
    }

    fn put_signature(&self, state: &mut State) -> Outcome {
        if self.locked(state, Subject::Manifest(Manifest::Signature)) {
            return Outcome::Wait;
        }
        let rows = &mut state.rows;
        rows.manifests = rows.manifests.with(Manifest::Signature);
        rows.signed = rows.shown(Manifest::Image);
        self.name(state, Manifest::Signature, None)
    }

    fn name(&self, state: &mut State, manifest: Manifest, tag: Option<Tag>) -> Outcome {
        let rows = &mut state.rows;
        let Some(tag) = tag else {
            rows.review([Subject::Manifest(manifest)]);
            return Outcome::Next;
        };
        let displaced = rows.tags[tag as usize].replace(manifest);
        rows.acknowledged[tag as usize] = Some(manifest);
        let displaced = displaced.filter(|before| *before != manifest && !self.has(Flaw::MoveNotReviewed));
        rows.review(displaced.map(Subject::Manifest));
        Outcome::Next
    }

    fn delete_tag(&self, state: &mut State, tag: Tag) -> Outcome {
        let rows = &mut state.rows;
        rows.acknowledged[tag as usize] = None;
        let untagged = rows.tags[tag as usize].take();
        if self.scenario.retention {
            lose(rows, tag, untagged);
        } else {
            let reviewed = untagged.filter(|_| !self.has(Flaw::MoveNotReviewed));
            rows.review(reviewed.map(Subject::Manifest));
        }
        Outcome::Next
    }

    /// The tag points to its manifest again, which is shown again. Who looks holds the manifest until the commit.
    fn restore(&self, state: &mut State, tag: Tag, step: u8) -> Outcome {
        let unlocked = self.has(Flaw::RestoreUnlocked);
        let rows = &mut state.rows;
        // With the flaw it may be forgotten by now; no scenario restores another manifest than this.
        let lost = rows.lost[tag as usize].or_else(|| (step == 1).then_some(Manifest::Image));
        let Some(manifest) = lost.filter(|_| rows.tags[tag as usize].is_none()) else {
            return Outcome::Next;
        };
        if unlocked && step == 0 {
            return Outcome::Step;
        }
        if !unlocked && (self.locked(state, Subject::Manifest(manifest)) || self.referred_to(state, manifest)) {
            return Outcome::Wait;
        }
        let rows = &mut state.rows;
        rows.lost[tag as usize] = None;
        rows.hidden = rows.hidden.without(manifest);
        rows.tags[tag as usize] = Some(manifest);
        rows.acknowledged[tag as usize] = Some(manifest);
        Outcome::Next
    }

    /// Ends the time of a deleted manifest: row and lost tags go, and an index that lists it is sparse from then on.
    pub(crate) fn forget(&self, state: &mut State, manifest: Manifest) -> bool {
        let busy = self.locked(state, Subject::Manifest(manifest)) || self.referred_to(state, manifest);
        let rows = &mut state.rows;
        if busy || !rows.hidden.has(manifest) {
            return false;
        }
        rows.hidden = rows.hidden.without(manifest);
        for lost in rows.lost.iter_mut().filter(|lost| **lost == Some(manifest)) {
            *lost = None;
        }
        rows.sparse |= rows.listed(manifest);
        self.remove_manifest(rows, manifest);
        true
    }

    /// Ends the time of a deleted tag whose manifest was not deleted with it.
    pub(crate) fn forget_tag(&self, rows: &mut Rows, tag: Tag) -> bool {
        let Some(manifest) = rows.lost[tag as usize].filter(|manifest| !rows.hidden.has(*manifest)) else {
            return false;
        };
        rows.lost[tag as usize] = None;
        if !self.has(Flaw::ForgettingNotReviewed) {
            rows.review([Subject::Manifest(manifest)]);
        }
        true
    }

    /// With its tags. With a retention it is hidden; without one it goes, and an index that lists it is sparse from then on.
    fn delete_manifest(&self, state: &mut State, manifest: Manifest) -> Outcome {
        let subject = Subject::Manifest(manifest);
        if self.locked(state, subject) || self.referred_to(state, manifest) {
            return Outcome::Wait;
        }
        let rows = &mut state.rows;
        if !rows.shown(manifest) {
            return Outcome::Next;
        }
        for tag in [Tag::One, Tag::Two] {
            if rows.tags[tag as usize] == Some(manifest) {
                rows.tags[tag as usize] = None;
                rows.acknowledged[tag as usize] = None;
                if self.scenario.retention {
                    lose(rows, tag, Some(manifest));
                }
            }
        }
        if self.scenario.retention {
            rows.hidden = rows.hidden.with(manifest);
            if self.has(Flaw::DeletedLetsGo) {
                rows.review(self.named().map(Subject::Link));
            }
            return Outcome::Next;
        }
        rows.sparse |= manifest == Manifest::Image && rows.manifests.has(Manifest::Index);
        self.remove_manifest(rows, manifest);
        Outcome::Next
    }

    /// The row, and reviews of all that it named.
    pub(crate) fn remove_manifest(&self, rows: &mut Rows, manifest: Manifest) {
        rows.manifests = rows.manifests.without(manifest);
        rows.signed &= manifest == Manifest::Index;
        if self.has(Flaw::DeletionNotReviewed) {
            return;
        }
        match manifest {
            Manifest::Image => {
                rows.review(self.named().map(Subject::Link));
                if rows.manifests.has(Manifest::Signature) && !self.has(Flaw::ReferrersNotReviewed) {
                    rows.review([Subject::Manifest(Manifest::Signature)]);
                }
            }
            Manifest::Signature => rows.review([Subject::Manifest(Manifest::Image)]),
            Manifest::Index => {
                rows.sparse = false;
                rows.review([Subject::Manifest(Manifest::Image)]);
            }
        }
    }

    /// The links that the image names.
    fn named(&self) -> impl Iterator<Item = Link> {
        Link::ALL.into_iter().filter(|link| self.scenario.image.has(*link))
    }

    /// A deletion ends what was promised of the link.
    fn delete_blob(&self, state: &mut State, link: Link) -> Outcome {
        if self.locked(state, Subject::Link(link)) {
            return Outcome::Wait;
        }
        if state.rows.referenced(Subject::Link(link), self.scenario.image) || !state.rows.links.has(link) {
            return Outcome::Next;
        }
        state.words = state.words.without(link);
        state.rows.leases = state.rows.leases.without(link);
        state.rows.links = state.rows.links.without(link);
        state.rows.review([Subject::Blob(link.blob())]);
        Outcome::Next
    }

    /// Whether a promise of this link has to wait for a collector.
    fn link_held(&self, state: &State, link: Link) -> bool {
        !self.has(Flaw::LinkUnlocked) && self.locked(state, Subject::Link(link))
    }

    /// Whether a transaction that is under way is about to refer to the manifest.
    fn referred_to(&self, state: &State, manifest: Manifest) -> bool {
        manifest == Manifest::Image && self.child_held(state)
    }

    /// Whether somebody holds the image so that it can be listed.
    pub(crate) fn child_held(&self, state: &State) -> bool {
        let holds = |(client, script): (&Client, &&[Operation])| {
            let Client::At { operation, step: 1 } = client else {
                return false;
            };
            matches!(script[usize::from(*operation)], Operation::PutIndex(_))
        };
        !self.has(Flaw::ChildrenForgotten) && state.clients.iter().zip(self.scenario.scripts).any(holds)
    }

    /// The object that an upload writes to.
    pub(crate) fn object(&self, blob: Blob, key: Key) -> Key {
        match blob {
            Blob::A if self.has(Flaw::KeyReused) => 0,
            Blob::A | Blob::B => key,
        }
    }
}

/// A deleted tag can be restored. What the same tag pointed to at an earlier deletion is forgotten.
fn lose(rows: &mut Rows, tag: Tag, manifest: Option<Manifest>) {
    let Some(manifest) = manifest else { return };
    let before = rows.lost[tag as usize].replace(manifest);
    rows.review(before.filter(|before| *before != manifest).map(Subject::Manifest));
}
