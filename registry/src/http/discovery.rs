//! Lists of names: end-8 and Docker's catalog.

use super::answer::{Answer, json, with};
use super::error::ApiError;
use super::push::Query;
use crate::distribution::{Distribution, Listing};
use http::{StatusCode, header};
use oci::{Page, RepositoryName, next_link};
use serde::Serialize;

pub(super) async fn tags(
    distribution: &Distribution,
    repository: &RepositoryName,
    query: &Query,
) -> Result<Answer, ApiError> {
    let page = Page::parse(query).map_err(ApiError::Page)?;
    let listing = distribution.tags(repository, &page).await?;
    let body = serde_json::to_vec(&Tags {
        name: repository.as_str(),
        tags: listing.names(),
    });
    Ok(listed(
        &listing,
        body.unwrap_or_default(),
        &format!("/v2/{repository}/tags/list"),
    ))
}

pub(super) async fn catalog(distribution: &Distribution, query: &Query) -> Result<Answer, ApiError> {
    let page = Page::parse(query).map_err(ApiError::Page)?;
    let listing = distribution.catalog(&page).await?;
    let body = serde_json::to_vec(&Catalog {
        repositories: listing.names(),
    });
    Ok(listed(&listing, body.unwrap_or_default(), "/v2/_catalog"))
}

/// Written without a tree of values between: lists are long. Text always serialises.
#[derive(Serialize)]
struct Tags<'l> {
    name: &'l str,
    tags: &'l [String],
}

#[derive(Serialize)]
struct Catalog<'l> {
    repositories: &'l [String],
}

fn listed(listing: &Listing, body: Vec<u8>, path: &str) -> Answer {
    let answer = json(StatusCode::OK, body);
    match (listing.more(), listing.names().last()) {
        (Some(n), Some(last)) => with(answer, header::LINK, next_link(path, n, last)),
        _ => answer,
    }
}
