//! Judges a history by the oracles O1 to O12 of the reliability plan.
//!
//! | oracle | rule | file |
//! |---|---|---|
//! | O1 content | every body is what its digest or range says | `player/judged.rs` looks, `content` counts |
//! | O2 tags | a tag is a register with delete | `linear` |
//! | O3 closure | what a manifest that certainly lives names can be fetched | `presence` |
//! | O4 durability | what certainly lives is there; at the end everything is read once more | `presence` |
//! | O5 exactness | at rest: keys are rows, rows are what the tags reach | `exactness` |
//! | O7 listings | what was there throughout is there once, what was not is not, in order | `listings` |
//! | O8 referrers | the same, and a filter is honest | `referrers` |
//! | O10 sessions | what one replica has said, every replica stands by | `sessions`, and O2 over all replicas |
//! | O11 leases | no "blob unknown" while the blob is promised | `presence` |
//! | O12 accounting | sizes that are kept are those of the content | `exactness` |
//!
//! O6 (rights) needs authentication, and O9 (immutable tags) needs immutable tags: Berth has neither yet.
//!
//! "Certainly" is the point: a request that was not answered may take effect until its replica is dead, so a rule only
//! speaks where no such effect is possible. What is uncertain is never counted against the registry.

mod content;
mod exactness;
mod linear;
mod listings;
mod presence;
mod referrers;
mod registers;
mod sessions;

use std::fmt;

use super::{
    history::{History, Moment, Record},
    library::Library,
};
pub(super) use exactness::{Rest, at_rest};
use registers::Registers;

/// What the registry's settings promise.
#[derive(Debug, Clone, Copy)]
pub(super) struct Promises {
    /// How long a blob stays that a client was told it need not upload again, in microseconds.
    pub(super) lease: Moment,
    /// HEAD of a blob is such a promise, not only an upload and a mount.
    pub(super) by_head: bool,
}

/// Something that must not be.
#[derive(Debug, Clone)]
pub(super) struct Violation {
    /// Which oracle says so.
    pub(super) oracle: &'static str,
    pub(super) what: String,
    /// The records that show it.
    pub(super) records: Vec<usize>,
}

impl Violation {
    fn new(oracle: &'static str, what: impl Into<String>, records: &[usize]) -> Self {
        Self {
            oracle,
            what: what.into(),
            records: records.to_vec(),
        }
    }
}

impl Violation {
    /// The soak could not go on.
    pub(super) fn interrupted(error: &anyhow::Error) -> Self {
        Self::new("soak", format!("{error:#}"), &[])
    }

    /// A server has panicked.
    pub(super) fn panic(line: &str) -> Self {
        Self::new("N5 truth", format!("a server panicked: {line}"), &[])
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.oracle, self.what)
    }
}

/// A history, and what follows from it.
#[derive(Debug)]
pub(super) struct Checker<'h> {
    library: &'h Library,
    history: &'h History,
    registers: Registers,
    promises: Promises,
}

impl<'h> Checker<'h> {
    pub(super) fn new(library: &'h Library, history: &'h History, promises: Promises) -> Self {
        Self {
            library,
            history,
            registers: Registers::of(history),
            promises,
        }
    }

    /// Everything that is wrong with the history.
    pub(super) fn violations(&self) -> Vec<Violation> {
        [
            content::check(self),
            self.tags(),
            presence::check(self),
            listings::check(self),
            referrers::check(self),
            sessions::check(self),
        ]
        .concat()
    }

    fn tags(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        for ((repository, tag), events) in self.registers.iter() {
            match linear::search(events) {
                linear::Found::Order => {}
                linear::Found::NoOrder { event } => {
                    let what = format!("{repository}:{tag} has no order in which everybody saw what was there");
                    violations.push(Violation::new("O2 tags", what, &[events[event].record]));
                }
                linear::Found::TooMany => {
                    let what = format!("the search for an order of {repository}:{tag} was given up");
                    violations.push(Violation::new("O2 tags", what, &[]));
                }
            }
        }
        violations
    }

    fn records(&self) -> impl Iterator<Item = (usize, &'h Record)> {
        self.history.records.iter().enumerate()
    }

    /// The history around a violation: what the same repository was asked about the same things.
    pub(super) fn around(&self, violation: &Violation) -> Vec<String> {
        const BEFORE: Moment = 20_000_000;
        const AFTER: Moment = 2_000_000;
        const LINES: usize = 60;
        let Some(record) = violation
            .records
            .first()
            .and_then(|place| self.history.records.get(*place))
        else {
            return Vec::new();
        };
        let mut lines: Vec<String> = self
            .history
            .records
            .iter()
            .filter(|other| other.repository == record.repository)
            .filter(|other| other.completed + BEFORE >= record.invoked && other.invoked <= record.completed + AFTER)
            .filter(|other| self.is_about(other, record))
            .map(ToString::to_string)
            .collect();
        let first = lines.len().saturating_sub(LINES);
        lines.drain(..first);
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            history::{Call, tests::ByHand},
            library::{BlobId, ManifestId},
        },
        *,
    };

    /// Blob 0 and 1 make manifest 0; blob 1 and 2 make manifest 1; manifest 2 is an index of both; manifest 3 refers to
    /// manifest 0, and has blob 3 and 4.
    pub(super) fn library() -> Library {
        let mut library = Library::default();
        for number in 0..5u8 {
            library.add_blob(vec![number; 10]);
        }
        let first = library.add_image(vec![BlobId(0), BlobId(1)], None);
        let second = library.add_image(vec![BlobId(1), BlobId(2)], None);
        library.add_index(vec![first, second]);
        library.add_image(
            vec![BlobId(3), BlobId(4)],
            Some((ManifestId(0), super::super::library::ARTIFACT_TYPES[0])),
        );
        library
    }

    /// Which oracles a history breaks.
    pub(super) fn broken(history: &ByHand) -> Vec<&'static str> {
        let library = library();
        let promises = Promises {
            lease: 1000,
            by_head: true,
        };
        let checker = Checker::new(&library, &history.0, promises);
        let mut oracles: Vec<&str> = checker.violations().iter().map(|violation| violation.oracle).collect();
        oracles.dedup();
        oracles
    }

    #[test]
    fn a_violation_is_shown_with_what_happened_around_it() {
        let delete = Call::DeleteBlob { blob: BlobId(4) };
        let history = ByHand::default()
            .put((1, 2), 1, 0)
            .done((3, 4), delete)
            .read((5, 6), 1, None);
        let library = library();
        let promises = Promises {
            lease: 1000,
            by_head: true,
        };
        let checker = Checker::new(&library, &history.0, promises);

        let violations = checker.violations();

        let lines = checker.around(&violations[0]);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains("PutManifest"), "{lines:?}");
    }
}
