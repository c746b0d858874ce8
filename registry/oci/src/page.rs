//! Paging of lists: `n`, `last` and the `Link` header (distribution-spec end-8b, RFC 5988).

use thiserror::Error;

use crate::excerpt::excerpt;
use crate::query::percent_encode;

/// Which part of a list is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// `n`: most entries wanted. Not bounded here: the list clamps it, and never allocates by it.
    pub limit: Option<u64>,
    /// `last`: only entries after this one, in byte order; it need not exist.
    pub last: Option<String>,
}

/// Why a query asks for no page.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PageError {
    /// `n` is negative or not a number: `PAGINATION_NUMBER_INVALID`.
    #[error("n must be a whole number of at least 0, not {value:?}")]
    PaginationNumberInvalid {
        /// The refused value, shortened.
        value: String,
    },
}

impl Page {
    /// Reads `n` and `last` from the pairs of [`crate::query::pairs`]; the first of each counts.
    ///
    /// # Errors
    /// `PaginationNumberInvalid` when `n` is there and is not made of digits.
    pub fn parse(pairs: &[(String, String)]) -> Result<Self, PageError> {
        let value = |wanted: &str| {
            pairs
                .iter()
                .find(|(name, _)| name == wanted)
                .map(|(_, value)| value.as_str())
        };
        let limit = value("n").map(number).transpose()?;
        Ok(Self {
            limit,
            last: value("last")
                .map(before_nul)
                .filter(|last| !last.is_empty())
                .map(str::to_owned),
        })
    }
}

/// A number beyond 64 bits is as good as the largest one: the list is shorter.
fn number(value: &str) -> Result<u64, PageError> {
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(PageError::PaginationNumberInvalid { value: excerpt(value) });
    }
    Ok(value.parse().unwrap_or(u64::MAX))
}

/// Cuts at the first NUL, which `PostgreSQL` refuses in text.
///
/// The page stays the same: among names without NUL, those after `a\0b` are those after `a`.
fn before_nul(last: &str) -> &str {
    last.split('\0').next().unwrap_or(last)
}

/// The value of `Link` that leads to the entries after `last`, at most `n` of them.
///
/// `path` is absolute and without a query, as `/v2/team/app/tags/list`: clients refuse a link to another origin.
pub fn next_link(path: &str, n: u64, last: &str) -> String {
    format!("<{path}?n={n}&last={}>; rel=\"next\"", percent_encode(last))
}
