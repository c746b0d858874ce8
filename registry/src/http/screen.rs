//! What is asked of every request before anybody looks at what it wants: a place, and a head of a sane size.

use super::error::ApiError;
use http::request::Parts;

/// Some 350 tags of full length in a query. HTTP/1 has a limit of its own at 64 KiB.
const URI_BYTES: usize = 48 * 1024;
const HEADER_BYTES: usize = 64 * 1024;
const HEADERS: usize = 100;

/// There is too much to do. A request that got no place carries this as an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overload {
    /// Requests.
    Requests,
    /// Requests that push; there is room for others.
    Uploads,
    /// Manifests whose bytes are held in memory.
    Manifests,
}

/// Refuses what is too much.
pub(super) fn screen(head: &Parts) -> Result<(), ApiError> {
    if let Some(overload) = head.extensions.get::<Overload>() {
        return Err(ApiError::Overloaded(*overload));
    }
    let target = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target > URI_BYTES {
        return Err(ApiError::UriTooLong { limit: URI_BYTES });
    }
    let bytes: usize = head
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if bytes > HEADER_BYTES || head.headers.len() > HEADERS {
        return Err(ApiError::HeadersTooLarge {
            bytes: HEADER_BYTES,
            count: HEADERS,
        });
    }
    Ok(())
}
