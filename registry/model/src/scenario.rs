//! Who acts: the right protocol is explored in each of these, and each flaw shows in one.

use crate::client::{Client, Operation};
use crate::collector::{Collector, Reaper};
use crate::rows::{Blob, Key, Link, Manifest, Rows, Set, Subject, Tag};
use crate::state::{REPLICAS, State};

/// A script: what a client does, in order.
pub type Script = &'static [Operation];

/// The actors and what is there when they begin.
#[derive(Debug)]
pub struct Scenario {
    /// In a word or two.
    pub name: &'static str,
    /// What the image names: [`Link`]s.
    pub image: Set,
    /// One for each client.
    pub scripts: &'static [Script],
    /// How many replicas collect.
    pub collectors: usize,
    /// How many replicas reap.
    pub reapers: usize,
    /// Whether clients may die; collectors and reapers may always.
    pub crashes: bool,
    /// Whether the database may be replaced by a copy that lags behind.
    pub rollback: bool,
    /// Whether what is deleted can be restored for a while.
    pub retention: bool,
    /// What is there at the start.
    pub start: Start,
}

/// What is there at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Nothing.
    Empty,
    /// Blob A, in the other repository, where nothing names it: its link is up for review.
    Elsewhere,
    /// Blob A, in the repository, where nothing names it: its link is up for review.
    Unnamed,
    /// The image under tag one; it names blob A only.
    Tagged,
}

use Operation::{
    DeleteBlob, DeleteManifest, DeleteTag, Head, Mount, PutImage, PutIndex, PutSignature, Restore, Upload,
};
const ONE: Option<Tag> = Some(Tag::One);
const TWO: Option<Tag> = Some(Tag::Two);

/// A client that asks first, for what may be there, and pushes an image of both blobs.
const PUSH_BOTH: Script = &[Head(Link::A), Upload(Link::A, 1), Upload(Link::B, 2), PutImage(ONE)];

const fn only(link: Link) -> Set {
    Set::one(link as u8)
}

/// What the scenarios have in common.
const PLAIN: Scenario = Scenario {
    name: "",
    image: only(Link::A),
    scripts: &[],
    collectors: 1,
    reapers: 1,
    crashes: false,
    rollback: false,
    retention: false,
    start: Start::Tagged,
};

/// All scenarios.
pub static ALL: [&Scenario; 11] = [
    &TWO_PUSHES,
    &MOUNT_AND_INDEX,
    &TWO_BLOBS,
    &THERE_AND_BACK,
    &PUSHED_AGAIN,
    &LAGGING,
    &EVERYTHING,
    &EVERYTHING_LAGGING,
    &UNDELETED,
    &UNDELETED_LAGGING,
    &SIGNED,
];

/// One blob, asked for, uploaded twice and promised while its link is under review.
pub static TWO_PUSHES: Scenario = Scenario {
    name: "two pushes of one image",
    scripts: &[
        &[Upload(Link::A, 1), PutImage(ONE)],
        &[Head(Link::A), Upload(Link::A, 2), PutImage(TWO)],
    ],
    collectors: 2,
    crashes: true,
    start: Start::Unnamed,
    ..PLAIN
};

/// A mount and an index, and somebody who deletes all of it.
pub static MOUNT_AND_INDEX: Scenario = Scenario {
    name: "mount, index, deletions",
    scripts: &[
        &[Mount, Upload(Link::A, 1), PutImage(ONE), PutIndex(TWO)],
        &[
            DeleteTag(Tag::One),
            DeleteTag(Tag::Two),
            DeleteManifest(Manifest::Image),
        ],
    ],
    collectors: 2,
    reapers: 2,
    crashes: true,
    start: Start::Elsewhere,
    ..PLAIN
};

/// An image of both blobs.
pub static TWO_BLOBS: Scenario = Scenario {
    name: "two blobs, an index, two tags",
    image: both(),
    scripts: &[PUSH_BOTH, &[PutIndex(TWO), DeleteTag(Tag::One), PutImage(TWO)]],
    collectors: 1,
    crashes: true,
    start: Start::Unnamed,
    ..PLAIN
};

/// Tags that move from the image to the index and back.
pub static THERE_AND_BACK: Scenario = Scenario {
    name: "a tag there and back",
    scripts: &[
        &[PutIndex(ONE), PutImage(ONE)],
        &[PutIndex(TWO), DeleteTag(Tag::Two), DeleteManifest(Manifest::Index)],
        &[Head(Link::A), Upload(Link::A, 1), PutImage(TWO)],
    ],
    collectors: 2,
    ..PLAIN
};

/// A blob that goes and comes back under another key.
pub static PUSHED_AGAIN: Scenario = Scenario {
    name: "a blob deleted and pushed again",
    scripts: &[
        &[DeleteManifest(Manifest::Image), DeleteBlob(Link::A)],
        &[Upload(Link::A, 1), PutImage(ONE)],
        &[Mount, Upload(Link::A, 2), PutImage(TWO)],
    ],
    collectors: 1,
    crashes: true,
    ..PLAIN
};

