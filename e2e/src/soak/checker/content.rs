//! O1: what the clients noticed when they held what came back against the library.

use super::{Checker, Violation};

pub(super) fn check(checker: &Checker<'_>) -> Vec<Violation> {
    let wrong = checker.records().filter_map(|(place, record)| {
        let wrong = record.wrong.as_ref()?;
        Some(Violation::new("O1 content", format!("{wrong}: {record}"), &[place]))
    });
    wrong.collect()
}

#[cfg(test)]
mod tests {
    use super::super::{super::history::tests::ByHand, tests::broken};

    #[test]
    fn a_wrong_body_is_found() {
        let mut history = ByHand::default().put((1, 2), 1, 0).read((3, 4), 1, Some(0));
        assert!(broken(&history).is_empty());

        history.0.records[1].wrong = Some("9 bytes in place of 10".to_owned());

        assert_eq!(broken(&history), ["O1 content"]);
    }
}
