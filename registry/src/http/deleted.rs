//! The management API of what clients deleted: lists of what can be restored, and restoring.
//!
//! A repository's name stands at the end of a path: names contain slashes.

use super::admin::Admin;
use super::answer::{Answer, json, with};
use super::error::ApiError;
use super::management::answered;
use crate::distribution::{Distribution, Restorable};
use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{StatusCode, header};
use jiff::Timestamp;
use oci::{Digest, Page, RepositoryName, Tag, next_link, query};
use serde::Deserialize;
use std::sync::Arc;

const WANTED: &str = "the body must be a JSON object with either tag, and deleted_at where not the newest deletion of the tag is meant, or digest: \
    {\"tag\": \"v1\"}, {\"tag\": \"v1\", \"deleted_at\": \"2026-01-02T03:04:05.678Z\"}, {\"digest\": \"sha256:…\"}";

pub(super) fn routes() -> Router<Arc<Admin>> {
    Router::new()
        .route("/management/v1/deleted-tags/{*repository}", get(tags))
        .route("/management/v1/deleted-manifests/{*repository}", get(manifests))
        .route("/management/v1/undelete/{*repository}", post(undelete))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    tag: Option<Tag>,
    deleted_at: Option<Timestamp>,
    digest: Option<Digest>,
}

async fn undelete(State(admin): State<Arc<Admin>>, Path(repository): Path<String>, body: Bytes) -> Response {
    let done = restore(&admin.distribution, &repository, &body).await;
    answered("undelete", &repository, done)
}

async fn restore(distribution: &Distribution, repository: &str, body: &[u8]) -> Result<Answer, ApiError> {
    let repository: RepositoryName = repository.parse().map_err(ApiError::Name)?;
    let wanted: Wanted = serde_json::from_slice(body).map_err(|_unreadable| ApiError::Call(WANTED))?;
    let what = match &wanted {
        Wanted {
            tag: Some(tag),
            deleted_at,
            digest: None,
        } => Restorable::Tag {
            tag,
            deleted_at: deleted_at.map(Timestamp::as_microsecond),
        },
        Wanted {
            tag: None,
            deleted_at: None,
            digest: Some(digest),
        } => Restorable::Manifest(digest),
        _ => return Err(ApiError::Call(WANTED)),
    };
    let restored = distribution.restore(&repository, what).await?;
    let body = serde_json::json!({
        "repository": repository,
        "digest": restored.manifest,
        "tags": restored.tags,
        "taken": restored.taken,
    });
    Ok(json(StatusCode::OK, body.to_string().into_bytes()))
}

async fn tags(State(admin): State<Arc<Admin>>, Path(repository): Path<String>, RawQuery(query): RawQuery) -> Response {
    let done = listed_tags(&admin.distribution, &repository, query).await;
    answered("list deleted tags", &repository, done)
}

async fn listed_tags(distribution: &Distribution, name: &str, query: Option<String>) -> Result<Answer, ApiError> {
    let (repository, page) = asked(name, query)?;
    let after = page.last.as_deref().map(tag_cursor).transpose()?;
    let (found, more) = distribution.deleted_tags(&repository, after, page.limit).await?;
    let entries: Vec<_> = found
        .iter()
        .map(|tag| {
            serde_json::json!({
                "tag": tag.name,
                "digest": tag.manifest,
                "deleted_at": time(tag.deleted_at),
                "restorable_until": time(distribution.restorable_until(tag.deleted_at)),
            })
        })
        .collect();
    let body = serde_json::json!({ "repository": repository, "tags": entries });
    let last = found.last().filter(|_| more);
    let last = last.map(|tag| format!("{}@{}", tag.name, tag.deleted_at));
    Ok(paged(
        &body,
        &format!("/management/v1/deleted-tags/{repository}"),
        last.map(|last| (last, found.len())),
    ))
}

async fn manifests(
    State(admin): State<Arc<Admin>>,
    Path(repository): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let done = listed_manifests(&admin.distribution, &repository, query).await;
    answered("list deleted manifests", &repository, done)
}

async fn listed_manifests(distribution: &Distribution, name: &str, query: Option<String>) -> Result<Answer, ApiError> {
    let (repository, page) = asked(name, query)?;
    let after: Option<Digest> = page
        .last
        .map(|last| last.parse())
        .transpose()
        .map_err(ApiError::Digest)?;
    let (found, more) = distribution
        .deleted_manifests(&repository, after.as_ref(), page.limit)
        .await?;
    let entries: Vec<_> = found
        .iter()
        .map(|manifest| {
            serde_json::json!({
                "digest": manifest.digest,
                "mediaType": manifest.media_type,
                "artifactType": manifest.artifact_type,
                "size": manifest.size,
                "deleted_at": time(manifest.deleted_at),
                "restorable_until": time(distribution.restorable_until(manifest.deleted_at)),
            })
        })
        .collect();
    let body = serde_json::json!({ "repository": repository, "manifests": entries });
    let last = found
        .last()
        .filter(|_| more)
        .map(|manifest| manifest.digest.to_string());
    Ok(paged(
        &body,
        &format!("/management/v1/deleted-manifests/{repository}"),
        last.map(|last| (last, found.len())),
    ))
}

fn asked(repository: &str, query: Option<String>) -> Result<(RepositoryName, Page), ApiError> {
    let repository = repository.parse().map_err(ApiError::Name)?;
    let page = Page::parse(&query::pairs(&query.unwrap_or_default())).map_err(ApiError::Page)?;
    Ok((repository, page))
}

/// The name and the time of a deletion; no tag has an `@`.
fn tag_cursor(text: &str) -> Result<(&str, i64), ApiError> {
    let (name, at) = text.split_once('@').ok_or(ApiError::Cursor)?;
    Ok((name, at.parse().map_err(|_no_number| ApiError::Cursor)?))
}

/// A list, and the link to what is behind its last entry.
pub(super) fn paged(body: &serde_json::Value, path: &str, more: Option<(String, usize)>) -> Answer {
    let answer = json(StatusCode::OK, body.to_string().into_bytes());
    match more {
        Some((last, entries)) => with(answer, header::LINK, next_link(path, entries as u64, &last)),
        None => answer,
    }
}

/// As RFC 3339 says it; `null` for what no clock shows.
pub(super) fn time(micros: i64) -> Option<String> {
    let time = Timestamp::from_microsecond(micros).ok()?;
    Some(time.to_string())
}
