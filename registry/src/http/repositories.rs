//! The management API of whole repositories: deleting one, and how far that has come.

use super::admin::Admin;
use super::answer::{Answer, json, with};
use super::deleted::{paged, time};
use super::error::ApiError;
use super::management::answered;
use crate::distribution::{Distribution, RepositoryDeletion};
use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use axum::routing::{delete, get};
use http::{StatusCode, header};
use oci::{Page, RepositoryName, query};
use serde_json::{Value, json as value};
use std::sync::Arc;

const LIST: &str = "/management/v1/repository-deletions";

pub(super) fn routes() -> Router<Arc<Admin>> {
    Router::new()
        .route("/management/v1/repositories/{*repository}", delete(remove))
        .route(LIST, get(list))
        .route("/management/v1/repository-deletions/{number}", get(progress))
}

async fn remove(State(admin): State<Arc<Admin>>, Path(repository): Path<String>) -> Response {
    let done = removed(&admin.distribution, &repository).await;
    answered("delete repository", &repository, done)
}

async fn removed(distribution: &Distribution, repository: &str) -> Result<Answer, ApiError> {
    let repository: RepositoryName = repository.parse().map_err(ApiError::Name)?;
    let deletion = distribution.delete_repository(&repository).await?;
    let answer = json(StatusCode::ACCEPTED, shown(&deletion).to_string().into_bytes());
    let place = format!("{LIST}/{}", deletion.key.repository);
    Ok(with(answer, header::LOCATION, place))
}

async fn progress(State(admin): State<Arc<Admin>>, Path(number): Path<String>) -> Response {
    let found = found(&admin.distribution, &number).await;
    answered("show the deletion of a repository", &number, found)
}

async fn found(distribution: &Distribution, number: &str) -> Result<Answer, ApiError> {
    let deletion = match number.parse() {
        Ok(number) => distribution.repository_deletion(number).await?,
        Err(_no_number) => None,
    };
    let deletion = deletion.ok_or(ApiError::DeletionUnknown)?;
    Ok(json(StatusCode::OK, shown(&deletion).to_string().into_bytes()))
}

async fn list(State(admin): State<Arc<Admin>>, RawQuery(query): RawQuery) -> Response {
    let listed = listed(&admin.distribution, query).await;
    answered("list deletions of repositories", "", listed)
}

async fn listed(distribution: &Distribution, query: Option<String>) -> Result<Answer, ApiError> {
    let page = Page::parse(&query::pairs(&query.unwrap_or_default())).map_err(ApiError::Page)?;
    let after = page.last.map(|last| last.parse()).transpose();
    let after = after.map_err(|_no_number| ApiError::Cursor)?.unwrap_or(0);
    let (found, more) = distribution.repository_deletions(after, page.limit).await?;
    let body = value!({ "deletions": found.iter().map(shown).collect::<Vec<_>>() });
    let last = found.last().filter(|_| more);
    let last = last.map(|deletion| (deletion.key.repository.to_string(), found.len()));
    Ok(paged(&body, LIST, last))
}

fn shown(deletion: &RepositoryDeletion) -> Value {
    let removed = deletion.removed;
    value!({
        "id": deletion.key.repository.to_string(),
        "repository": deletion.path,
        "state": if deletion.finished_at.is_some() { "done" } else { "removing" },
        "requested_at": time(deletion.requested_at),
        "finished_at": deletion.finished_at.and_then(time),
        "removed": { "tags": removed.tags, "manifests": removed.manifests, "blobs": removed.blobs },
    })
}
