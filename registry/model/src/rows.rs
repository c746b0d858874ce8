//! The database, as far as collecting garbage depends on it.

/// A blob of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Blob {
    /// There from the start in most scenarios.
    A,
    /// The other one.
    B,
}

/// A repository's right to a blob. `Source` is another repository than the one that all the clients push to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Link {
    /// Blob A in the repository that it can be mounted from.
    Source,
    /// Blob A in the repository that is pushed to.
    A,
    /// Blob B there.
    B,
}

/// A manifest of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Manifest {
    /// Names blobs.
    Image,
    /// Lists the image.
    Index,
    /// Has the image as its subject.
    Signature,
}

/// A tag of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tag {
    /// The first.
    One,
    /// The second.
    Two,
}

/// What can be reviewed, and what can be locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// Is it tagged or listed?
    Manifest(Manifest),
    /// Does a manifest name it, or was it promised?
    Link(Link),
    /// Has a repository a link to it, or was it promised?
    Blob(Blob),
}

/// The name of an object: one for each upload, and one for the object that is there from the start.
pub type Key = u8;

/// A small set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Set(u8);

/// Where an upload session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Session {
    /// Not begun, or forgotten.
    #[default]
    Absent,
    /// Bytes may come.
    Open,
    /// It became a blob.
    Done,
    /// It expired.
    Aborted,
}

/// Everything that is committed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Rows {
    /// Where the bytes of each blob are.
    pub blobs: [Option<Key>; 2],
    /// [`Link`]s.
    pub links: Set,
    /// [`Link`]s that somebody was promised.
    pub leases: Set,
    /// [`Manifest`]s.
    pub manifests: Set,
    /// Those that were deleted and can be restored: their rows and all that these refer to stay.
    pub hidden: Set,
    /// What each tag pointed to when it was deleted, as long as it can be restored.
    pub lost: [Option<Manifest>; 2],
    /// No row: the signature was acknowledged while the image was there, and nobody has deleted either since.
    pub signed: bool,
    /// The index was robbed of its child by a client.
    pub sparse: bool,
    /// What each tag points to.
    pub tags: [Option<Manifest>; 2],
    /// [`Subject`]s.
    pub reviews: Set,
    /// [`Key`]s.
    pub tombstones: Set,
    /// By [`Key`].
    pub sessions: [Session; KEYS.len()],
    /// No row: what clients were told of each tag by the transactions that committed.
    pub acknowledged: [Option<Manifest>; 2],
}

/// The object of the start, and the uploads of one scenario.
pub const KEYS: [Key; 4] = [0, 1, 2, 3];

impl Set {
    /// The set of these.
    pub fn of<const N: usize, T: Into<u8>>(members: [T; N]) -> Self {
        members.into_iter().fold(Self::default(), Self::with)
    }

    /// The set of one, by its number.
    pub const fn one(member: u8) -> Self {
        Self(1 << member)
    }

    /// With one more, by its number.
    #[must_use]
    pub const fn plus(self, member: u8) -> Self {
        Self(self.0 | (1 << member))
    }

    /// Whether it has this member.
    pub fn has(self, member: impl Into<u8>) -> bool {
        self.0 & (1 << member.into()) != 0
    }

    /// Whether it has no member.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// With one more.
    #[must_use]
    pub fn with(self, member: impl Into<u8>) -> Self {
        Self(self.0 | (1 << member.into()))
    }

    /// With one less.
    #[must_use]
    pub fn without(self, member: impl Into<u8>) -> Self {
        Self(self.0 & !(1 << member.into()))
    }

