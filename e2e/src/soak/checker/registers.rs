//! Tags as registers with delete: what was written, removed and seen of each, and what a tag certainly was at some time.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{
    history::{At, Call, History, Moment, Outcome, Record, RepositoryId, Seen, Tag},
    library::ManifestId,
};

/// What a request does to a tag, or tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// The tag points to this from now on.
    Write(ManifestId),
    /// A tag that was there is gone.
    Remove,
    /// If there was one, it is gone.
    Clear,
    /// The manifest was deleted: the tag is gone if it pointed there.
    RemoveIf(ManifestId),
    /// A tag that was not there points to this.
    Restore(ManifestId),
    /// It was there.
    Exists,
    /// This is what it was.
    Read(Option<ManifestId>),
    /// It did not point there: there was no such manifest.
    NotAt(ManifestId),
}

impl Act {
    /// The value afterwards.
    ///
    /// # Errors
    /// When the act cannot happen to a tag of this value.
    pub(super) fn applied(self, value: Option<ManifestId>) -> Result<Option<ManifestId>, Impossible> {
        let fits = |fits: bool, after| if fits { Ok(after) } else { Err(Impossible) };
        match self {
            Self::Write(manifest) => Ok(Some(manifest)),
            Self::Remove => fits(value.is_some(), None),
            Self::Clear => Ok(None),
            Self::RemoveIf(manifest) => Ok(value.filter(|at| *at != manifest)),
            Self::Restore(manifest) => fits(value.is_none(), Some(manifest)),
            Self::Exists => fits(value.is_some(), value),
            Self::Read(seen) => fits(seen == value, value),
            Self::NotAt(manifest) => fits(value != Some(manifest), value),
        }
    }

    /// True for what changes nothing.
    pub(super) fn is_a_look(self) -> bool {
        matches!(self, Self::Read(_) | Self::NotAt(_) | Self::Exists)
    }

    /// True when a tag of this value may be another one after the act.
    fn disturbs(self, value: Option<ManifestId>) -> bool {
        !self.is_a_look() && self.applied(value).is_ok_and(|after| after != value)
    }

    /// True when it shows, by itself, what the tag is afterwards.
    fn shows(self) -> bool {
        !matches!(self, Self::RemoveIf(_) | Self::NotAt(_) | Self::Exists)
    }

    /// What the tag is after an act that shows it.
    fn shown(self) -> Option<ManifestId> {
        match self {
            Self::Write(manifest) | Self::Restore(manifest) => Some(manifest),
            Self::Read(seen) => seen,
            Self::Remove | Self::Clear | Self::RemoveIf(_) | Self::NotAt(_) | Self::Exists => None,
        }
    }
}

/// An act cannot happen to a tag of that value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Impossible;

/// An act and when it may have happened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event {
    /// Its record's place in the history.
    pub(super) record: usize,
    pub(super) act: Act,
    pub(super) invoked: Moment,
    /// When it had happened, if it did.
    pub(super) until: Moment,
    /// False when it may not have happened at all.
    pub(super) certain: bool,
}

/// What a tag certainly was from some time on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    /// The manifest, or none.
    pub(super) value: Option<ManifestId>,
    /// Since the beginning of the request that shows it.
    pub(super) since: Moment,
    /// That request was a push of the manifest: everything that it names was there.
    pub(super) by_push: bool,
}

/// Every tag of every repository.
#[derive(Debug, Default)]
pub(super) struct Registers(BTreeMap<(RepositoryId, Tag), Vec<Event>>);

impl Registers {
    /// The tags of a history.
    pub(super) fn of(history: &History) -> Self {
        let mut registers = Self::default();
        for record in &history.records {
            if let Some(tag) = record.call.tag() {
                registers.0.entry((record.repository, tag)).or_default();
            }
        }
        for (place, record) in history.records.iter().enumerate() {
            registers.add(history, place, record);
        }
        registers
    }

    fn add(&mut self, history: &History, place: usize, record: &Record) {
        // A manifest that is deleted concerns every tag.
        let one = record.call.tag();
        let concerned = self
            .0
            .iter_mut()
            .filter(|((repository, tag), _)| *repository == record.repository && one.is_none_or(|one| one == *tag));
        for ((_, tag), events) in concerned {
            let acts = restored(record, *tag, events).unwrap_or_else(|| act_of(record).into_iter().collect());
            events.extend(acts.into_iter().map(|act| Event {
                record: place,
                act,
                invoked: record.invoked,
                until: history.settled(record),
                certain: !matches!(record.outcome, Outcome::Unknown(_)),
            }));
        }
    }

    /// Each tag with its events in the order of invocation.
    pub(super) fn iter(&self) -> impl Iterator<Item = ((RepositoryId, Tag), &[Event])> {
        self.0.iter().map(|(key, events)| (*key, events.as_slice()))
    }

    /// Every tag that was ever named in a repository.
    pub(super) fn tags(&self, repository: RepositoryId) -> impl Iterator<Item = Tag> {
        let own = self.0.keys().filter(move |(of, _)| *of == repository);
        own.map(|(_, tag)| *tag)
    }

