//! The manifests that refer to a subject: end-12.
//!
//! Many clients read the first page only, so a page is as long as the longest body that they take.

use super::answer::{Answer, OCI_FILTERS_APPLIED, content, with};
use super::error::ApiError;
use super::push::Query;
use crate::distribution::{Distribution, ReferrerCursor, ReferrerEntry, ReferrersPage};
use http::{StatusCode, header};
use oci::query::percent_encode;
use oci::{Digest, Page, RepositoryName, media_type};
use serde::Serialize;
use std::collections::BTreeMap;

/// The longest body; one entry that is longer still is a page of its own.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// What a request asks for.
struct Asked {
    artifact_types: Vec<String>,
    limit: Option<u64>,
    after: Option<ReferrerCursor>,
}

impl Asked {
    fn read(query: &Query) -> Result<Self, ApiError> {
        let page = Page::parse(query).map_err(ApiError::Page)?;
        let after = page
            .last
            .map(|last| cursor(&last).ok_or(ApiError::Cursor))
            .transpose()?;
        let types = query
            .iter()
            .filter(|(key, value)| key == "artifactType" && !value.is_empty())
            // A client that did not escape the + of a media type meant it all the same. No type has a control character,
            // and one in a filter fits none; but NUL is one that PostgreSQL would not even look for.
            .map(|(_, value)| value.replace(' ', "+").replace('\0', "\u{1}"));
        Ok(Self {
            artifact_types: types.collect(),
            limit: page.limit,
            after,
        })
    }

    /// The link to the entries behind `last`, for the same question.
    fn next(&self, path: &str, last: ReferrerCursor) -> String {
        let types = self
            .artifact_types
            .iter()
            .map(|wanted| format!("artifactType={}&", percent_encode(wanted)));
        let limit = self.limit.map(|n| format!("n={n}&")).unwrap_or_default();
        let last = hex::encode(last.to_bytes());
        format!("<{path}?{}{limit}last={last}>; rel=\"next\"", types.collect::<String>())
    }
}

fn cursor(text: &str) -> Option<ReferrerCursor> {
    ReferrerCursor::from_bytes(&hex::decode(text).ok()?)
}

pub(super) async fn referrers(
    distribution: &Distribution,
    repository: &RepositoryName,
    subject: &Digest,
    query: &Query,
) -> Result<Answer, ApiError> {
    let asked = Asked::read(query)?;
    let types: Vec<&str> = asked.artifact_types.iter().map(String::as_str).collect();
    let page = ReferrersPage {
        artifact_types: &types,
        limit: asked.limit,
        after: asked.after,
        bytes: MOST_BYTES as u64,
    };
    let found = distribution.referrers(repository, subject, &page).await?;
    let (body, shown, last) = list(found.entries());
    let answer = content(StatusCode::OK, media_type::OCI_INDEX, body.into());
    let answer = if types.is_empty() {
        answer
    } else {
        with(answer, OCI_FILTERS_APPLIED, "artifactType")
    };
    let more = found.more() || shown < found.entries().len();
    Ok(match last {
        Some(last) if more => {
            let path = format!("/v2/{repository}/referrers/{subject}");
            with(answer, header::LINK, asked.next(&path, last))
        }
        Some(_) | None => answer,
    })
}

/// An index of as many entries as fit, their number, and the place of the last one.
fn list<'f>(entries: impl Iterator<Item = ReferrerEntry<'f>>) -> (Vec<u8>, usize, Option<ReferrerCursor>) {
    let index = media_type::OCI_INDEX;
    let mut body = format!(r#"{{"schemaVersion":2,"mediaType":"{index}","manifests":["#).into_bytes();
    let (mut shown, mut last) = (0, None);
    for entry in entries {
        // Text always serialises.
        let text = serde_json::to_vec(&Described::of(&entry)).unwrap_or_default();
        if shown > 0 && body.len() + text.len() + 3 > MOST_BYTES {
            break;
        }
        if shown > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&text);
        (shown, last) = (shown + 1, Some(entry.cursor));
    }
    body.extend_from_slice(b"]}");
    (body, shown, last)
}

/// A descriptor, written without a tree of values between.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Described<'f> {
    media_type: &'f str,
    digest: Digest,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<&'f str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'f BTreeMap<String, String>,
}

impl<'f> Described<'f> {
    fn of(entry: &ReferrerEntry<'f>) -> Self {
        let &ReferrerEntry {
            media_type,
            digest,
            size,
            artifact_type,
            annotations,
            cursor: _,
        } = entry;
        Self {
            media_type,
            digest,
            size,
            artifact_type,
            annotations,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::query::pairs;

    #[test]
    fn a_filter_is_never_more_than_a_database_can_look_for() {
        let asked = Asked::read(&pairs("artifactType=a%00&artifactType=b/c+d&artifactType="));

        assert_eq!(
            asked.ok().map(|asked| asked.artifact_types).unwrap_or_default(),
            ["a\u{1}", "b/c+d"]
        );
    }
}