/// Pushes and a deletion, some of which the copy does not have.
pub static LAGGING: Scenario = Scenario {
    name: "a database that lags behind",
    scripts: &[
        &[DeleteTag(Tag::One), Upload(Link::A, 1), PutImage(ONE)],
        &[Head(Link::A), Upload(Link::A, 2), PutImage(TWO)],
    ],
    collectors: 1,
    rollback: true,
    ..PLAIN
};

/// All kinds of requests, and all kinds of deaths.
pub static EVERYTHING: Scenario = Scenario {
    name: "everything at once",
    image: both(),
    scripts: &[
        PUSH_BOTH,
        &[Mount, Upload(Link::A, 3), PutIndex(TWO)],
        &[DeleteTag(Tag::One), DeleteManifest(Manifest::Image)],
    ],
    collectors: 1,
    crashes: true,
    start: Start::Elsewhere,
    ..PLAIN
};

/// All kinds of requests, and a copy.
pub static EVERYTHING_LAGGING: Scenario = Scenario {
    name: "push, mount, index, and a database that lags behind",
    scripts: &[
        &[Upload(Link::A, 1), PutImage(ONE)],
        &[Mount, Upload(Link::A, 2), PutIndex(TWO)],
        &[DeleteTag(Tag::One), DeleteManifest(Manifest::Image)],
    ],
    collectors: 1,
    rollback: true,
    start: Start::Elsewhere,
    ..PLAIN
};

/// Deletions that are undone, while others push and delete the same.
pub static UNDELETED: Scenario = Scenario {
    name: "deleted and restored",
    scripts: &[
        &[DeleteManifest(Manifest::Image), Restore(Tag::One), DeleteTag(Tag::One)],
        &[Restore(Tag::One), PutIndex(TWO), DeleteTag(Tag::Two)],
        &[DeleteTag(Tag::One), Upload(Link::A, 1), PutImage(ONE)],
    ],
    collectors: 1,
    crashes: true,
    retention: true,
    ..PLAIN
};

/// The same, some of which the copy does not have.
pub static UNDELETED_LAGGING: Scenario = Scenario {
    name: "deleted, restored, and a database that lags behind",
    scripts: &[
        &[DeleteManifest(Manifest::Image), Restore(Tag::One)],
        &[DeleteTag(Tag::One), Upload(Link::A, 1), PutImage(TWO)],
    ],
    collectors: 2,
    rollback: true,
    retention: true,
    ..PLAIN
};

/// An image that is signed while it goes and comes back.
pub static SIGNED: Scenario = Scenario {
    name: "a signature and its image",
    scripts: &[
        &[PutSignature, DeleteTag(Tag::One)],
        &[Head(Link::A), Upload(Link::A, 1), PutImage(TWO), DeleteTag(Tag::Two)],
        &[
            DeleteManifest(Manifest::Image),
            PutSignature,
            DeleteManifest(Manifest::Signature),
        ],
    ],
    collectors: 2,
    crashes: true,
    ..PLAIN
};

const fn both() -> Set {
    Set::one(Link::A as u8).plus(Link::B as u8)
}

impl Scenario {
    /// The first moment.
    pub fn start(&self) -> State {
        let mut rows = Rows::default();
        let mut store = Set::default();
        let links: &[Link] = match self.start {
            Start::Empty => &[],
            Start::Elsewhere => &[Link::Source],
            Start::Unnamed | Start::Tagged => &[Link::A],
        };
        for link in links {
            rows.links = rows.links.with(*link);
            rows.blobs[Blob::A as usize] = Some(0);
            rows.review([Subject::Link(*link)]);
            store = store.with(0_u8);
        }
        if self.start == Start::Tagged {
            rows.manifests = rows.manifests.with(Manifest::Image);
            rows.tags[0] = Some(Manifest::Image);
            rows.acknowledged = rows.tags;
        }
        State {
            rows,
            copy: None,
            may_lag: self.rollback,
            rolled_back: false,
            store,
            words: Set::default(),
            clients: std::array::from_fn(|client| {
                let takes_part = client < self.scripts.len();
                if takes_part { Client::START } else { Client::Done }
            }),
            collectors: [Collector::Idle; REPLICAS],
            reapers: [Reaper::Idle; REPLICAS],
        }
    }

    /// What is uploaded under this key.
    pub fn blob_of(&self, key: Key) -> Blob {
        let operations = self.scripts.iter().copied().flatten();
        let is_b =
            |operation: &Operation| matches!(operation, Upload(link, of) if *of == key && link.blob() == Blob::B);
        if operations.into_iter().any(is_b) {
            Blob::B
        } else {
            Blob::A
        }
    }

    /// Whether a client can still write to the object of this key.
    pub fn is_before_its_write(&self, client: Client, script: Script, key: Key) -> bool {
        let Client::At { operation, step } = client else {
            return false;
        };
        let writes = |operation: &Operation| matches!(operation, Upload(_, of) if *of == key);
        let at = script.iter().position(writes);
        at.is_some_and(|at| usize::from(operation) < at || (usize::from(operation) == at && step <= 1))
    }
}
