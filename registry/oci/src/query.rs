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
