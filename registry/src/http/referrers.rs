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
use serde_json::json;

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
    let (body, shown) = list(&found.entries);
    let answer = content(StatusCode::OK, media_type::OCI_INDEX, body.into());
    let answer = if types.is_empty() {
        answer
    } else {
        with(answer, OCI_FILTERS_APPLIED, "artifactType")
    };
    let more = found.more || shown < found.entries.len();
    Ok(match found.entries[..shown].last() {
        Some(last) if more => {
            let path = format!("/v2/{repository}/referrers/{subject}");
            with(answer, header::LINK, asked.next(&path, last.cursor))
        }
        Some(_) | None => answer,
    })
}

/// An index of as many entries as fit, and their number.
fn list(entries: &[ReferrerEntry]) -> (Vec<u8>, usize) {
    let index = media_type::OCI_INDEX;
    let mut list = format!(r#"{{"schemaVersion":2,"mediaType":"{index}","manifests":["#).into_bytes();
    let mut shown = 0;
    for entry in entries {
        let entry = described(entry).to_string();
        if shown > 0 && list.len() + entry.len() + 3 > MOST_BYTES {
            break;
        }
        if shown > 0 {
            list.push(b',');
        }
        list.extend_from_slice(entry.as_bytes());
        shown += 1;
    }
    list.extend_from_slice(b"]}");
    (list, shown)
}

fn described(entry: &ReferrerEntry) -> serde_json::Value {
    let mut shown = json!({ "mediaType": entry.media_type, "digest": entry.digest, "size": entry.size });
    if let Some(artifact_type) = &entry.artifact_type {
        shown["artifactType"] = json!(artifact_type);
    }
    if !entry.annotations.is_empty() {
        shown["annotations"] = json!(entry.annotations);
    }
    shown
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
