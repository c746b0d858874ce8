//! Query strings, pages and the link to the next page.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oci::query::{pairs, percent_decode, percent_encode};
use oci::{Page, next_link};

fuzz_target!(|text: &str| {
    let read = pairs(text);
    assert_eq!(read.len(), text.split('&').filter(|pair| !pair.is_empty()).count());
    let encoded = percent_encode(text);
    assert!(
        encoded
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte))
    );
    assert_eq!(percent_decode(&encoded).as_deref(), Some(text));
    if let Some(decoded) = percent_decode(text) {
        assert!(decoded.len() <= text.len());
    }
    let digits = |value: &str| !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let n = read
        .iter()
        .find(|(name, _)| name == "n")
        .map(|(_, value)| value.clone());
    let page = Page::parse(&read);
    assert_eq!(page.is_ok(), n.as_deref().is_none_or(digits));
    let Ok(page) = page else { return };
    if let Some(n) = n {
        assert_eq!(
            page.limit,
            Some(n.parse::<u128>().map_or(u64::MAX, |n| n.try_into().unwrap_or(u64::MAX)))
        );
    }
    // The cursor of a list leads to where it was made.
    let (limit, last) = (page.limit.unwrap_or(1), page.last.unwrap_or_else(|| "a".to_owned()));
    let link = next_link("/v2/_catalog", limit, &last);
    assert!(
        link.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '),
        "{link}"
    );
    let query = link
        .strip_prefix("</v2/_catalog?")
        .and_then(|rest| rest.strip_suffix(">; rel=\"next\""))
        .expect("a link");
    assert_eq!(
        Page::parse(&pairs(query)),
        Ok(Page {
            limit: Some(limit),
            last: Some(last)
        })
    );
});
