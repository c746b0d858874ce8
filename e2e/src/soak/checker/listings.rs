//! O7: a tag that was there throughout is listed once, one that was not there throughout is not; names are in order.

use super::{
    super::history::{Call, Outcome, Record, Seen, Tag},
    Checker, Violation,
};

const ORACLE: &str = "O7 listings";

pub(super) fn check(checker: &Checker<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (place, record) in checker.records().filter(|(_, record)| record.call == Call::ListTags) {
        let wrong = match &record.outcome {
            Outcome::Done(Seen::Names(names)) => checker.wrong_list(record, names),
            // No such repository: then it has no tag.
            Outcome::Refused { status: 404, .. } => checker.wrong_list(record, &[]),
            Outcome::Done(_) | Outcome::Refused { .. } | Outcome::Unknown(_) | Outcome::NotSent => None,
        };
        violations.extend(wrong.map(|wrong| Violation::new(ORACLE, wrong, &[place])));
    }
    violations
}

/// The first two neighbours that are not in order.
pub(super) fn disorder(names: &[String]) -> Option<String> {
    let pair = names.windows(2).find(|pair| pair[0] >= pair[1])?;
    Some(format!("{} stands before {}", pair[0], pair[1]))
}

impl Checker<'_> {
    fn wrong_list(&self, record: &Record, names: &[String]) -> Option<String> {
        if let Some(disorder) = disorder(names) {
            return Some(format!(
                "the tags of {} are not in order: {disorder}",
                record.repository
            ));
        }
        let strange = names.iter().find(|name| {
            let known = Tag::named(name).map(|tag| self.registers.tags(record.repository).any(|known| known == tag));
            known != Some(true)
        });
        if let Some(strange) = strange {
            return Some(format!("{}:{strange} was never pushed", record.repository));
        }
        self.registers.tags(record.repository).find_map(|tag| {
            let listed = names.contains(&tag.to_string());
            let held = self
                .registers
                .held((record.repository, tag), record.invoked, record.completed);
            let wrong = held.iter().find(|held| held.value.is_some() != listed)?;
            let should = if listed {
                "is listed and certainly was not there"
            } else {
                "is not listed"
            };
            Some(format!("{}:{tag} {should} ({wrong:?})", record.repository))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            super::history::{Moment, tests::ByHand},
            tests::broken,
        },
        *,
    };

    fn list(history: ByHand, times: (Moment, Moment), names: &[&str]) -> ByHand {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        history.call(times, Call::ListTags, Outcome::Done(Seen::Names(names)))
    }

    fn two_tags() -> ByHand {
        ByHand::default().put((1, 2), 1, 0).put((3, 4), 2, 0)
    }

    #[test]
    fn a_list_of_what_was_there_is_right() {
        assert!(broken(&list(two_tags(), (5, 6), &["t001", "t002"])).is_empty());
        assert!(
            broken(&list(two_tags(), (2, 3), &["t001"])).is_empty(),
            "the second was pushed meanwhile"
        );
    }

    #[test]
    fn a_tag_that_is_missing_in_a_list_is_found() {
        assert_eq!(broken(&list(two_tags(), (5, 6), &["t001"])), [ORACLE]);
        assert_eq!(broken(&two_tags().refused((5, 6), Call::ListTags, 404)), [ORACLE]);
    }

    #[test]
    fn a_tag_that_is_listed_twice_or_out_of_order_is_found() {
        assert_eq!(broken(&list(two_tags(), (5, 6), &["t001", "t001", "t002"])), [ORACLE]);
        assert_eq!(broken(&list(two_tags(), (5, 6), &["t002", "t001"])), [ORACLE]);
    }

    #[test]
    fn a_tag_that_is_listed_after_its_deletion_or_was_never_there_is_found() {
        let deleted = two_tags().done((5, 6), Call::DeleteTag { tag: Tag(2) });

        assert_eq!(broken(&list(deleted, (7, 8), &["t001", "t002"])), [ORACLE]);
        assert_eq!(broken(&list(two_tags(), (5, 6), &["t001", "t002", "t009"])), [ORACLE]);
    }
}
