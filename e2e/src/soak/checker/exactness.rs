//! O5 and O12: at rest the keys of the store are those of the rows, the rows are what the tags reach, and sizes are right.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::{
        history::RepositoryId,
        library::{BlobId, Library, ManifestId},
    },
    Violation,
};

/// What a registry keeps, read from its database and its store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::soak) struct Rest {
    /// Digest, size and object key of each blob; no key where its bytes are in its row.
    pub(in crate::soak) blobs: Vec<(String, u64, String)>,
    /// Repository and digest.
    pub(in crate::soak) links: Vec<(String, String)>,
    /// Repository, digest, and the size of the manifest with everything that it names.
    pub(in crate::soak) manifests: Vec<(String, String, u64)>,
    /// Repository, name and digest.
    pub(in crate::soak) tags: Vec<(String, String, String)>,
    /// Keys that rows name which are no blobs: of open sessions and of tombstones.
    pub(in crate::soak) passing: Vec<String>,
    /// Rows that must be gone at rest, by table.
    pub(in crate::soak) waiting: BTreeMap<String, u64>,
    /// Every key of the store.
    pub(in crate::soak) keys: BTreeSet<String>,
    /// Multipart uploads that are open.
    pub(in crate::soak) multiparts: u64,
}

/// What is wrong with a registry that has come to rest.
pub(in crate::soak) fn at_rest(library: &Library, rest: &Rest) -> Vec<Violation> {
    let wrong = [
        keys(rest),
        passing(rest),
        unreachable(library, rest),
        sizes(library, rest),
    ]
    .concat();
    wrong
        .into_iter()
        .map(|(oracle, what)| Violation::new(oracle, what, &[]))
        .collect()
}

const EXACT: &str = "O5 exactness";
const SIZES: &str = "O12 accounting";

type Wrong = (&'static str, String);

/// Objects without a row, and rows without an object.
fn keys(rest: &Rest) -> Vec<Wrong> {
    let rows: BTreeMap<&str, &str> = rest
        .blobs
        .iter()
        .filter(|(_, _, key)| !key.is_empty())
        .map(|(digest, _, key)| (key.as_str(), digest.as_str()))
        .collect();
    let passing: BTreeSet<&str> = rest.passing.iter().map(String::as_str).collect();
    let leaked = rest
        .keys
        .iter()
        .filter(|key| !rows.contains_key(key.as_str()) && !passing.contains(key.as_str()));
    let lost = rows.iter().filter(|(key, _)| !rest.keys.contains(**key));
    leaked
        .map(|key| (EXACT, format!("leaked: no row names the object {key}")))
        .chain(lost.map(|(key, digest)| (EXACT, format!("lost: a blob's object {key} is not there ({digest})"))))
        .collect()
}

/// What must not be left over.
fn passing(rest: &Rest) -> Vec<Wrong> {
    let mut wrong: Vec<Wrong> = rest
        .waiting
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(table, count)| (EXACT, format!("leaked: {count} row(s) of {table} are left")))
        .collect();
    if rest.multiparts > 0 {
        wrong.push((
            EXACT,
            format!("leaked: {} multipart upload(s) are open", rest.multiparts),
        ));
    }
    wrong
}

/// What the tags of one repository reach.
#[derive(Debug, Default)]
struct Reached {
    manifests: BTreeSet<ManifestId>,
    blobs: BTreeSet<BlobId>,
}

impl Reached {
    /// From the tags over indexes, and back from subjects to what refers to them.
    fn of(library: &Library, tagged: &[ManifestId], there: &BTreeSet<ManifestId>) -> Self {
        let mut reached = Self::default();
        let mut todo = tagged.to_vec();
        while let Some(id) = todo.pop() {
            if !reached.manifests.insert(id) {
                continue;
            }
            let manifest = library.manifest(id);
            reached.blobs.extend(&manifest.blobs);
            // A child that was deleted by its digest is not there, and need not be.
            todo.extend(manifest.children.iter().filter(|child| there.contains(child)));
            todo.extend(
                there
                    .iter()
                    .filter(|other| library.manifest(**other).subject == Some(id)),
            );
        }
        reached
    }
}

/// Manifests, links and blobs that no tag reaches, and those that are reached and not there.
fn unreachable(library: &Library, rest: &Rest) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    let mut everywhere: BTreeSet<BlobId> = BTreeSet::new();
    let repositories: BTreeSet<&str> = [
        rest.manifests.iter().map(|(of, ..)| of.as_str()).collect::<Vec<_>>(),
        rest.links.iter().map(|(of, _)| of.as_str()).collect(),
        rest.tags.iter().map(|(of, ..)| of.as_str()).collect(),
    ]
    .concat()
    .into_iter()
    .collect();
    for repository in repositories {
        if RepositoryId::named(repository).is_none() {
            wrong.push((EXACT, format!("{repository} is none of the soak's repositories")));
        }
        let manifests = rest.manifests.iter().filter(|(of, ..)| of == repository);
        let there: BTreeSet<ManifestId> = manifests
            .filter_map(|(_, digest, _)| library.manifest_named(digest))
            .collect();
        let tags = rest.tags.iter().filter(|(of, ..)| of == repository);
        let tagged: Vec<ManifestId> = tags
            .filter_map(|(_, _, digest)| library.manifest_named(digest))
            .collect();
        let reached = Reached::of(library, &tagged, &there);
        let links = rest.links.iter().filter(|(of, _)| of == repository);
        let linked: BTreeSet<BlobId> = links.filter_map(|(_, digest)| library.blob_named(digest)).collect();
        let place = |what: &str| format!("{what} of {repository}");
        wrong.extend(difference(&place("manifest"), &there, &reached.manifests));
        wrong.extend(difference(&place("link to blob"), &linked, &reached.blobs));
        everywhere.extend(reached.blobs);
    }
    let blobs = rest.blobs.iter();
    let kept: BTreeSet<BlobId> = blobs.filter_map(|(digest, ..)| library.blob_named(digest)).collect();
    wrong.extend(difference("blob", &kept, &everywhere));
    wrong
}

