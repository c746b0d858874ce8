//! Content discovery: distribution-spec end-8 and end-12, and Docker's catalog.

use super::Distribution;
use super::error::{Error, Switch};
use crate::metadata::referrers::{self, Found, Referrer, Wanted};
use crate::metadata::{Micros, NamesPage, repositories, tags};
use oci::{Digest, Page, RepositoryName};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One page of names.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// One more than the page has, when more follow.
    found: Arc<Vec<String>>,
    limit: u32,
}

impl Listing {
    /// In byte order.
    pub fn names(&self) -> &[String] {
        &self.found[..self.found.len().min(self.limit as usize)]
    }

    /// How many a page has, when more names follow.
    pub fn more(&self) -> Option<u64> {
        (self.limit > 0 && self.found.len() > self.limit as usize).then_some(self.limit.into())
    }
}

/// A manifest that refers to a subject, as the referrers listing shows it.
#[derive(Debug, Clone, Copy)]
pub struct ReferrerEntry<'f> {
    /// As pushed.
    pub media_type: &'f str,
    /// As pushed.
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
    /// Its own, or the config's of an image that has none.
    pub artifact_type: Option<&'f str>,
    /// All of the manifest's.
    pub annotations: &'f BTreeMap<String, String>,
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
    found: Arc<Found>,
    limit: u32,
}

impl Referrers {
    /// The oldest first.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = ReferrerEntry<'_>> {
        self.found.referrers.iter().take(self.limit as usize).map(entry)
    }

    /// True when more follow.
    pub fn more(&self) -> bool {
        self.limit > 0 && (self.found.cut || self.found.referrers.len() > self.limit as usize)
    }
}

impl Distribution {
    /// A page of a repository's tags.
    ///
    /// # Errors
    /// `NameUnknown`.
    pub async fn tags(&self, repository: &RepositoryName, page: &Page) -> Result<Listing, Error> {
        let limit = self.page_size(page.limit);
        let page = looking_ahead(Some(repository), page, limit);
        let asked = async {
            let mut reader = self.metadata.read().await?;
            let key = self.metadata.look_up(&mut reader, repository).await?;
            let key = key.ok_or(Error::NameUnknown)?;
            Ok::<_, Error>(Arc::new(tags::page(&mut reader, key, &page.last, page.limit).await?))
        };
        let found = self.metadata.names_or(page.clone(), asked).await?;
        Ok(Listing { found, limit })
    }

    /// A page of the registry's repositories.
    ///
    /// # Errors
    /// `SwitchedOff`.
    pub async fn catalog(&self, page: &Page) -> Result<Listing, Error> {
        if !self.rules.catalog {
            return Err(Error::SwitchedOff(Switch::Catalog));
        }
        let limit = self.page_size(page.limit);
        let page = looking_ahead(None, page, limit);
        let asked = async {
            let mut reader = self.metadata.read().await?;
            Ok::<_, Error>(Arc::new(repositories::page(&mut reader, &page.last, page.limit).await?))
        };
        let found = self.metadata.names_or(page.clone(), asked).await?;
        Ok(Listing { found, limit })
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
        let limit = self.page_size(asked.limit);
        let wanted = Wanted {
            subject,
            artifact_types: asked.artifact_types,
            after: asked.after.map(|cursor| (cursor.created_at, cursor.digest)),
            limit: limit.saturating_add(1),
            bytes: asked.bytes,
        };
        let read = async {
            let mut reader = self.metadata.read().await?;
            let found = match self.metadata.look_up(&mut reader, repository).await? {
                Some(key) => referrers::of_subject(&mut reader, key, wanted).await?,
                None => Found::default(),
            };
            Ok::<_, Error>(Arc::new(found))
        };
        let found = self.metadata.referrers_or(repository, wanted, read).await?;
        Ok(Referrers { found, limit })
    }

    /// More than we give at once is cut, not refused.
    fn page_size(&self, asked: Option<u64>) -> u32 {
        let asked = asked.unwrap_or_else(|| self.limits.page.into());
        u32::try_from(asked).unwrap_or(u32::MAX).min(self.limits.page)
    }
}

fn entry(found: &Referrer) -> ReferrerEntry<'_> {
    ReferrerEntry {
        size: found.size,
        media_type: &found.media_type,
        digest: found.digest,
        artifact_type: found.artifact_type.as_deref(),
        annotations: &found.annotations,
        cursor: ReferrerCursor {
            created_at: found.created_at,
            digest: found.digest,
        },
    }
}

/// Looks ahead by one, so that there is never an empty last page.
fn looking_ahead(of: Option<&RepositoryName>, page: &Page, limit: u32) -> NamesPage {
    NamesPage {
        of: of.cloned(),
        last: page.last.clone().unwrap_or_default(),
        limit: limit.saturating_add(1),
    }
}
