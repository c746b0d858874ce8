//! Content discovery: end-8, end-12 and Docker's catalog.

use super::answer::{Answer, OCI_FILTERS_APPLIED, content, json, with};
use super::error::ApiError;
use super::push::Query;
use crate::distribution::{Distribution, Listing};
use http::{StatusCode, header};
use oci::{Digest, Page, RepositoryName, media_type, next_link};
use serde_json::json;

pub(super) async fn tags(
    distribution: &Distribution,
    repository: &RepositoryName,
    query: &Query,
) -> Result<Answer, ApiError> {
    let page = Page::parse(query).map_err(ApiError::Page)?;
    let listing = distribution.tags(repository, &page).await?;
    let body = json!({ "name": repository.as_str(), "tags": listing.names });
    Ok(listed(&listing, &body, &format!("/v2/{repository}/tags/list")))
}

pub(super) async fn catalog(distribution: &Distribution, query: &Query) -> Result<Answer, ApiError> {
    let page = Page::parse(query).map_err(ApiError::Page)?;
    let listing = distribution.catalog(&page).await?;
    let body = json!({ "repositories": listing.names });
    Ok(listed(&listing, &body, "/v2/_catalog"))
}

fn listed(listing: &Listing, body: &serde_json::Value, path: &str) -> Answer {
    let answer = json(StatusCode::OK, body.to_string().into_bytes());
    match (listing.more, listing.names.last()) {
        (Some(n), Some(last)) => with(answer, header::LINK, next_link(path, n, last)),
        _ => answer,
    }
}

pub(super) async fn referrers(
    distribution: &Distribution,
    repository: &RepositoryName,
    subject: &Digest,
    query: &Query,
) -> Result<Answer, ApiError> {
    let wanted: Vec<String> = query
        .iter()
        .filter(|(key, value)| key == "artifactType" && !value.is_empty())
        // A client that did not escape the + of a media type meant it all the same.
        .map(|(_, value)| value.replace(' ', "+"))
        .collect();
    let entries = distribution.referrers(repository, subject, &wanted).await?;
    let manifests: Vec<_> = entries
        .iter()
        .map(|entry| {
            let mut shown = json!({ "mediaType": entry.media_type, "digest": entry.digest, "size": entry.size });
            if let Some(artifact_type) = &entry.artifact_type {
                shown["artifactType"] = json!(artifact_type);
            }
            if !entry.annotations.is_empty() {
                shown["annotations"] = json!(entry.annotations);
            }
            shown
        })
        .collect();
    let body = json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": manifests });
    let answer = content(
        StatusCode::OK,
        media_type::OCI_INDEX,
        body.to_string().into_bytes().into(),
    );
    Ok(if wanted.is_empty() {
        answer
    } else {
        with(answer, OCI_FILTERS_APPLIED, "artifactType")
    })
}
