//! O8: what certainly refers to a subject is in the list of its referrers, nothing else is, and a filter filters.

use super::{
    super::{
        history::{Call, Outcome, Record, Seen},
        library::ManifestId,
    },
    Checker, Violation,
};

const ORACLE: &str = "O8 referrers";

pub(super) fn check(checker: &Checker<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (place, record) in checker.records() {
        let (Call::ListReferrers { subject, kind }, Outcome::Done(Seen::Names(digests))) =
            (record.call, &record.outcome)
        else {
            continue;
        };
        let wrong = checker
            .wrong_entry(record, (subject, kind), digests)
            .or_else(|| checker.lost_entry(record, (subject, kind), digests));
        violations.extend(wrong.map(|wrong| Violation::new(ORACLE, wrong, &[place])));
    }
    violations
}

type Asked = (ManifestId, Option<&'static str>);

impl Checker<'_> {
    fn wrong_entry(&self, record: &Record, (subject, kind): Asked, digests: &[String]) -> Option<String> {
        digests.iter().enumerate().find_map(|(place, digest)| {
            let Some(id) = self.library.manifest_named(digest) else {
                return Some(format!("{digest} was never pushed"));
            };
            let manifest = self.library.manifest(id);
            if digests[..place].contains(digest) {
                return Some(format!("{id} is listed twice"));
            }
            if manifest.subject != Some(subject) {
                return Some(format!("{id} is listed and does not refer to {subject}"));
            }
            if kind.is_some_and(|kind| manifest.artifact_type != Some(kind)) {
                return Some(format!("{id} is listed and is not of the type that was asked for"));
            }
            self.is_certainly_absent(record, id)
                .then(|| format!("{id} is listed and certainly was not there"))
        })
    }

    fn lost_entry(&self, record: &Record, (subject, kind): Asked, digests: &[String]) -> Option<String> {
        self.library.manifest_ids().find_map(|id| {
            let manifest = self.library.manifest(id);
            let belongs = manifest.subject == Some(subject) && (kind.is_none() || manifest.artifact_type == kind);
            if !belongs || digests.contains(&manifest.digest) {
                return None;
            }
            let why = self.lives(record.repository, id, (record.invoked, record.completed))?;
            Some(format!("{id} is not listed: {why}"))
        })
    }

    /// Deleted for certain and not pushed since, or never pushed.
    fn is_certainly_absent(&self, list: &Record, id: ManifestId) -> bool {
        let own = || {
            let records = self.history.records.iter();
            records.filter(|record| record.repository == list.repository)
        };
        let deleted = |record: &&Record| {
            let deletes = matches!(record.call, Call::DeleteManifest { manifest } if manifest == id);
            deletes && record.is_done() && record.completed <= list.invoked
        };
        let since = own().rev().find(deleted).map_or(0, |record| record.invoked);
        let pushed = |record: &Record| {
            let puts = matches!(
                record.call,
                Call::PutManifest { manifest, .. } | Call::UndeleteManifest { manifest } if manifest == id
            );
            // Its manifest comes with a tag that is restored.
            let puts = puts || matches!(record.call, Call::UndeleteTag { .. });
            puts && self.history.may_fall_into(record, since, list.completed)
        };
        !own().any(pushed)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            super::{
                history::{Moment, tests::ByHand},
                library::ARTIFACT_TYPES,
            },
            tests::{broken, library},
        },
        *,
    };

    const REFERRER: Call = Call::PutManifest {
        tag: None,
        manifest: ManifestId(3),
    };

    fn list(history: ByHand, times: (Moment, Moment), kind: Option<&'static str>, listed: &[usize]) -> ByHand {
        let library = library();
        let digests = listed.iter().map(|id| library.manifest(ManifestId(*id)).digest.clone());
        let call = Call::ListReferrers {
            subject: ManifestId(0),
            kind,
        };
        let seen = Seen::Names(digests.collect());
        history.call(times, call, Outcome::Done(seen))
    }

    fn attached() -> ByHand {
        ByHand::default().put((1, 2), 1, 0).done((3, 4), REFERRER)
    }

    #[test]
    fn a_list_of_what_refers_is_right() {
        assert!(broken(&list(attached(), (5, 6), None, &[3])).is_empty());
        assert!(broken(&list(attached(), (5, 6), Some(ARTIFACT_TYPES[0]), &[3])).is_empty());
        assert!(broken(&list(attached(), (5, 6), Some(ARTIFACT_TYPES[1]), &[])).is_empty());
        assert!(
            broken(&list(attached(), (3, 4), None, &[])).is_empty(),
            "it was pushed meanwhile"
        );
    }

    #[test]
    fn a_referrer_that_is_not_listed_is_found() {
        assert_eq!(broken(&list(attached(), (5, 6), None, &[])), [ORACLE]);
        assert_eq!(
            broken(&list(attached(), (5, 6), Some(ARTIFACT_TYPES[0]), &[])),
            [ORACLE]
        );
    }

    #[test]
    fn an_entry_that_does_not_belong_there_is_found() {
        assert_eq!(broken(&list(attached(), (5, 6), None, &[3, 1])), [ORACLE]);
        assert_eq!(broken(&list(attached(), (5, 6), None, &[3, 3])), [ORACLE]);
        assert_eq!(
            broken(&list(attached(), (5, 6), Some(ARTIFACT_TYPES[1]), &[3])),
            [ORACLE]
        );
    }

    #[test]
    fn an_entry_that_was_deleted_or_never_pushed_is_found() {
        let delete = Call::DeleteManifest {
            manifest: ManifestId(3),
        };
        let deleted = attached().done((5, 6), delete);
        let never = ByHand::default().put((1, 2), 1, 0);

        assert_eq!(broken(&list(deleted, (7, 8), None, &[3])), [ORACLE]);
        assert_eq!(broken(&list(never, (7, 8), None, &[3])), [ORACLE]);
    }
}
