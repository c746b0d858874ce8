//! Whether an item is garbage, by what refers to it. Pure.
//!
//! - A **manifest** is live when it is tagged, or was until a tag was deleted that can be restored; when an index lists it;
//!   when it has a subject that is there (what refers to an image lives with it, and does not keep it); when it was deleted
//!   and can be restored; when untagged manifests are kept; when it was pushed within the grace.
//! - A **link** of a blob to a repository is live when a manifest of the repository names the blob, or a client of the
//!   repository was promised it.
//! - A **blob** is live when a repository has it, or a client was promised it.

use super::Untagged;
use crate::metadata::Micros;
use crate::metadata::collect::{blobs, links, manifests, shown};
use crate::staging;

/// What becomes of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing refers to it.
    Garbage,
    /// Something does that is a reason by itself; whoever drops that asks for a new review.
    Live(String),
    /// Another manifest does, which needs a reason of its own.
    Held(String),
    /// Nothing does, and it is too early.
    Later(Micros, String),
}

pub(super) fn of_manifest(found: &manifests::Found, untagged: Untagged, grace: Micros, now: Micros) -> Verdict {
    if found.deleted_at.is_some() && !staging::mutated_in("not_seen", "deletion") {
        return Verdict::Live("it was deleted and can be restored".to_owned());
    }
    if let Some(tag) = &found.tag
        && !staging::mutated_in("not_seen", "tag")
    {
        return Verdict::Live(format!("the tag {tag} points to it"));
    }
    if let Some(tag) = &found.deleted_tag
        && !staging::mutated_in("not_seen", "deleted_tag")
    {
        return Verdict::Live(format!("the deleted tag {tag}, which can be restored, points to it"));
    }
    if untagged == Untagged::Keep && !staging::mutated("untagged_not_kept") {
        return Verdict::Live("untagged manifests are kept (gc.untagged)".to_owned());
    }
    if let Some(parent) = &found.parent
        && !staging::mutated_in("not_seen", "parent")
    {
        return Verdict::Held(format!("the index {} lists it", shown(parent)));
    }
    if let Some(subject) = &found.subject
        && !staging::mutated_in("not_seen", "subject")
    {
        return Verdict::Held(format!("its subject {} is there", shown(subject)));
    }
    let until = found.pushed_at.saturating_add(grace);
    if until > now && !staging::mutated("grace_ignored") {
        return Verdict::Later(until, "it was pushed a short time ago".to_owned());
    }
    Verdict::Garbage
}

pub(super) fn of_link(found: &links::Found, now: Micros) -> Verdict {
    match &found.manifest {
        Some(manifest) => Verdict::Live(format!("the manifest {} names it", shown(manifest))),
        None => unless_leased(found.leased_until, now),
    }
}

pub(super) fn of_blob(found: &blobs::Found, now: Micros) -> Verdict {
    match found.repository {
        Some(_) => Verdict::Live("a repository has it".to_owned()),
        None => unless_leased(found.leased_until, now),
    }
}

fn unless_leased(until: Option<Micros>, now: Micros) -> Verdict {
    match until {
        Some(until) if until > now && !staging::mutated("lease_not_checked") => {
            Verdict::Later(until, "a client was told that it need not upload it".to_owned())
        }
        Some(_) | None => Verdict::Garbage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::RepositoryKey;
    use crate::metadata::collect::Item;

    const NOW: Micros = 1_000;

    fn item() -> Item {
        Item {
            key: RepositoryKey::NONE,
            digest: vec![1; 33],
        }
    }

    fn unreferenced() -> manifests::Found {
        manifests::Found {
            item: item(),
            size: 1,
            pushed_at: 0,
            deleted_at: None,
            tag: None,
            deleted_tag: None,
            parent: None,
            subject: None,
        }
    }

    fn verdict(found: &manifests::Found) -> Verdict {
        of_manifest(found, Untagged::Collect, 10, NOW)
    }

    #[test]
    fn each_reference_alone_keeps_a_manifest() {
        assert_eq!(verdict(&unreferenced()), Verdict::Garbage);
        let table: [fn(&mut manifests::Found); 5] = [
            |found| found.tag = Some("v1".to_owned()),
            |found| found.deleted_tag = Some("v1".to_owned()),
            |found| found.parent = Some(vec![2; 33]),
            |found| found.subject = Some(vec![2; 33]),
            |found| found.deleted_at = Some(1),
        ];
        for (row, refer) in table.into_iter().enumerate() {
            let mut found = unreferenced();
            refer(&mut found);

            let kept = matches!(verdict(&found), Verdict::Live(_) | Verdict::Held(_));
            assert!(kept, "row {row}");
        }
    }

    #[test]
    fn an_untagged_manifest_stays_where_the_settings_keep_those() {
        let kept = of_manifest(&unreferenced(), Untagged::Keep, 0, NOW);

        assert!(matches!(kept, Verdict::Live(why) if why.contains("gc.untagged")));
    }

    #[test]
    fn a_manifest_is_garbage_at_the_end_of_its_grace_and_not_before() {
        let mut found = unreferenced();
        found.pushed_at = NOW - 9;
        assert!(matches!(verdict(&found), Verdict::Later(until, _) if until == NOW + 1));

        found.pushed_at = NOW - 10;
        assert_eq!(verdict(&found), Verdict::Garbage);
        assert_eq!(of_manifest(&found, Untagged::Collect, 0, NOW - 10), Verdict::Garbage);
    }

    #[test]
    fn a_promise_keeps_a_link_and_a_blob_until_it_ends() {
        let link = |leased_until| {
            let (item, manifest) = (item(), None);
            of_link(
                &links::Found {
                    item,
                    manifest,
                    leased_until,
                },
                NOW,
            )
        };

        assert!(matches!(link(Some(NOW + 1)), Verdict::Later(until, _) if until == NOW + 1));
        assert_eq!(link(Some(NOW)), Verdict::Garbage);
        assert_eq!(link(None), Verdict::Garbage);
    }
}
