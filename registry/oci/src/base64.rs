//! Base64 as the `data` member of a descriptor uses it: RFC 4648 section 4, padded, no line breaks.

/// The decoded bytes; `None` for anything but canonical base64.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let quads = text.as_bytes().chunks(4);
    let last = quads.len().checked_sub(1);
    let mut decoded = Vec::with_capacity(text.len() / 4 * 3);
    for (index, quad) in quads.enumerate() {
        let padding = quad.iter().rev().take_while(|&&byte| byte == b'=').count();
        if quad.len() != 4 || padding > 2 || (padding > 0 && Some(index) != last) {
            return None;
        }
        let mut bits = 0_u32;
        for &letter in &quad[..4 - padding] {
            bits = bits << 6 | u32::from(six_bits(letter)?);
        }
        bits <<= 6 * padding;
        let [_, bytes @ ..] = bits.to_be_bytes();
        let (kept, surplus) = bytes.split_at(3 - padding);
        if surplus.iter().any(|&byte| byte != 0) {
            return None;
        }
        decoded.extend_from_slice(kept);
    }
    Some(decoded)
}

fn six_bits(letter: u8) -> Option<u8> {
    match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}
