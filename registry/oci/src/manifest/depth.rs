//! How deep a JSON text is nested, found without recursion.

use super::{MAX_DEPTH, ManifestError};

/// Refuses a text nested deeper than [`MAX_DEPTH`], before a parser or a later reader recurses into it.
///
/// The text need not be JSON: on anything else the count means nothing and the parser refuses it anyway.
pub(super) fn check(text: &str) -> Result<(), ManifestError> {
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string => {
                bytes.next();
            }
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(ManifestError::TooDeep);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::ManifestError;

    #[test]
    fn thirty_two_levels_are_allowed_and_no_more() {
        let nested = |depth: usize| format!("{}{}", "[{\"a\":".repeat(depth / 2), "[".repeat(depth % 2));

        assert_eq!(check(&nested(32)), Ok(()));
        assert_eq!(check(&nested(33)), Err(ManifestError::TooDeep));
    }

    #[test]
    fn brackets_in_strings_are_not_levels() {
        let text = format!(r#"{{"a":"{}\"{}\\"}}"#, "[".repeat(100), "{".repeat(100));
        assert_eq!(check(&text), Ok(()));
    }

    #[test]
    fn siblings_are_not_levels() {
        assert_eq!(check(&"[{}],".repeat(1000)), Ok(()));
    }

    #[test]
    fn a_bracket_behind_an_escaped_backslash_counts() {
        assert_eq!(
            check(&format!(r#""\\"{}"#, "[".repeat(33))),
            Err(ManifestError::TooDeep)
        );
    }
}
