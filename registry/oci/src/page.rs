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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Page, PageError, next_link};
    use crate::query::pairs;

    fn page(query: &str) -> Result<Page, PageError> {
        Page::parse(&pairs(query))
    }

    #[test]
    fn n_and_last_are_each_optional() {
        for (query, limit, last) in [
            ("", None, None),
            ("ns=docker.io", None, None),
            ("n=10", Some(10), None),
            ("n=0", Some(0), None),
            ("n=007", Some(7), None),
            ("last=v1", None, Some("v1")),
            ("n=2&last=a%2Bb", Some(2), Some("a+b")),
            ("last=", None, None),
            ("n=1&n=2&last=a&last=b", Some(1), Some("a")),
        ] {
            assert_eq!(
                page(query),
                Ok(Page {
                    limit,
                    last: last.map(str::to_owned)
                }),
                "{query}"
            );
        }
    }

    #[test]
    fn an_n_that_is_no_whole_number_is_refused() {
        for value in [
            "-1", "-0", "", "abc", "1e3", "1.0", "NaN", "+1", " 1", "0x10", "1%00", "%D9%A1", "1,2",
        ] {
            let refused = page(&format!("n={value}"));
            assert!(
                matches!(refused, Err(PageError::PaginationNumberInvalid { .. })),
                "{value}"
            );
        }
    }

    #[test]
    fn an_n_beyond_64_bits_is_the_largest_number() {
        for value in [
            "18446744073709551615",
            "18446744073709551616",
            "999999999999999999999999999999",
        ] {
            assert_eq!(page(&format!("n={value}")).unwrap().limit, Some(u64::MAX), "{value}");
        }
    }

    #[test]
    fn last_ends_at_a_nul() {
        assert_eq!(page("last=a%00b").unwrap().last.as_deref(), Some("a"));
        assert_eq!(page("last=%00b").unwrap().last, None);
    }

    #[test]
    fn a_link_is_relative_with_its_values_encoded() {
        let link = next_link("/v2/team/app/tags/list", 2, "v1+b\">");
        assert_eq!(link, r#"</v2/team/app/tags/list?n=2&last=v1%2Bb%22%3E>; rel="next""#);
    }

    proptest! {
        #[test]
        fn a_link_leads_to_the_page_it_names(n: u64, last in "[^\\x00]{1,20}") {
            let link = next_link("/v2/_catalog", n, &last);
            let query = link.strip_prefix("</v2/_catalog?").and_then(|rest| rest.strip_suffix(r#">; rel="next""#));

            prop_assert_eq!(page(query.unwrap()), Ok(Page { limit: Some(n), last: Some(last) }));
        }

        /// The argument in the doc of `before_nul`, tried out.
        #[test]
        fn cutting_at_a_nul_keeps_the_page(name in "[a-c]{0,3}", last in "[a-c]{0,3}\\x00[a-c]{0,3}") {
            prop_assert_eq!(name.as_str() > last.as_str(), name.as_str() > super::before_nul(&last));
        }
    }
}
