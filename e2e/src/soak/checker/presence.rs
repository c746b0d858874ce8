//! O3, O4, O11 and honest refusals: what certainly lives is there, and what is promised is kept.
//!
//! A manifest certainly lives while a tag certainly points to it, while an index that was pushed over it certainly lives,
//! or while its subject does; unless somebody may have deleted it by its digest. Its blobs live with it: nobody may take
//! a blob that is in use.

use super::{
    super::{
        history::{Ask, At, Call, Moment, Outcome, Record, RepositoryId, Seen},
        library::{BlobId, ManifestId, Named},
    },
    Checker, Violation,
};

pub(super) fn check(checker: &Checker<'_>) -> Vec<Violation> {
    let judged = checker.records().filter_map(|(place, record)| {
        let wrong = match &record.outcome {
            Outcome::Refused { status, code, missing } => checker.refusal(record, (*status, code), missing)?,
            Outcome::Done(_) => ("O3 closure", checker.deleted_in_use(record)?),
            Outcome::Unknown(_) | Outcome::NotSent => return None,
        };
        Some(Violation::new(wrong.0, format!("{}: {record}", wrong.1), &[place]))
    });
    judged.collect()
}

type Wrong = (&'static str, String);

impl Checker<'_> {
    /// What is wrong with a refusal.
    fn refusal(&self, record: &Record, (status, code): (u16, &str), missing: &[String]) -> Option<Wrong> {
        let span = (record.invoked, record.completed);
        match (record.call, status) {
            (
                Call::ReadManifest {
                    at: At::Digest(manifest),
                    ..
                }
                | Call::DeleteManifest { manifest },
                404,
            ) => self.lost_manifest(record.repository, manifest, span),
            (Call::ReadBlob { blob, .. } | Call::DeleteBlob { blob }, 404) => {
                self.lost_blob(record.repository, blob, span)
            }
            (Call::PutManifest { .. }, 400) if code == "MANIFEST_BLOB_UNKNOWN" => missing
                .iter()
                .filter_map(|digest| self.library.named(digest))
                .find_map(|named| match named {
                    Named::Blob(blob) => self.lost_blob(record.repository, blob, span),
                    Named::Manifest(manifest) => self.lost_manifest(record.repository, manifest, span),
                }),
            // Whether a tag was not there O2 looks, whether a session was not O10. A blob that nothing names may
            // always be taken for one that is in use.
            (
                Call::ReadManifest { at: At::Tag(_), .. }
                | Call::DeleteTag { .. }
                | Call::ListTags
                | Call::AskUpload { .. }
                | Call::CancelUpload { .. },
                404,
            )
            | (Call::UndeleteTag { .. } | Call::UndeleteManifest { .. }, 404 | 409 | 410)
            | (Call::Chunk { .. } | Call::Finish { session: Some(_), .. }, 404 | 416)
            | (Call::DeleteBlob { .. }, 405) => None,
            _ => Some((
                "N5 truth",
                "refused although there was nothing wrong with the request".to_owned(),
            )),
        }
    }

    fn lost_manifest(&self, repository: RepositoryId, manifest: ManifestId, span: (Moment, Moment)) -> Option<Wrong> {
        let why = self.lives(repository, manifest, span)?;
        Some(("O4 durability", format!("{manifest} is lost: {why}")))
    }

    fn lost_blob(&self, repository: RepositoryId, blob: BlobId, span: (Moment, Moment)) -> Option<Wrong> {
        if let Some(why) = self.named_by_living(repository, blob, span) {
            return Some(("O3 closure", format!("{blob} is lost: {why}")));
        }
        let grant = self.promised(repository, blob, span)?;
        Some((
            "O11 lease",
            format!("{blob} is unknown although it was promised by {grant}"),
        ))
    }

    fn deleted_in_use(&self, record: &Record) -> Option<String> {
        let Call::DeleteBlob { blob } = record.call else {
            return None;
        };
        let why = self.named_by_living(record.repository, blob, (record.invoked, record.completed))?;
        Some(format!("{blob} was deleted while it was in use: {why}"))
    }

    /// Why a blob certainly has to be there.
    fn named_by_living(&self, repository: RepositoryId, blob: BlobId, span: (Moment, Moment)) -> Option<String> {
        let naming = |id: &ManifestId| self.library.manifest(*id).blobs.contains(&blob);
        self.library.manifest_ids().filter(naming).find_map(|id| {
            let why = self.lives(repository, id, span)?;
            Some(format!("{id} names it, and {why}"))
        })
    }

    /// Why a manifest certainly was there from the first to the last moment of `span`.
    pub(super) fn lives(&self, repository: RepositoryId, id: ManifestId, span: (Moment, Moment)) -> Option<String> {
        self.tagged(repository, id, span, Shown::Anyhow)
            .map(|(tag, _)| tag)
            .or_else(|| self.listed(repository, id, span))
            .or_else(|| self.attached(repository, id, span))
    }

    /// A tag that certainly points to it, and since when.
    fn tagged(
        &self,
        repository: RepositoryId,
        id: ManifestId,
        (from, to): (Moment, Moment),
        shown: Shown,
    ) -> Option<(String, Moment)> {
        self.registers.tags(repository).find_map(|tag| {
            let held = self.registers.held((repository, tag), from, to);
            let fitting = held
                .into_iter()
                .find(|held| held.value == Some(id) && (held.by_push || shown == Shown::Anyhow))?;
            Some((format!("{tag} points to {id}"), fitting.since))
        })
    }

    /// An index that certainly lives was pushed, which takes all that it lists; and nobody has deleted this one since.
    fn listed(&self, repository: RepositoryId, id: ManifestId, span: (Moment, Moment)) -> Option<String> {
        let lists = |index: &ManifestId| self.library.manifest(*index).children.contains(&id);
        self.library.manifest_ids().filter(lists).find_map(|index| {
            let (why, since) = self.tagged(repository, index, span, Shown::ByPush)?;
            self.is_left_alone(repository, id, (since, span.1))
                .then(|| format!("{index} lists it, and {why}"))
        })
    }

    /// It was pushed while its subject certainly lived, which lives on; and nobody has deleted it since.
    fn attached(&self, repository: RepositoryId, id: ManifestId, (from, to): (Moment, Moment)) -> Option<String> {
        let subject = self.library.manifest(id).subject?;
        let pushed = |record: &&Record| {
            let puts = matches!(record.call, Call::PutManifest { manifest, .. } if manifest == id);
            puts && record.repository == repository && record.is_done() && record.completed <= from
        };
        let push = self.history.records.iter().rev().find(pushed)?;
        let why = self.lives(repository, subject, (push.invoked, to))?;
        self.is_left_alone(repository, id, (push.invoked, to))
            .then(|| format!("it refers to {subject}, and {why}"))
    }

    /// True when nobody may have deleted the manifest meanwhile.
    fn is_left_alone(&self, repository: RepositoryId, id: ManifestId, (from, to): (Moment, Moment)) -> bool {
        !self.history.records.iter().any(|record| {
            let deletes = matches!(record.call, Call::DeleteManifest { manifest } if manifest == id);
            deletes && record.repository == repository && self.history.may_fall_into(record, from, to)
        })
    }

    /// The answer that has told a client that it need not upload the blob, and still binds.
    fn promised(&self, repository: RepositoryId, blob: BlobId, (from, to): (Moment, Moment)) -> Option<String> {
        let grants = |record: &&Record| {
            let speaks = self.is_promise(record, blob);
            let binds = record.completed <= from && to <= record.invoked + self.promises.lease;
            record.repository == repository && speaks && binds
        };
        let grant = self.history.records.iter().rev().find(grants)?;
        let taken = self.history.records.iter().any(|record| {
            let deletes = matches!(record.call, Call::DeleteBlob { blob: deleted } if deleted == blob);
            deletes && record.repository == repository && self.history.may_fall_into(record, grant.invoked, to)
        });
        (!taken).then(|| grant.to_string())
    }

    fn is_promise(&self, record: &Record, blob: BlobId) -> bool {
        let (told, is_promise) = match record.call {
            Call::ReadBlob { blob, ask } => (blob, self.promises.by_head && ask == Ask::Head),
            Call::Finish { blob, .. } | Call::Mount { blob, .. } => (blob, true),
            Call::PutManifest { .. }
            | Call::ReadManifest { .. }
            | Call::DeleteTag { .. }
            | Call::DeleteManifest { .. }
            | Call::DeleteBlob { .. }
            | Call::OpenUpload { .. }
            | Call::Chunk { .. }
            | Call::AskUpload { .. }
            | Call::CancelUpload { .. }
            | Call::UndeleteTag { .. }
            | Call::UndeleteManifest { .. }
            | Call::ListTags
            | Call::ListReferrers { .. } => return false,
        };
        is_promise && told == blob && record.outcome == Outcome::Done(Seen::Nothing)
    }

    /// True when two requests speak of the same thing.
    pub(super) fn is_about(&self, one: &Record, other: &Record) -> bool {
        let (ours, theirs) = (self.concerns(one), self.concerns(other));
        ours.iter().any(|word| theirs.contains(word))
    }

    /// The names of what a request is about.
    fn concerns(&self, record: &Record) -> Vec<String> {
        let session = |session: Option<u64>| session.map(|number| format!("session {number}"));
        let manifest = |id: ManifestId| {
            let blobs = self.library.manifest(id).blobs.iter().map(ToString::to_string);
            blobs.chain([id.to_string()]).collect::<Vec<_>>()
        };
        let mut words = match record.call {
            Call::PutManifest { tag, manifest: id } => {
                let tag = tag.map(|tag| tag.to_string());
                manifest(id).into_iter().chain(tag).collect()
            }
            Call::ReadManifest { at: At::Tag(tag), .. } | Call::DeleteTag { tag } | Call::UndeleteTag { tag } => {
                vec![tag.to_string()]
            }
            Call::ReadManifest { at: At::Digest(id), .. }
            | Call::DeleteManifest { manifest: id }
            | Call::UndeleteManifest { manifest: id } => manifest(id),
            Call::ReadBlob { blob, .. } | Call::DeleteBlob { blob } | Call::Mount { blob, .. } => {
                vec![blob.to_string()]
            }
            Call::Finish { session: number, blob } => session(number).into_iter().chain([blob.to_string()]).collect(),
            Call::OpenUpload { session: number }
            | Call::Chunk { session: number, .. }
            | Call::AskUpload { session: number }
            | Call::CancelUpload { session: number } => session(Some(number)).into_iter().collect(),
            Call::ListTags => Vec::new(),
            Call::ListReferrers { subject, .. } => vec![subject.to_string()],
        };
        if let Outcome::Done(Seen::Manifest(id)) = record.outcome {
            words.extend(manifest(id));
        }
        words
    }
}

