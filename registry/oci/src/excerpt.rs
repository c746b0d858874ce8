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

#[cfg(test)]
mod tests {
    use super::excerpt;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(excerpt(&"é".repeat(101)), format!("{}...", "é".repeat(100)));
    }

    #[test]
    fn a_short_text_stays_whole() {
        assert_eq!(excerpt(&"é".repeat(100)), "é".repeat(100));
    }
}
