//! What a client wrote, as the log may show it.

use std::borrow::Cow;

/// Longest piece of a client's words in one line of the log, in bytes.
const LONGEST: usize = 1024;

/// `text` with every byte that is not plain visible ASCII as an escape, and cut where it is too long.
///
/// hyper lets any UTF-8 stand in a path: also characters that steer a terminal or turn the direction of a line.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    if text.len() <= LONGEST && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::new();
    for byte in text.bytes() {
        if escaped.len() >= LONGEST {
            escaped.push_str("...");
            break;
        }
        if byte.is_ascii_graphic() {
            escaped.push(char::from(byte));
        } else {
            escaped.push('%');
            escaped.push_str(&hex::encode_upper([byte]));
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_path_is_shown_as_it_is() {
        assert!(matches!(
            shown("/v2/a/manifests/v1%0a"),
            Cow::Borrowed("/v2/a/manifests/v1%0a")
        ));
    }

    #[test]
    fn what_steers_a_terminal_is_escaped() {
        assert_eq!(
            shown("/v2/\u{9b}31m\u{202e}\u{7f}\n "),
            "/v2/%C2%9B31m%E2%80%AE%7F%0A%20"
        );
    }

    #[test]
    fn a_long_path_is_cut() {
        let cut = shown(&"a".repeat(5000)).into_owned();

        assert_eq!((cut.len(), cut.ends_with("a...")), (LONGEST + 3, true));
    }
}
