//! Query strings and percent-encoding (RFC 3986), without a map: `tag`, `artifactType` and `scope` may repeat.

/// The pairs of a raw query string, decoded, in their order.
///
/// A plus is a space. A broken escape stays as it is written, and bytes that are not UTF-8 become U+FFFD: a query with
/// an unknown odd parameter is still a query.
pub fn pairs(raw: &str) -> Vec<(String, String)> {
    raw.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode_form(name), decode_form(value))
        })
        .collect()
}

/// Decodes the escapes of a path; `None` for a broken escape or a result that is not UTF-8. A plus stays a plus.
pub fn percent_decode(text: &str) -> Option<String> {
    let (bytes, broken) = decode(text, |byte| byte);
    if broken { None } else { String::from_utf8(bytes).ok() }
}

/// Encodes everything but the letters, digits and `-._~` that need no escape anywhere.
pub fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push_str(&hex::encode_upper([byte]));
        }
    }
    encoded
}

fn decode_form(text: &str) -> String {
    let (bytes, _) = decode(text, |byte| if byte == b'+' { b' ' } else { byte });
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// The decoded bytes, plain ones passed through `plain`, and whether an escape was broken.
fn decode(text: &str, plain: impl Fn(u8) -> u8) -> (Vec<u8>, bool) {
    let mut decoded = Vec::with_capacity(text.len());
    let mut broken = false;
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        let escape = if *byte == b'%' { escaped_byte(after) } else { None };
        broken |= *byte == b'%' && escape.is_none();
        decoded.push(escape.unwrap_or_else(|| plain(*byte)));
        rest = if escape.is_some() { &after[2..] } else { after };
    }
    (decoded, broken)
}

fn escaped_byte(after: &[u8]) -> Option<u8> {
    let mut byte = [0];
    hex::decode_to_slice(after.get(..2)?, &mut byte).ok()?;
    Some(byte[0])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{pairs, percent_decode, percent_encode};

    fn decoded(raw: &str) -> Vec<(String, String)> {
        pairs(raw)
    }

    fn expected(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn pairs_keep_their_order_and_their_repetitions() {
        let query = "tag=b&digest=sha256%3Aab&tag=a&ns=docker.io";
        assert_eq!(
            decoded(query),
            expected(&[("tag", "b"), ("digest", "sha256:ab"), ("tag", "a"), ("ns", "docker.io")])
        );
    }

    #[test]
    fn odd_pairs_are_read_as_forms_are() {
        for (query, pairs) in [
            ("", &[][..]),
            ("&&", &[]),
            ("a", &[("a", "")]),
            ("=", &[("", "")]),
            ("a=b=c", &[("a", "b=c")]),
            ("a=b+c%2Bd", &[("a", "b c+d")]),
            ("%61=%62", &[("a", "b")]),
            ("a=%c3%A9", &[("a", "é")]),
            ("a=%", &[("a", "%")]),
            ("a=%4", &[("a", "%4")]),
            ("a=%zz%41", &[("a", "%zzA")]),
            ("a=%+1", &[("a", "% 1")]),
            ("a=%ff", &[("a", "\u{fffd}")]),
            ("a=%00", &[("a", "\0")]),
            ("a;b=c", &[("a;b", "c")]),
        ] {
            assert_eq!(decoded(query), expected(pairs), "{query}");
        }
    }

    #[test]
    fn a_path_is_decoded_once_and_its_plus_stays() {
        for (text, decoded) in [
            ("/v2/a/blobs/sha256%3Aab", Some("/v2/a/blobs/sha256:ab")),
            ("a%2Fb", Some("a/b")),
            ("%252e", Some("%2e")),
            ("a+b", Some("a+b")),
            ("é", Some("é")),
            ("%C3%a9", Some("é")),
            ("", Some("")),
            ("%", None),
            ("%4", None),
            ("%zz", None),
            ("%+1", None),
            ("%é", None),
            ("%c3", None),
            ("%ff", None),
        ] {
            assert_eq!(percent_decode(text).as_deref(), decoded, "{text}");
        }
    }

    #[test]
    fn only_unreserved_characters_are_written_bare() {
        assert_eq!(percent_encode("aZ09-._~"), "aZ09-._~");
        assert_eq!(
            percent_encode("a+b c/d:e%&=>\"\r\né"),
            "a%2Bb%20c%2Fd%3Ae%25%26%3D%3E%22%0D%0A%C3%A9"
        );
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_in_paths_and_in_queries(text: String) {
            let encoded = percent_encode(&text);

            prop_assert_eq!(percent_decode(&encoded), Some(text.clone()));
            prop_assert_eq!(pairs(&format!("k={encoded}")), vec![("k".to_owned(), text)]);
        }

        #[test]
        fn any_text_is_read_without_a_fault(raw in "[%+&=0-9a-fé]{0,30}") {
            let bare = raw.split('&').filter(|pair| !pair.is_empty()).count();
            prop_assert_eq!(pairs(&raw).len(), bare);
            prop_assert!(percent_decode(&raw).is_none_or(|decoded| decoded.len() <= raw.len()));
        }
    }
}
