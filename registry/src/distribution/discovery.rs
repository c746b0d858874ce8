//! Content discovery: distribution-spec end-8 and end-12, and Docker's catalog.

use super::Distribution;
use super::error::{Error, Switch};
use crate::metadata::{referrers, repositories, tags};
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

    /// The manifests whose subject is `subject`, the oldest first; none for an unknown repository. An empty list of
    /// types stands for all.
    ///
    /// # Errors
    /// `Database`.
    pub async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_types: &[String],
    ) -> Result<Vec<ReferrerEntry>, Error> {
        let mut reader = self.metadata.read().await?;
        let Some(key) = repositories::find(&mut reader, repository).await? else {
            return Ok(Vec::new());
        };
        let found = referrers::of_subject(&mut reader, key, subject).await?;
        let wanted = |artifact_type: Option<&str>| {
            artifact_types.is_empty()
                || artifact_types
                    .iter()
                    .any(|wanted| Some(wanted.as_str()) == artifact_type)
        };
        Ok(found
            .into_iter()
            .filter(|one| wanted(one.artifact_type.as_deref()))
            .map(entry)
            .collect())
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
