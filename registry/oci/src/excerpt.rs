//! Shortening of refused input, so that an error message never repeats megabytes of it.

/// Longest piece of refused input that a message repeats, in characters.
const LONGEST: usize = 100;

/// `text`, or its beginning and an ellipsis.
pub(crate) fn excerpt(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
