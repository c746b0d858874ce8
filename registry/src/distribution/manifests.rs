//! Pushing manifests: distribution-spec end-7.

use super::error::Error;
use super::{Distribution, due, retried};
use crate::blobs::Mismatch;
use crate::metadata::manifests::{self, NewManifest};
use crate::metadata::repositories::{self, RepositoryKey};
use crate::metadata::reviews::{self, Due, Reason, Subject};
use crate::metadata::tags::Pointer;
use crate::metadata::{Tx, blobs, tags};
use oci::{Algorithm, Digest, Manifest, Reference, ReferenceKind, ReferenceTo, RepositoryName, SubjectDigest, Tag};
use std::collections::HashSet;

/// A manifest to be stored.
#[derive(Debug, Clone, Copy)]
pub struct ManifestPut<'a> {
    /// The tag or digest of the request.
    pub reference: &'a Reference,
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
}

impl Distribution {
    /// Stores a manifest and points the tag to it, in one transaction: all of it is durable on return, or nothing is.
    ///
    /// Repeating it changes nothing but the time of the push.
    ///
    /// # Errors
    /// `DigestMismatch`, `ManifestInvalid`, `ReferencesUnknown`.
    pub async fn put_manifest(&self, repository: &RepositoryName, put: ManifestPut<'_>) -> Result<StoredAs, Error> {
        let digest = named_digest(put)?;
        let manifest = Manifest::parse(put.content_type, put.payload)?;
        let references = manifest.references();
        retried(|| self.store(repository, put, &manifest, &references, digest)).await?;
        Ok(StoredAs {
            digest,
            subject: manifest.subject,
        })
    }

    async fn store(
        &self,
        repository: &RepositoryName,
        put: ManifestPut<'_>,
        manifest: &Manifest,
        references: &[ReferenceTo],
        digest: Digest,
    ) -> Result<(), Error> {
        let now = self.now();
        let mut tx = self.metadata.begin().await?;
        let key = repositories::ensure(&mut tx, repository, now).await?;
        let (mut present, mut missing) = sorted(&mut tx, key, references).await?;
        if !missing.is_empty() {
            // What it may lack can be on its way. Whoever brings it must see that it is missed, or be seen.
            repositories::lock(&mut tx, key).await?;
            (present, missing) = sorted(&mut tx, key, references).await?;
        }
        let new = NewManifest {
            digest: &digest,
            media_type: &manifest.media_type,
            artifact_type: manifest.artifact_type.as_deref(),
            config_media_type: manifest.config_media_type.as_deref(),
            subject: manifest.subject.as_ref(),
            annotations: &manifest.annotations,
            payload: put.payload,
            content_size: content_size(put.payload, references),
        };
        manifests::add(&mut tx, key, new, now).await?;
        manifests::add_references(&mut tx, key, &digest, &present).await?;
        manifests::add_missing(&mut tx, key, &digest, &missing).await?;
        manifests::resolve_missing_child(&mut tx, key, &digest).await?;
        match put.reference {
            Reference::Tag(tag) => self.point(&mut tx, key, tag, digest).await?,
            // An untagged manifest waits for a tag or an index that names it.
            Reference::Digest(_) => {
                review(&mut tx, key, digest, due(self, Reason::ManifestUpload)).await?;
            }
        }
        Ok(tx.commit().await?)
    }

    /// Points a tag to a manifest; the one that it pointed to before may have become garbage.
    async fn point(&self, tx: &mut Tx, key: RepositoryKey, tag: &Tag, digest: Digest) -> Result<(), Error> {
        let (now, to) = (
            self.now(),
            Pointer {
                key,
                tag,
                manifest: &digest,
            },
        );
        if !tags::create(tx, to, now).await? {
            let before = tags::target(tx, key, tag).await?.ok_or(Error::Raced)?;
            if before == digest {
                return Ok(());
            }
            tags::point(tx, to, now).await?;
            review(tx, key, before, due(self, Reason::TagSwitch)).await?;
        }
        Ok(repositories::published(tx, key, now).await?)
    }
}

async fn review(tx: &mut Tx, key: RepositoryKey, digest: Digest, due: Due) -> Result<(), Error> {
    Ok(reviews::add(tx, Subject::Manifest, key, &[digest], due).await?)
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

/// What the repository has of a manifest's references, and what it may lack; it must have all the others.
async fn sorted(
    tx: &mut Tx,
    key: RepositoryKey,
    references: &[ReferenceTo],
) -> Result<(Vec<ReferenceTo>, Vec<ReferenceTo>), Error> {
    let digests = |child: bool| -> Vec<Digest> {
        let of_kind = references.iter().filter(|r| (r.kind == ReferenceKind::Child) == child);
        of_kind.map(|reference| reference.digest).collect()
    };
    let (children, content) = (digests(true), digests(false));
    let mut known: HashSet<(bool, Digest)> = HashSet::new();
    if !content.is_empty() {
        let linked = blobs::linked_among(tx, key, &content).await?;
        known.extend(linked.into_iter().map(|digest| (false, digest)));
    }
    if !children.is_empty() {
        let present = manifests::present_among(tx, key, &children).await?;
        known.extend(present.into_iter().map(|digest| (true, digest)));
    }
    let is_known = |r: &ReferenceTo| known.contains(&(r.kind == ReferenceKind::Child, r.digest));
    let (present, missing): (Vec<_>, Vec<_>) = references.iter().cloned().partition(is_known);
    let unknown: Vec<Digest> = missing.iter().filter(|r| r.must_exist).map(|r| r.digest).collect();
    if unknown.is_empty() {
        Ok((present, missing))
    } else {
        Err(Error::ReferencesUnknown(unknown))
    }
}

fn content_size(payload: &[u8], references: &[ReferenceTo]) -> u64 {
    references.iter().fold(payload.len() as u64, |sum, reference| {
        sum.saturating_add(reference.size)
    })
}