    /// What this has and the other has not.
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// What either has.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What both have.
    #[must_use]
    pub fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl From<Blob> for u8 {
    fn from(blob: Blob) -> Self {
        blob as Self
    }
}

impl From<Link> for u8 {
    fn from(link: Link) -> Self {
        link as Self
    }
}

impl From<Manifest> for u8 {
    fn from(manifest: Manifest) -> Self {
        manifest as Self
    }
}

impl From<Subject> for u8 {
    fn from(subject: Subject) -> Self {
        match subject {
            Subject::Manifest(manifest) => manifest as Self,
            Subject::Link(link) => 3 + link as Self,
            Subject::Blob(blob) => 6 + blob as Self,
        }
    }
}

impl Blob {
    /// Both.
    pub const ALL: [Self; 2] = [Self::A, Self::B];

    /// Every link to it.
    pub fn links(self) -> Set {
        match self {
            Self::A => Set::of([Link::Source, Link::A]),
            Self::B => Set::of([Link::B]),
        }
    }
}

impl Link {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Source, Self::A, Self::B];

    /// What it is a right to.
    pub fn blob(self) -> Blob {
        match self {
            Self::Source | Self::A => Blob::A,
            Self::B => Blob::B,
        }
    }
}

impl Manifest {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Image, Self::Index, Self::Signature];
}

impl Subject {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Manifest(Manifest::Image),
        Self::Manifest(Manifest::Index),
        Self::Manifest(Manifest::Signature),
        Self::Link(Link::Source),
        Self::Link(Link::A),
        Self::Link(Link::B),
        Self::Blob(Blob::A),
        Self::Blob(Blob::B),
    ];
}

impl Rows {
    /// Whether the row is there.
    pub fn exists(&self, subject: Subject) -> bool {
        match subject {
            Subject::Manifest(manifest) => self.manifests.has(manifest),
            Subject::Link(link) => self.links.has(link),
            Subject::Blob(blob) => self.blobs[blob as usize].is_some(),
        }
    }

    /// Whether a foreign key keeps the row: a manifest's tags, deleted ones too, and indexes, a link's manifests, a blob's links.
    pub fn referenced(&self, subject: Subject, named: Set) -> bool {
        match subject {
            Subject::Manifest(manifest) => self.tagged(manifest) || self.listed(manifest) || self.lost_tag(manifest),
            Subject::Link(link) => self.manifests.has(Manifest::Image) && named.has(link),
            Subject::Blob(blob) => !self.links.both(blob.links()).is_empty(),
        }
    }

    /// Whether a lease keeps the row.
    pub fn promised(&self, subject: Subject) -> bool {
        match subject {
            Subject::Manifest(_) => false,
            Subject::Link(link) => self.leases.has(link),
            Subject::Blob(blob) => !self.leases.both(blob.links()).is_empty(),
        }
    }

    /// Whether a tag points to it.
    pub fn tagged(&self, manifest: Manifest) -> bool {
        self.tags.contains(&Some(manifest))
    }

    /// Whether a deleted tag pointed to it that can be restored.
    pub fn lost_tag(&self, manifest: Manifest) -> bool {
        self.lost.contains(&Some(manifest))
    }

    /// Whether clients see it.
    pub fn shown(&self, manifest: Manifest) -> bool {
        self.manifests.has(manifest) && !self.hidden.has(manifest)
    }

    /// Whether the index lists it.
    pub fn listed(&self, manifest: Manifest) -> bool {
        manifest == Manifest::Image && self.manifests.has(Manifest::Index) && !self.sparse
    }

    /// Whether it lives with its subject, which it does not keep.
    pub fn attached(&self, subject: Subject) -> bool {
        subject == Subject::Manifest(Manifest::Signature) && self.manifests.has(Manifest::Image)
    }

    /// Asks for reviews.
    pub fn review(&mut self, subjects: impl IntoIterator<Item = Subject>) {
        for subject in subjects {
            self.reviews = self.reviews.with(subject);
        }
    }

    /// Whether a row names this object, or will.
    pub fn knows(&self, key: Key) -> bool {
        self.blobs.contains(&Some(key)) || self.tombstones.has(key) || self.sessions[usize::from(key)] == Session::Open
    }
}
