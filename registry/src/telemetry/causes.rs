//! An error and its causes in one line.

use std::error::Error;

/// The error and what caused it, the outermost first, joined by colons.
///
/// Some libraries put the text of a cause into their own text as well: what was said is not said again.
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut last = said.clone();
    let mut next = error.source();
    while let Some(cause) = next {
        next = cause.source();
        let text = cause.to_string();
        if !last.contains(&text) {
            said = format!("{said}: {text}");
            last = text;
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Told {
        text: &'static str,
        #[source]
        source: Option<Box<Self>>,
    }

    fn told(texts: &[&'static str]) -> String {
        let chain = texts
            .iter()
            .rev()
            .fold(None, |source, text| Some(Box::new(Told { text, source })));
        causes(&*chain.unwrap())
    }

    #[test]
    fn every_cause_is_named() {
        assert_eq!(
            told(&["open the database", "refused", "os error 111"]),
            "open the database: refused: os error 111"
        );
    }

    #[test]
    fn a_cause_that_was_already_told_is_not_repeated() {
        assert_eq!(
            told(&[
                "open the database",
                "could not reach it: refused (111)",
                "refused (111)",
                "111"
            ]),
            "open the database: could not reach it: refused (111)"
        );
    }

    #[test]
    fn a_cause_after_one_that_was_left_out_is_named() {
        assert_eq!(told(&["a: b", "b", "c"]), "a: b: c");
    }
}