    /// What the tag certainly was from `from` to `to`, by whatever shows it, and by a push.
    pub(super) fn held(&self, key: (RepositoryId, Tag), from: Moment, to: Moment) -> Vec<Held> {
        let Some(events) = self.0.get(&key) else {
            return vec![Held {
                value: None,
                since: 0,
                by_push: false,
            }];
        };
        let shows = |event: &&Event| event.certain && event.until <= from && event.act.shows();
        let by_push = |event: &&Event| matches!(event.act, Act::Write(_));
        let newest = events.iter().rev().find(shows);
        let pushed = events.iter().rev().filter(shows).find(by_push);
        let evidence = newest.into_iter().chain(pushed).map(|event| Held {
            value: event.act.shown(),
            since: event.invoked,
            by_push: by_push(&event),
        });
        let unheard_of = Held {
            value: None,
            since: 0,
            by_push: false,
        };
        evidence
            .chain([unheard_of])
            .filter(|held| {
                !events
                    .iter()
                    .any(|event| event.until >= held.since && event.invoked <= to && event.act.disturbs(held.value))
            })
            .collect()
    }
}

/// What an undeletion is to a tag; None for every other request.
fn restored(record: &Record, tag: Tag, before: &[Event]) -> Option<Vec<Act>> {
    let acts = match (record.call, &record.outcome) {
        (Call::UndeleteTag { .. }, Outcome::Done(Seen::Restored { manifest, .. })) => vec![Act::Restore(*manifest)],
        (Call::UndeleteTag { .. }, Outcome::Refused { status: 409, .. }) => vec![Act::Exists],
        // It may point again to anything that it has pointed to.
        (Call::UndeleteTag { .. }, Outcome::Unknown(_)) => {
            let written = before.iter().filter_map(|event| event.act.shown());
            let all: BTreeSet<ManifestId> = written.collect();
            all.into_iter().map(Act::Restore).collect()
        }
        (Call::UndeleteManifest { .. }, Outcome::Done(Seen::Restored { manifest, tags })) => {
            let own = tags.contains(&tag).then_some(Act::Restore(*manifest));
            own.into_iter().collect()
        }
        (Call::UndeleteManifest { manifest }, Outcome::Unknown(_)) => vec![Act::Restore(manifest)],
        (Call::UndeleteTag { .. } | Call::UndeleteManifest { .. }, _) => Vec::new(),
        _ => return None,
    };
    Some(acts)
}

fn act_of(record: &Record) -> Option<Act> {
    match (record.call, &record.outcome) {
        (_, Outcome::NotSent) => None,
        (Call::PutManifest { tag: Some(_), manifest }, Outcome::Done(_) | Outcome::Unknown(_)) => {
            Some(Act::Write(manifest))
        }
        (Call::DeleteTag { .. }, Outcome::Done(_)) => Some(Act::Remove),
        (Call::DeleteTag { .. }, Outcome::Unknown(_)) => Some(Act::Clear),
        (Call::DeleteTag { .. } | Call::ReadManifest { at: At::Tag(_), .. }, Outcome::Refused { .. }) => {
            record.is_refused(404).then_some(Act::Read(None))
        }
        (Call::DeleteManifest { manifest }, Outcome::Refused { .. }) => {
            record.is_refused(404).then_some(Act::NotAt(manifest))
        }
        (Call::DeleteManifest { manifest }, _) => Some(Act::RemoveIf(manifest)),
        (Call::ReadManifest { at: At::Tag(_), .. }, Outcome::Done(Seen::Manifest(seen))) => {
            Some(Act::Read(Some(*seen)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::history::tests::{ByHand, put};
    use super::*;

    const KEY: (RepositoryId, Tag) = (RepositoryId(0), Tag(1));

    fn held(history: &ByHand, from: Moment, to: Moment) -> Vec<Option<usize>> {
        let held = Registers::of(&history.0).held(KEY, from, to);
        held.into_iter().map(|held| held.value.map(|id| id.0)).collect()
    }

    #[test]
    fn what_was_pushed_and_left_alone_is_certain() {
        let history = ByHand::default().put((1, 2), 1, 7);

        assert_eq!(held(&history, 3, 9), [Some(7), Some(7)]);
        assert!(held(&history, 1, 9).is_empty(), "it may not have been there yet");
    }

    #[test]
    fn what_may_be_overwritten_or_deleted_is_not_certain() {
        let delete = Call::DeleteManifest {
            manifest: ManifestId(7),
        };
        let overwritten = ByHand::default().put((1, 2), 1, 7).unknown((3, 4), put(1, 8));
        let deleted = ByHand::default().put((1, 2), 1, 7).done((8, 12), delete);
        let other = ByHand::default().put((1, 2), 1, 6).done((8, 12), delete);

        assert!(held(&overwritten, 100, 101).is_empty());
        assert!(held(&deleted, 5, 9).is_empty());
        assert_eq!(held(&deleted, 5, 7), [Some(7), Some(7)]);
        assert_eq!(held(&other, 20, 21), [Some(6), Some(6)]);
    }

    #[test]
    fn a_tag_that_nobody_has_named_is_certainly_absent() {
        let history = ByHand::default().unknown((50, 60), put(1, 8));

        assert_eq!(held(&history, 5, 9), [None]);
        assert!(held(&history, 5, 70).is_empty());
    }
}