/// What has to show where a tag points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Anyhow,
    /// A push: then everything that the manifest names was there.
    ByPush,
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            super::{
                history::{Ask, At, Call, Tag, tests::ByHand},
                library::{BlobId, ManifestId},
            },
            tests::{broken, library},
        },
        *,
    };

    fn get_blob(blob: usize) -> Call {
        Call::ReadBlob {
            blob: BlobId(blob),
            ask: Ask::Get,
        }
    }

    fn get_manifest(manifest: usize) -> Call {
        Call::ReadManifest {
            at: At::Digest(ManifestId(manifest)),
            ask: Ask::Get,
        }
    }

    fn delete(manifest: usize) -> Call {
        Call::DeleteManifest {
            manifest: ManifestId(manifest),
        }
    }

    fn push(manifest: usize) -> Call {
        Call::PutManifest {
            tag: None,
            manifest: ManifestId(manifest),
        }
    }

    /// A push that is refused because of a blob.
    fn refused_for(blob: usize) -> (Call, Outcome) {
        let missing = vec![library().blob(BlobId(blob)).digest.clone()];
        let outcome = Outcome::Refused {
            status: 400,
            code: "MANIFEST_BLOB_UNKNOWN".to_owned(),
            missing,
        };
        (push(0), outcome)
    }

    #[test]
    fn a_lost_layer_of_a_tagged_manifest_is_found() {
        let lost = ByHand::default().put((1, 2), 1, 0).refused((3, 4), get_blob(1), 404);
        let other = ByHand::default().put((1, 2), 1, 0).refused((3, 4), get_blob(2), 404);

        assert_eq!(broken(&lost), ["O3 closure"]);
        assert!(broken(&other).is_empty());
    }

    #[test]
    fn a_lost_layer_of_what_was_read_by_its_tag_is_found() {
        let lost = ByHand::default()
            .put((1, 9), 1, 0)
            .read((3, 4), 1, Some(0))
            .refused((10, 11), get_blob(1), 404);

        assert_eq!(broken(&lost), ["O3 closure"]);
    }

    #[test]
    fn a_layer_may_go_with_its_manifest() {
        let gone = ByHand::default()
            .put((1, 2), 1, 0)
            .unknown((3, 4), Call::DeleteTag { tag: Tag(1) })
            .refused((5, 6), get_blob(1), 404);

        assert!(broken(&gone).is_empty());
    }

    #[test]
    fn a_lost_manifest_is_found() {
        let lost = ByHand::default()
            .put((1, 2), 1, 0)
            .refused((3, 4), get_manifest(0), 404);
        let deleted = ByHand::default()
            .put((1, 2), 1, 0)
            .done((2, 5), delete(0))
            .refused((3, 4), get_manifest(0), 404);

        assert_eq!(broken(&lost), ["O4 durability"]);
        assert!(broken(&deleted).is_empty());
    }

    #[test]
    fn a_lost_child_of_an_index_is_found() {
        let start = || ByHand::default().done((0, 1), push(1)).put((2, 3), 1, 2);
        let lost = start().refused((5, 6), get_manifest(1), 404);
        let layer = start().refused((5, 6), get_blob(2), 404);
        let deleted = start().done((4, 5), delete(1)).refused((6, 7), get_manifest(1), 404);

        assert_eq!(broken(&lost), ["O4 durability"]);
        assert!(broken(&deleted).is_empty());
        assert_eq!(broken(&layer), ["O3 closure"]);
    }

    #[test]
    fn a_lost_referrer_of_a_living_subject_is_found() {
        let start = || ByHand::default().put((1, 2), 1, 0).done((3, 4), push(3));
        let lost = start().refused((5, 6), get_manifest(3), 404);
        let before = ByHand::default()
            .done((0, 1), push(3))
            .put((2, 3), 1, 0)
            .refused((5, 6), get_manifest(3), 404);

        assert_eq!(broken(&lost), ["O4 durability"]);
        assert!(broken(&before).is_empty(), "it may have gone before its subject came");
    }

    #[test]
    fn a_blob_that_is_unknown_within_its_lease_is_found() {
        let upload = Call::Finish {
            session: None,
            blob: BlobId(1),
        };
        let (put, refused) = refused_for(1);
        let within = ByHand::default()
            .done((1, 2), upload)
            .call((500, 600), put, refused.clone());
        let beyond = ByHand::default()
            .done((1, 2), upload)
            .call((1500, 1600), put, refused.clone());
        let head = Call::ReadBlob {
            blob: BlobId(1),
            ask: Ask::Head,
        };
        let by_head = ByHand::default()
            .done((1, 2), head)
            .call((500, 600), put, refused.clone());
        let deleted = ByHand::default()
            .done((1, 2), upload)
            .unknown((3, 4), Call::DeleteBlob { blob: BlobId(1) })
            .call((500, 600), put, refused);

        assert_eq!(broken(&within), ["O11 lease"]);
        assert!(broken(&beyond).is_empty());
        assert_eq!(broken(&by_head), ["O11 lease"]);
        assert!(broken(&deleted).is_empty());
    }

    #[test]
    fn a_blob_that_is_deleted_while_in_use_is_found() {
        let delete = Call::DeleteBlob { blob: BlobId(1) };
        let history = ByHand::default().put((1, 2), 1, 0).done((3, 4), delete);

        assert_eq!(broken(&history), ["O3 closure"]);
    }

    #[test]
    fn a_refusal_without_a_cause_is_found() {
        let upload = Call::Finish {
            session: Some(1),
            blob: BlobId(1),
        };

        assert_eq!(broken(&ByHand::default().refused((1, 2), upload, 400)), ["N5 truth"]);
        assert_eq!(broken(&ByHand::default().refused((1, 2), push(0), 403)), ["N5 truth"]);
    }
}