fn difference<T: Ord + std::fmt::Display>(what: &str, there: &BTreeSet<T>, reached: &BTreeSet<T>) -> Vec<Wrong> {
    let leaked = there
        .difference(reached)
        .map(|id| (EXACT, format!("leaked: no tag reaches the {what}: {id}")));
    let lost = reached.difference(there).map(|id| {
        (
            EXACT,
            format!("lost: a tag reaches the {what}, which is not there: {id}"),
        )
    });
    leaked.chain(lost).collect()
}

fn sizes(library: &Library, rest: &Rest) -> Vec<Wrong> {
    let blobs = rest.blobs.iter().filter_map(|(digest, size, _)| {
        let Some(id) = library.blob_named(digest) else {
            return Some((EXACT, format!("the blob {digest} was never pushed")));
        };
        let right = library.blob(id).bytes.len() as u64;
        (*size != right).then(|| (SIZES, format!("{id} has {right} bytes; {size} are counted")))
    });
    let manifests = rest.manifests.iter().filter_map(|(repository, digest, size)| {
        let Some(id) = library.manifest_named(digest) else {
            return Some((EXACT, format!("the manifest {digest} was never pushed")));
        };
        let right = content_size(library, id);
        (*size != right).then(|| {
            (
                SIZES,
                format!("{id} of {repository} has {right} bytes; {size} are counted"),
            )
        })
    });
    blobs.chain(manifests).collect()
}

/// The payload and everything that it names, as it says.
fn content_size(library: &Library, id: ManifestId) -> u64 {
    let manifest = library.manifest(id);
    let blobs = manifest.blobs.iter().map(|blob| library.blob(*blob).bytes.len());
    let children = manifest
        .children
        .iter()
        .map(|child| library.manifest(*child).bytes.len());
    (manifest.bytes.len() + blobs.chain(children).sum::<usize>()) as u64
}

#[cfg(test)]
mod tests {
    use super::{super::tests::library, *};

    const R: &str = "soak/r0";

    /// Manifest 0 is tagged, manifest 3 refers to it; all is as it must be.
    fn whole() -> Rest {
        let library = library();
        let digest = |id: usize| library.manifest(ManifestId(id)).digest.clone();
        let blob = |id: usize| library.blob(BlobId(id)).digest.clone();
        let kept = [0, 1, 3, 4];
        Rest {
            blobs: kept.iter().map(|id| (blob(*id), 10, format!("blobs/{id}"))).collect(),
            links: kept.iter().map(|id| (R.to_owned(), blob(*id))).collect(),
            manifests: [0, 3]
                .map(|id| (R.to_owned(), digest(id), content_size(&library, ManifestId(id))))
                .to_vec(),
            tags: vec![(R.to_owned(), "t001".to_owned(), digest(0))],
            keys: kept.iter().map(|id| format!("blobs/{id}")).collect(),
            waiting: BTreeMap::from([("tombstones".to_owned(), 0)]),
            ..Rest::default()
        }
    }

    fn wrong(change: impl FnOnce(&mut Rest)) -> Vec<String> {
        let mut rest = whole();
        change(&mut rest);
        let violations = at_rest(&library(), &rest);
        violations.iter().map(ToString::to_string).collect()
    }

    #[track_caller]
    fn finds(change: impl FnOnce(&mut Rest), words: &str) {
        let found = wrong(change);
        assert!(found.iter().any(|text| text.contains(words)), "{words}: {found:?}");
    }

    #[test]
    fn a_registry_that_keeps_what_its_tags_reach_is_right() {
        assert!(wrong(|_| ()).is_empty(), "{:?}", wrong(|_| ()));
    }

    #[test]
    fn an_object_without_a_row_and_a_row_without_an_object_are_found() {
        finds(|rest| rest.keys.extend(["blobs/9".to_owned()]), "leaked: no row names");
        finds(
            |rest| {
                rest.keys.remove("blobs/1");
            },
            "lost: a blob's object blobs/1",
        );
    }

    #[test]
    fn rows_that_no_tag_reaches_are_found() {
        finds(
            |rest| rest.tags.clear(),
            "leaked: no tag reaches the manifest of soak/r0: m0",
        );
        finds(|rest| rest.tags.clear(), "leaked: no tag reaches the blob: b1");
        let second = library().blob(BlobId(2)).digest.clone();
        finds(
            |rest| rest.links.push((R.to_owned(), second)),
            "leaked: no tag reaches the link to blob of soak/r0: b2",
        );
    }

    #[test]
    fn rows_that_are_missing_are_found() {
        finds(
            |rest| drop(rest.blobs.remove(1)),
            "lost: a tag reaches the blob, which is not there: b1",
        );
        finds(
            |rest| drop(rest.links.remove(0)),
            "link to blob of soak/r0, which is not there: b0",
        );
        finds(
            |rest| drop(rest.manifests.remove(0)),
            "lost: a tag reaches the manifest",
        );
    }

    #[test]
    fn what_is_left_over_is_found() {
        finds(
            |rest| {
                rest.waiting.insert("upload_sessions".to_owned(), 2);
            },
            "upload_sessions",
        );
        finds(|rest| rest.multiparts = 1, "multipart");
    }

    #[test]
    fn a_wrong_size_is_found() {
        finds(|rest| rest.blobs[0].1 = 11, "O12 accounting: b0");
        finds(|rest| rest.manifests[0].2 += 1, "O12 accounting: m0");
    }
}
