//! Which version may follow which; pure.

use std::cmp::Ordering;

use crate::api::rollout::{Requirement, RollbackFloor};

/// How `left` and `right` are ordered, by the rules of semantic versions; `None` when one of them is none.
pub fn compare(left: &str, right: &str) -> Option<Ordering> {
    let (left, right) = (Parsed::of(left)?, Parsed::of(right)?);
    Some(
        left.numbers
            .cmp(&right.numbers)
            .then_with(|| prerelease(left.rest, right.rest)),
    )
}

struct Parsed<'a> {
    numbers: [u64; 3],
    rest: Option<&'a str>,
}

impl<'a> Parsed<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let text = text.split_once('+').map_or(text, |(text, _)| text);
        let (numbers, rest) = text
            .split_once('-')
            .map_or((text, None), |(numbers, rest)| (numbers, Some(rest)));
        let mut parts = numbers.split('.').map(str::parse);
        let numbers = [parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?];
        parts.next().is_none().then_some(Self { numbers, rest })
    }
}

/// A version before its release comes before it.
fn prerelease(left: Option<&str>, right: Option<&str>) -> Ordering {
    let (left, right) = match (left, right) {
        (None, None) => return Ordering::Equal,
        (None, Some(_)) => return Ordering::Greater,
        (Some(_), None) => return Ordering::Less,
        (Some(left), Some(right)) => (left, right),
    };
    let (mut left, mut right) = (left.split('.'), right.split('.'));
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(left), Some(right)) => identifier(left, right),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

fn identifier(left: &str, right: &str) -> Ordering {
    match (left.parse::<u64>(), right.parse::<u64>()) {
        (Ok(left), Ok(right)) => left.cmp(&right),
        (Ok(_), Err(_)) => Ordering::Less,
        (Err(_), Ok(_)) => Ordering::Greater,
        (Err(_), Err(_)) => left.cmp(right),
    }
}

/// Why a Registry may not run `version`, with the remedy; a version that says no number is only let through where
/// nothing is known that it could break.
pub fn forbidden(
    version: Option<&str>,
    floor: Option<&RollbackFloor>,
    requirements: &[Requirement],
) -> Option<(Forbidden, String)> {
    let is_below = |least: &str| {
        version.and_then(|version| compare(version, least)) != Some(Ordering::Greater)
            && version.and_then(|version| compare(version, least)) != Some(Ordering::Equal)
    };
    let named = version.unwrap_or("the image");
    if let Some(floor) = floor.filter(|floor| is_below(&floor.version)) {
        let message = format!(
            "{named} is not known to be {} or newer, below which the database cannot be served: {}. Set spec.version to \
             {} or newer",
            floor.version, floor.reason, floor.version
        );
        return Some((Forbidden::BelowFloor, message));
    }
    let unmet = requirements.iter().find(|needed| is_below(&needed.min_version))?;
    let message = format!(
        "{} needs at least {}, and {named} is not known to be that new: set spec.version to {} or newer, or lower \
         spec.requirements once {} needs less",
        unmet.consumer, unmet.min_version, unmet.min_version, unmet.consumer
    );
    Some((Forbidden::ConsumerNeedsNewer, message))
}

/// The kind of reason for which a version is not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forbidden {
    /// The database has moved on.
    BelowFloor,
    /// Somebody needs a newer one.
    ConsumerNeedsNewer,
}

/// The version that an image's reference says by its tag.
pub fn version_of(image: &str) -> Option<String> {
    let (_, tag) = image
        .rsplit_once('/')
        .map_or(("", image), |(_, last)| ("", last))
        .1
        .rsplit_once(':')?;
    (!image.contains('@')).then(|| tag.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_numbers_and_before_their_release_as_words() {
        let rising = [
            "1.2.3-alpha",
            "1.2.3-alpha.2",
            "1.2.3-alpha.10",
            "1.2.3-beta",
            "1.2.3",
            "1.2.10",
            "1.10.0",
            "v2.0.0",
        ];
        for (index, left) in rising.iter().enumerate() {
            for (other, right) in rising.iter().enumerate() {
                assert_eq!(compare(left, right), Some(index.cmp(&other)), "{left} {right}");
            }
        }
        assert_eq!(compare("1.2", "1.2.0"), None);
        assert_eq!(compare("latest", "1.2.0"), None);
    }

    #[test]
    fn below_the_floor_is_forbidden_with_the_version_that_is_not() {
        let floor = RollbackFloor {
            version: "1.4.0".to_owned(),
            reason: "why".to_owned(),
        };

        let (kind, message) = forbidden(Some("1.3.9"), Some(&floor), &[]).unwrap();

        assert_eq!(kind, Forbidden::BelowFloor);
        assert!(message.contains("Set spec.version to 1.4.0 or newer"), "{message}");
        assert_eq!(forbidden(Some("1.4.0"), Some(&floor), &[]), None);
        assert!(
            forbidden(None, Some(&floor), &[]).is_some(),
            "an unknown version may be below"
        );
        assert_eq!(forbidden(None, None, &[]), None);
    }

    #[test]
    fn a_consumer_keeps_a_registry_from_going_below_what_it_needs() {
        let needs = [Requirement {
            consumer: "rails".to_owned(),
            min_version: "1.7.0".to_owned(),
        }];

        assert_eq!(
            forbidden(Some("1.6.0"), None, &needs).unwrap().0,
            Forbidden::ConsumerNeedsNewer
        );
        assert_eq!(forbidden(Some("1.7.0"), None, &needs), None);
    }

    #[test]
    fn the_tag_is_the_version_and_a_port_is_not() {
        assert_eq!(
            version_of("host:5000/berth/berth-registry:1.2.0").as_deref(),
            Some("1.2.0")
        );
        assert_eq!(version_of("host:5000/berth/berth-registry"), None);
        assert_eq!(version_of("berth-registry@sha256:00"), None);
    }
}
