//! Pushing manifests: distribution-spec end-7.

use super::error::Error;
use super::{Distribution, Sparse, due, retried};
use crate::blobs::Mismatch;
use crate::metadata::manifests::{self, NewManifest};
use crate::metadata::repositories::{self, RepositoryKey};
use crate::metadata::reviews::{self, Due, Reason, Subject};
use crate::metadata::tags::Pointer;
use crate::metadata::{Tx, blobs, tags};
use crate::staging;
use oci::{Algorithm, Digest, Manifest, Reference, ReferenceKind, ReferenceTo, RepositoryName, SubjectDigest, Tag};
use std::collections::{BTreeSet, HashMap};

/// A manifest to be stored.
#[derive(Debug, Clone, Copy)]
pub struct ManifestPut<'a> {
    /// The tag or digest of the request.
    pub reference: &'a Reference,
    /// More tags for it: those of the query.
    pub tags: &'a [Tag],
    /// As the client sent it.
    pub content_type: Option<&'a str>,
    /// The exact bytes.
    pub payload: &'a [u8],
}

/// How a manifest was stored.
#[derive(Debug, Clone)]
pub struct StoredAs {
    /// The digest that names it.
    pub digest: Digest,
    /// What it refers to as its subject.
    pub subject: Option<SubjectDigest>,
    /// Blobs and manifests that are not of the size that the manifest says.
    pub wrong_sizes: Vec<WrongSize>,
}

/// A blob or manifest that is not of the size that a manifest says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongSize {
    /// Its digest.
    pub digest: Digest,
    /// As the manifest says, in bytes.
    pub said: u64,
    /// As it is, in bytes.
    pub stored: u64,
}

impl ManifestPut<'_> {
    /// In one order for every request: two that point the same tags would wait for each other otherwise.
    fn all_tags(&self) -> Vec<&Tag> {
        let own = match self.reference {
            Reference::Tag(tag) => Some(tag),
            Reference::Digest(_) => None,
        };
        let mut tags: Vec<&Tag> = own.into_iter().chain(self.tags).collect();
        tags.sort_unstable();
        tags.dedup();
        tags
    }
}

impl Distribution {
    /// Stores a manifest and points its tags to it, in one transaction: all of it is durable on return, or nothing is.
    ///
    /// Repeating it changes nothing but the time of the push.
    ///
    /// # Errors
    /// `DigestMismatch`, `ManifestInvalid`, `ReferencesUnknown`.
    pub async fn put_manifest(&self, repository: &RepositoryName, put: ManifestPut<'_>) -> Result<StoredAs, Error> {
        let digest = named_digest(put)?;
        let manifest = Manifest::parse(put.content_type, put.payload)?;
        let references = manifest.references();
        let (count, limit) = (references.len(), self.limits.references);
        if count > limit {
            return Err(Error::TooManyReferences { count, limit });
        }
        let wrong_sizes = retried(|| self.store(repository, put, &manifest, &references, digest)).await?;
        Ok(StoredAs {
            digest,
            subject: manifest.subject,
            wrong_sizes,
        })
    }

    async fn store(
        &self,
        repository: &RepositoryName,
        put: ManifestPut<'_>,
        manifest: &Manifest,
        references: &[ReferenceTo],
        digest: Digest,
    ) -> Result<Vec<WrongSize>, Error> {
        let now = self.now();
        let (mut tx, key, found) = self.look(repository, references).await?;
        let new = NewManifest {
            digest: &digest,
            media_type: &manifest.media_type,
            artifact_type: manifest.artifact_type.as_deref(),
            config_media_type: manifest.config_media_type.as_deref(),
            subject: manifest
                .subject
                .as_ref()
                .filter(|_| !staging::mutated("subject_skipped")),
            annotations: &manifest.annotations,
            payload: put.payload,
            content_size: content_size(put.payload, references),
        };
        staging::point("manifest.looked").await;
        manifests::add(&mut tx, key, new, now).await?;
        let present: Vec<ReferenceTo> = found.present.into_iter().filter(is_recorded).collect();
        manifests::add_references(&mut tx, key, &digest, &present).await?;
        manifests::add_missing(&mut tx, key, &digest, &found.missing).await?;
        manifests::resolve_missing_child(&mut tx, key, &digest).await?;
        self.name(&mut tx, key, put, digest).await?;
        staging::point("manifest.written").await;
        tx.commit().await?;
        Ok(found.wrong_sizes)
    }

    /// Looks for the references, and holds what was found until the end of the transaction.
    async fn look(
        &self,
        repository: &RepositoryName,
        references: &[ReferenceTo],
    ) -> Result<(Tx, RepositoryKey, Found), Error> {
        let (now, sparse) = (self.now(), self.rules.sparse);
        let mut tx = self.metadata.begin().await?;
        let key = repositories::ensure(&mut tx, repository, now).await?;
        let found = Found::of(&mut tx, key, references, sparse).await?;
        if !found.lacks_its_own() {
            return Ok((tx, key, found));
        }
        // What it lacks can be on its way. Whoever brings it must see that it is missed, or be seen.
        drop(tx);
        let mut tx = self.metadata.begin().await?;
        let alone = repositories::ensure_alone(&mut tx, repository, now).await?;
        let key = alone.ok_or(Error::Raced)?;
        let found = Found::of(&mut tx, key, references, sparse).await?;
        Ok((tx, key, found))
    }

