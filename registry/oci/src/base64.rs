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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::decode;

    #[test]
    fn the_vectors_of_the_rfc_decode() {
        for (text, decoded) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9vYmE=", "fooba"),
            ("Zm9vYmFy", "foobar"),
        ] {
            assert_eq!(decode(text).as_deref(), Some(decoded.as_bytes()), "{text}");
        }
    }

    #[test]
    fn the_two_last_letters_of_the_alphabet_decode() {
        assert_eq!(decode("+/+/"), Some(vec![0xfb, 0xff, 0xbf]));
    }

    #[test]
    fn anything_but_canonical_base64_is_refused() {
        for text in [
            "Z", "Zg", "Zg=", "=", "====", "Z===", "Zg==Zg==", "Zh==", "Zm9=", "Zm9v\n", " Zm9v", "Zm-v", "Zm_v", "é==",
        ] {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }

    /// Bit by bit, where the decoder works in blocks of four letters.
    fn encode_naively(content: &[u8]) -> String {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let bits: Vec<u8> = content
            .iter()
            .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
            .collect();
        let mut text: String = bits
            .chunks(6)
            .map(|six| (0..6).fold(0, |number, bit| number << 1 | usize::from(*six.get(bit).unwrap_or(&0))))
            .map(|number| char::from(ALPHABET[number]))
            .collect();
        while !text.len().is_multiple_of(4) {
            text.push('=');
        }
        text
    }

    proptest! {
        #[test]
        fn what_was_encoded_decodes(content: Vec<u8>) {
            prop_assert_eq!(decode(&encode_naively(&content)), Some(content));
        }

        #[test]
        fn what_decodes_encodes_to_the_same_text(text in "[A-Za-z0-9+/=]{0,12}") {
            if let Some(content) = decode(&text) {
                prop_assert_eq!(encode_naively(&content), text);
            }
        }
    }
}
