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