    /// Points every tag of the request to the manifest; those that they pointed to before may have become garbage.
    ///
    /// The rows in one order for every request: all tags, then all reviews, then the repository.
    async fn name(&self, tx: &mut Tx, key: RepositoryKey, put: ManifestPut<'_>, digest: Digest) -> Result<(), Error> {
        let tags = put.all_tags();
        if tags.is_empty() {
            // An untagged manifest waits for a tag or an index that names it.
            return review(tx, key, &[digest], due(self, Reason::ManifestUpload)).await;
        }
        let (mut changed, mut displaced) = (false, BTreeSet::new());
        for tag in tags {
            let before = self.point(tx, key, tag, digest).await?;
            changed |= before != Some(digest);
            displaced.extend(before.filter(|before| *before != digest));
        }
        let displaced: Vec<Digest> = displaced.into_iter().collect();
        review(tx, key, &displaced, due(self, Reason::TagSwitch)).await?;
        if changed {
            repositories::published(tx, key, self.now()).await?;
        }
        Ok(())
    }

    /// Points a tag to a manifest, and says where an existing one pointed before.
    async fn point(
        &self,
        tx: &mut Tx,
        key: RepositoryKey,
        tag: &Tag,
        manifest: Digest,
    ) -> Result<Option<Digest>, Error> {
        let now = self.now();
        let to = Pointer {
            key,
            tag,
            manifest: &manifest,
        };
        if tags::create(tx, to, now).await? {
            return Ok(None);
        }
        let before = tags::target(tx, key, tag).await?.ok_or(Error::Raced)?;
        if before != manifest {
            tags::point(tx, to, now).await?;
        }
        Ok(Some(before))
    }
}

async fn review(tx: &mut Tx, key: RepositoryKey, manifests: &[Digest], due: Due) -> Result<(), Error> {
    Ok(reviews::add(tx, Subject::Manifest, key, manifests, due).await?)
}

/// The digest of the request, checked, or the payload's own for a tag.
fn named_digest(put: ManifestPut<'_>) -> Result<Digest, Error> {
    match put.reference {
        Reference::Tag(_) => Ok(Digest::of(Algorithm::Sha256, put.payload)),
        Reference::Digest(expected) => {
            let actual = Digest::of(expected.algorithm(), put.payload);
            if actual == *expected {
                Ok(actual)
            } else {
                Err(Error::DigestMismatch(Box::new(Mismatch {
                    expected: *expected,
                    actual,
                })))
            }
        }
    }
}

/// A manifest's references, held against what the repository has.
struct Found {
    present: Vec<ReferenceTo>,
    /// What it may lack: see [`Self::lacks_its_own`].
    missing: Vec<ReferenceTo>,
    wrong_sizes: Vec<WrongSize>,
}

impl Found {
    /// Fails when something is not there that must be.
    async fn of(tx: &mut Tx, key: RepositoryKey, references: &[ReferenceTo], sparse: Sparse) -> Result<Self, Error> {
        let stored = stored_sizes(tx, key, references).await?;
        let mut found = Self {
            present: Vec::new(),
            missing: Vec::new(),
            wrong_sizes: Vec::new(),
        };
        let mut unknown = Vec::new();
        for reference in references {
            match stored.get(&(is_child(reference), reference.digest)) {
                Some(&size) => {
                    found.present.push(reference.clone());
                    found.compare(reference, size);
                }
                None if reference.must_exist && !allowed(sparse, reference.kind) => unknown.push(reference.digest),
                None => found.missing.push(reference.clone()),
            }
        }
        if unknown.is_empty() {
            Ok(found)
        } else {
            Err(Error::ReferencesUnknown(unknown))
        }
    }

    /// True when something is missing that only this repository can have. A layer that lives elsewhere is not waited
    /// for: where it comes at this very moment, it is a reference to elsewhere all the same.
    fn lacks_its_own(&self) -> bool {
        self.missing.iter().any(|reference| reference.must_exist)
    }

    fn compare(&mut self, reference: &ReferenceTo, stored: u64) {
        if reference.size != stored {
            self.wrong_sizes.push(WrongSize {
                digest: reference.digest,
                said: reference.size,
                stored,
            });
        }
    }
}

fn allowed(sparse: Sparse, kind: ReferenceKind) -> bool {
    sparse.allows(kind) || staging::mutated("references_not_checked")
}

/// Every reference is, but for faults that are planted.
fn is_recorded(reference: &ReferenceTo) -> bool {
    match reference.kind {
        ReferenceKind::Config => !staging::mutated("config_skipped"),
        ReferenceKind::Child => !staging::mutated("children_skipped"),
        ReferenceKind::Layer | ReferenceKind::IndexBlob => !staging::mutated("layers_skipped"),
    }
}

fn is_child(reference: &ReferenceTo) -> bool {
    reference.kind == ReferenceKind::Child
}

/// The size of each reference that the repository has, by whether it is a child and by its digest.
async fn stored_sizes(
    tx: &mut Tx,
    key: RepositoryKey,
    references: &[ReferenceTo],
) -> Result<HashMap<(bool, Digest), u64>, Error> {
    let digests = |child: bool| -> Vec<Digest> {
        let of_kind = references.iter().filter(|reference| is_child(reference) == child);
        of_kind.map(|reference| reference.digest).collect()
    };
    let (children, content) = (digests(true), digests(false));
    let mut stored = HashMap::new();
    if !content.is_empty() {
        let linked = blobs::linked_among(tx, key, &content).await?;
        // What cannot be pulled is not acknowledged: the client is told to push it, which heals it.
        let sound = linked.into_iter().filter(|blob| !blob.corrupt);
        stored.extend(sound.map(|blob| ((false, blob.digest), blob.size)));
    }
    if !children.is_empty() {
        let present = manifests::present_among(tx, key, &children).await?;
        stored.extend(present.into_iter().map(|(digest, size)| ((true, digest), size)));
    }
    Ok(stored)
}

fn content_size(payload: &[u8], references: &[ReferenceTo]) -> u64 {
    references.iter().fold(payload.len() as u64, |sum, reference| {
        sum.saturating_add(reference.size)
    })
}
