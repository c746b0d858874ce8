//! Content discovery: distribution-spec end-8 and end-12, and Docker's catalog.

use super::Distribution;
use super::error::{Error, Switch};
use crate::metadata::referrers::{self, Wanted};
use crate::metadata::{Micros, repositories, tags};
use oci::{Digest, Page, RepositoryName};
use std::collections::BTreeMap;

/// One page of names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// In byte order.
    pub names: Vec<String>,
    /// How many a page has, when more names follow.
    pub more: Option<u64>,
}

/// A manifest that refers to a subject, as the referrers listing shows it.
#[derive(Debug, Clone)]
pub struct ReferrerEntry {
    /// As pushed.
    pub media_type: String,
    /// As pushed.
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
    /// Its own, or the config's of an image that has none.
    pub artifact_type: Option<String>,
    /// All of the manifest's.
    pub annotations: BTreeMap<String, String>,
    /// Its place in the list.
    pub cursor: ReferrerCursor,
}

/// A place in a list of referrers: behind this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReferrerCursor {
    created_at: Micros,
    digest: Digest,
}

impl ReferrerCursor {
    /// As it stands in a link; means nothing to clients.
    pub fn to_bytes(self) -> Vec<u8> {
        [&self.created_at.to_be_bytes()[..], &self.digest.to_bytes()].concat()
    }

    /// Reads what [`ReferrerCursor::to_bytes`] wrote. `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (created_at, digest) = bytes.split_first_chunk()?;
        Some(Self {
            created_at: Micros::from_be_bytes(*created_at),
            digest: Digest::from_bytes(digest).ok()?,
        })
    }
}

/// Which referrers of a subject are asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReferrersPage<'a> {
    /// Only those of one of these types; empty: of any.
    pub artifact_types: &'a [&'a str],
    /// At most so many.
    pub limit: Option<u64>,
    /// Only those behind this place.
    pub after: Option<ReferrerCursor>,
    /// Annotations of more than so many bytes are for the next page.
    pub bytes: u64,
}

/// One page of referrers.
#[derive(Debug, Clone, Default)]
pub struct Referrers {
    /// The oldest first.
    pub entries: Vec<ReferrerEntry>,
    /// True when more follow.
    pub more: bool,
}

impl Distribution {
    /// A page of a repository's tags.
    ///
    /// # Errors
    /// `NameUnknown`.
    pub async fn tags(&self, repository: &RepositoryName, page: &Page) -> Result<Listing, Error> {
        let mut reader = self.metadata.read().await?;
        let key = repositories::find(&mut reader, repository)
            .await?
            .ok_or(Error::NameUnknown)?;
        let Some(limit) = self.page_size(page) else {
            return Ok(Listing::default());
        };
        let last = page.last.as_deref().unwrap_or_default();
        let names = tags::page(&mut reader, key, last, limit.saturating_add(1)).await?;
        Ok(cut(names, limit))
    }

    /// A page of the registry's repositories.
    ///
    /// # Errors
    /// `SwitchedOff`.
    pub async fn catalog(&self, page: &Page) -> Result<Listing, Error> {
        if !self.rules.catalog {
            return Err(Error::SwitchedOff(Switch::Catalog));
        }
        let Some(limit) = self.page_size(page) else {
            return Ok(Listing::default());
        };
        let mut reader = self.metadata.read().await?;
        let last = page.last.as_deref().unwrap_or_default();
        let names = repositories::page(&mut reader, last, limit.saturating_add(1)).await?;
        Ok(cut(names, limit))
    }

    /// The manifests whose subject is `subject`, the oldest first; none for an unknown repository.
    ///
    /// # Errors
    /// `Database`.
    pub async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        asked: &ReferrersPage<'_>,
    ) -> Result<Referrers, Error> {
        let page = Page {
            limit: asked.limit,
            last: None,
        };
        let Some(limit) = self.page_size(&page) else {
            return Ok(Referrers::default());
        };
        let mut reader = self.metadata.read().await?;
        let Some(key) = repositories::find(&mut reader, repository).await? else {
            return Ok(Referrers::default());
        };
        let wanted = Wanted {
            subject,
            artifact_types: asked.artifact_types,
            after: asked.after.map(|cursor| (cursor.created_at, cursor.digest)),
            limit: limit.saturating_add(1),
            bytes: asked.bytes,
        };
        let mut found = referrers::of_subject(&mut reader, key, wanted).await?;
        let more = found.cut || found.referrers.len() > limit as usize;
        found.referrers.truncate(limit as usize);
        Ok(Referrers {
            entries: found.referrers.into_iter().map(entry).collect(),
            more,
        })
    }

    /// `None` for a page of no entries. More than we give at once is cut, not refused.
    fn page_size(&self, page: &Page) -> Option<u32> {
        let asked = page.limit.unwrap_or_else(|| self.limits.page.into());
        let size = u32::try_from(asked).unwrap_or(u32::MAX).min(self.limits.page);
        (size > 0).then_some(size)
    }
}

fn entry(found: referrers::Referrer) -> ReferrerEntry {
    ReferrerEntry {
        size: found.size,
        media_type: found.media_type,
        digest: found.digest,
        artifact_type: found.artifact_type,
        annotations: found.annotations,
        cursor: ReferrerCursor {
            created_at: found.created_at,
            digest: found.digest,
        },
    }
}

/// Looks ahead by one, so that there is never an empty last page.
fn cut(mut names: Vec<String>, limit: u32) -> Listing {
    let more = names.len() > limit as usize;
    names.truncate(limit as usize);
    Listing {
        names,
        more: more.then_some(limit.into()),
    }
}
