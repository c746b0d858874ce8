//! What can be wrong with a protocol. Each flaw breaks one rule of the right one, and a property with it.

use crate::scenario::{LAGGING, MOUNT_AND_INDEX, SIGNED, Scenario, THERE_AND_BACK, TWO_PUSHES, UNDELETED};

/// One mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// The collector deletes the object, then the row.
    StorageDeletedFirst,
    /// The collector locks nothing, and what points to a manifest goes with it.
    CheckThenCascade,
    /// "You need not upload this" is said and not recorded.
    NoLease,
    /// The collector does not look at leases.
    LeaseNotChecked,
    /// A promise is made without a lock on the link: it can go between the look and the promise.
    PromiseUnlocked,
    /// A promise locks the blob but not the link.
    LinkUnlocked,
    /// The collector looks first and locks then.
    CheckedBeforeLock,
    /// Objects are named after their digest, so that a key comes back.
    KeyReused,
    /// A manifest is accepted for blobs that were seen a while ago, and no foreign key looks.
    ExistenceCached,
    /// The object of a duplicate upload is forgotten.
    DuplicateNotBuried,
    /// Bytes are written before a session names their key.
    BytesBeforeSession,
    /// An upload is finished although its session has ended.
    SessionNotClaimed,
    /// The reaper does not wait for writes that are under way.
    NoQuarantine,
    /// The reaper does not wait for copies of the database that lag behind.
    LagIgnored,
    /// A tag that moves leaves no review behind.
    MoveNotReviewed,
    /// A deleted manifest leaves no reviews of its blobs behind.
    DeletionNotReviewed,
    /// A review that found a promise is dropped rather than put off.
    ReviewDropped,
    /// The collector forgets that an index lists manifests, and no foreign key reminds it.
    ChildrenForgotten,
    /// The reaper drops the tombstone before it deletes the object.
    TombstoneDroppedFirst,
    /// The link is committed, and the lease and the review after it.
    PromiseInSecondCommit,
    /// The collector does not see that something was deleted and can be restored, and no foreign key reminds it.
    DeletionNotSeen,
    /// A manifest that was deleted does not keep what it names while it can be restored.
    DeletedLetsGo,
    /// Who restores holds nothing between the look and the commit, and no foreign key looks.
    RestoreUnlocked,
    /// A deleted tag whose time is over leaves no review behind.
    ForgettingNotReviewed,
    /// The collector does not see that the subject of a manifest is there.
    SubjectNotSeen,
    /// An image that goes leaves no reviews of what refers to it behind.
    ReferrersNotReviewed,
}

impl Flaw {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::StorageDeletedFirst,
        Self::CheckThenCascade,
        Self::NoLease,
        Self::LeaseNotChecked,
        Self::PromiseUnlocked,
        Self::LinkUnlocked,
        Self::CheckedBeforeLock,
        Self::KeyReused,
        Self::ExistenceCached,
        Self::DuplicateNotBuried,
        Self::BytesBeforeSession,
        Self::SessionNotClaimed,
        Self::NoQuarantine,
        Self::LagIgnored,
        Self::MoveNotReviewed,
        Self::DeletionNotReviewed,
        Self::ReviewDropped,
        Self::ChildrenForgotten,
        Self::TombstoneDroppedFirst,
        Self::PromiseInSecondCommit,
        Self::DeletionNotSeen,
        Self::DeletedLetsGo,
        Self::RestoreUnlocked,
        Self::ForgettingNotReviewed,
        Self::SubjectNotSeen,
        Self::ReferrersNotReviewed,
    ];

    /// In words.
    pub fn describe(self) -> &'static str {
        self.row().0
    }

    /// The promise that it breaks: the first letters of its name in [`promise::ALL`](crate::promise::ALL).
    pub fn breaks(self) -> &'static str {
        self.row().1
    }

    /// The scenario that shows it.
    pub fn scenario(self) -> &'static Scenario {
        self.row().2
    }

    fn row(self) -> (&'static str, &'static str, &'static Scenario) {
        match self {
            Self::StorageDeletedFirst => ("the object is deleted before its row", "N2", &TWO_PUSHES),
            Self::CheckThenCascade => ("check, then delete with cascade, without a lock", "N1", &THERE_AND_BACK),
            Self::NoLease => ("no lease for \"you need not upload this\"", "I5", &TWO_PUSHES),
            Self::LeaseNotChecked => ("the collector does not look at leases", "I5", &TWO_PUSHES),
            Self::PromiseUnlocked => ("a promise without a lock", "I5", &TWO_PUSHES),
            Self::LinkUnlocked => ("a promise locks the blob, not the link", "I5", &TWO_PUSHES),
            Self::CheckedBeforeLock => ("the collector looks, then locks", "I5", &TWO_PUSHES),
            Self::KeyReused => ("objects named after their digest: a key is reused", "N1", &TWO_PUSHES),
            Self::ExistenceCached => ("a manifest's blobs are looked up in a cache", "N1", &TWO_PUSHES),
            Self::DuplicateNotBuried => ("a duplicate upload leaves no tombstone", "I3", &TWO_PUSHES),
            Self::BytesBeforeSession => ("bytes before the session's row", "I3", &TWO_PUSHES),
            Self::SessionNotClaimed => ("an upload is finished after its session expired", "N1", &TWO_PUSHES),
            Self::NoQuarantine => ("the reaper does not wait for late writes", "I3", &TWO_PUSHES),
            Self::LagIgnored => ("the reaper does not wait for a lagging copy", "N1", &LAGGING),
            Self::MoveNotReviewed => ("a moved tag leaves no review", "I4", &MOUNT_AND_INDEX),
            Self::DeletionNotReviewed => ("a deleted manifest leaves no reviews", "I4", &MOUNT_AND_INDEX),
            Self::ReviewDropped => ("a review that met a lease is dropped", "I4", &TWO_PUSHES),
            Self::ChildrenForgotten => ("children of an index are not counted", "N1", &MOUNT_AND_INDEX),
            Self::TombstoneDroppedFirst => ("the tombstone goes before the object", "I3", &TWO_PUSHES),
            Self::PromiseInSecondCommit => ("the lease is a second commit", "I5", &TWO_PUSHES),
            Self::DeletionNotSeen => ("the collector does not see what can be restored", "I6", &UNDELETED),
            Self::DeletedLetsGo => ("a deleted manifest keeps nothing", "I6", &UNDELETED),
            Self::RestoreUnlocked => ("a restoration without a lock", "N1", &UNDELETED),
            Self::SubjectNotSeen => ("the collector does not see subjects", "I7", &SIGNED),
            Self::ReferrersNotReviewed => ("an image that goes leaves no review of its referrers", "I4", &SIGNED),
            Self::ForgettingNotReviewed => ("a tag that is forgotten leaves no review", "I4", &UNDELETED),
        }
    }
}
