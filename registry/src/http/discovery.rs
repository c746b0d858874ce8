//! Lists of names: end-8 and Docker's catalog.

use super::answer::{Answer, json, with};
use super::error::ApiError;
use super::push::Query;
use crate::distribution::{Distribution, Listing};
use http::{StatusCode, header};
use oci::{Page, RepositoryName, next_link};
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
