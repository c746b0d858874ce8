//! Which tag a channel means; pure.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};
use semver::{Version, VersionReq};

use super::ChannelError;
use crate::api::release::Channel;

/// The largest compiled pattern, in bytes.
const PATTERN_BYTES: usize = 256 * 1024;

/// Which tags fit.
#[derive(Clone, Debug)]
pub struct Rule {
    ranges: Vec<VersionReq>,
    pattern: Option<Regex>,
}

/// What was there before.
#[derive(Clone, Debug, Default)]
pub struct Before {
    /// The version that runs or was resolved last.
    pub version: Option<Version>,
    /// Whether an older one may take its place.
    pub allow_downgrade: bool,
}

/// What is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// That tag.
    Tag {
        /// The tag.
        tag: String,
        /// Its version.
        version: Version,
    },
    /// No tag.
    Nothing(Nothing),
}

/// Why no tag is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nothing {
    /// None fits.
    NoMatch {
        /// The newest that does not fit, or what else to look at.
        near: String,
    },
    /// What fits is older.
    Downgrade {
        /// The newest that fits.
        newest: Version,
        /// What is there.
        current: Version,
    },
}

impl Rule {
    /// The rule of `channel`.
    ///
    /// # Errors
    /// [`ChannelError::Spec`].
    pub fn of(channel: &Channel) -> Result<Self, ChannelError> {
        let spec = |field: &'static str, problem: String| ChannelError::Spec { field, problem };
        let ranges: Result<Vec<VersionReq>, _> = channel.semver.split("||").map(range).collect();
        let ranges = ranges.map_err(|error| {
            spec(
                "semver",
                format!(
                    "`{}` is no range of versions ({error}): write one like `>=1.4.0, <2.0.0`",
                    channel.semver
                ),
            )
        })?;
        let pattern = channel
            .tag_pattern
            .as_deref()
            .map(|text| RegexBuilder::new(text).size_limit(PATTERN_BYTES).build());
        let pattern = pattern
            .transpose()
            .map_err(|error| spec("tagPattern", format!("it is no regular expression: {error}")))?;
        Ok(Self { ranges, pattern })
    }

    fn version(&self, tag: &str) -> Option<Version> {
        let text = match &self.pattern {
            Some(pattern) => {
                let found = pattern.captures(tag)?;
                found.name("version").map_or(tag, |version| version.as_str())
            }
            None => tag,
        };
        let text = text.strip_prefix('v').unwrap_or(text);
        // Tags cannot hold a plus sign: Helm and others write an underscore.
        Version::parse(&text.replacen('_', "+", 1)).ok()
    }

    fn fits(&self, version: &Version) -> bool {
        self.ranges.iter().any(|range| range.matches(version))
    }
}

/// A range as people write it: spaces between two conditions mean what a comma does.
fn range(text: &str) -> Result<VersionReq, semver::Error> {
    let mut conditions = String::new();
    for word in text.split_whitespace() {
        let begins =
            word.starts_with(|first: char| !first.is_ascii_alphanumeric() || first.is_ascii_digit() || first == 'v');
        let goes_on = conditions.is_empty() || conditions.ends_with([',', '>', '<', '=', '~', '^']);
        if begins && !goes_on && !word.starts_with(',') {
            conditions.push(',');
        }
        conditions.push_str(word);
    }
    VersionReq::parse(&conditions)
}

/// The newest of `tags` that fits and was not passed over.
///
/// Of two tags of one version the one without build metadata is taken, then the first by name: the same tags in another
/// order give the same choice.
pub fn choose(tags: &[String], rule: &Rule, before: &Before, passed_over: &[String]) -> Choice {
    let versions: BTreeMap<(Version, std::cmp::Reverse<&String>), &String> = tags
        .iter()
        .filter_map(|tag| Some(((rule.version(tag)?, std::cmp::Reverse(tag)), tag)))
        .collect();
    let fitting = versions
        .iter()
        .rev()
        .find(|((version, _), tag)| rule.fits(version) && !passed_over.contains(tag));
    let Some(((version, _), tag)) = fitting else {
        let near = match versions.last_key_value() {
            Some(_) if !passed_over.is_empty() => {
                format!("{} fit and were rolled back before", passed_over.join(", "))
            }
            Some(((newest, _), _)) => format!("the newest version among them is {newest}"),
            None => "none of them is a version, or passes tagPattern".to_owned(),
        };
        return Choice::Nothing(Nothing::NoMatch { near });
    };
    match &before.version {
        Some(current) if version.cmp_precedence(current).is_lt() && !before.allow_downgrade => {
            Choice::Nothing(Nothing::Downgrade {
                newest: version.clone(),
                current: current.clone(),
            })
        }
        _ => Choice::Tag {
            tag: (*tag).clone(),
            version: version.clone(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(semver: &str, pattern: Option<&str>) -> Rule {
        Rule::of(&Channel {
            semver: semver.to_owned(),
            tag_pattern: pattern.map(str::to_owned),
            ..Channel::default()
        })
        .unwrap()
    }

    fn tags(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    fn chosen(text: &str, rule: &Rule) -> String {
        match choose(&tags(text), rule, &Before::default(), &[]) {
            Choice::Tag { tag, .. } => tag,
            Choice::Nothing(nothing) => format!("{nothing:?}"),
        }
    }

    fn running(version: &str, allow_downgrade: bool) -> Before {
        Before {
            version: Some(Version::parse(version).unwrap()),
            allow_downgrade,
        }
    }

    #[test]
    fn versions_are_ordered_as_versions_and_not_as_texts() {
        assert_eq!(chosen("1.9.0 1.10.0 1.2.0 latest", &rule("^1", None)), "1.10.0");
        assert_eq!(chosen("v1.9.0 v1.10.0", &rule(">=1.0.0 <2.0.0", None)), "v1.10.0");
    }

    #[test]
    fn a_version_before_the_release_is_only_taken_where_the_range_names_one() {
        assert_eq!(chosen("1.0.0 1.1.0-rc.1", &rule("^1", None)), "1.0.0");
        assert_eq!(chosen("1.0.0 1.1.0-rc.1", &rule(">=1.1.0-rc.0", None)), "1.1.0-rc.1");
    }

    #[test]
    fn alternatives_and_patterns_say_which_tags_fit() {
        assert_eq!(chosen("1.5.0 2.5.0 3.5.0", &rule("^1 || ^2", None)), "2.5.0");
        let alpine = rule("*", Some("^(?P<version>[0-9.]+)-alpine$"));
        assert_eq!(chosen("1.5.0-alpine 1.6.0 1.4.0-alpine", &alpine), "1.5.0-alpine");
    }

    #[test]
    fn a_source_that_lost_its_newest_tags_does_not_take_anything_back() {
        let range = rule("^1", None);
        let choice = |before: &Before| choose(&tags("1.0.0 1.1.0"), &range, before, &[]);

        assert!(matches!(
            choice(&running("1.2.0", false)),
            Choice::Nothing(Nothing::Downgrade { .. })
        ));
        assert!(matches!(choice(&running("1.2.0", true)), Choice::Tag { tag, .. } if tag == "1.1.0"));
        assert!(matches!(choice(&running("1.1.0", false)), Choice::Tag { tag, .. } if tag == "1.1.0"));
    }

    #[test]
    fn a_tag_that_was_rolled_back_is_passed_over_but_nothing_older_than_what_runs_is_taken() {
        let range = rule("^1", None);
        let choice = |before| {
            choose(
                &tags("1.1.0 1.2.0 1.3.0"),
                &range,
                &running(before, false),
                &tags("1.3.0"),
            )
        };

        assert!(matches!(choice("1.1.0"), Choice::Tag { tag, .. } if tag == "1.2.0"));
        assert!(matches!(choice("1.3.0"), Choice::Nothing(Nothing::Downgrade { .. })));
    }

    #[test]
    fn nothing_that_fits_says_what_there_is() {
        assert!(chosen("3.0.0 2.0.0", &rule("^1", None)).contains("3.0.0"));
        assert!(chosen("latest main", &rule("^1", None)).contains("none of them is a version"));
    }

    #[test]
    fn the_order_of_the_tags_does_not_matter() {
        let range = rule("^1", None);
        assert_eq!(chosen("1.1.0 v1.1.0", &range), chosen("v1.1.0 1.1.0", &range));
    }

    #[test]
    fn a_range_or_pattern_that_is_none_is_refused_with_its_field() {
        let of = |semver: &str, pattern: Option<&str>| {
            Rule::of(&Channel {
                semver: semver.to_owned(),
                tag_pattern: pattern.map(str::to_owned),
                ..Channel::default()
            })
            .unwrap_err()
            .to_string()
        };

        assert!(of("newest", None).starts_with("spec.release.channel.semver"));
        assert!(of("^1", Some("(")).starts_with("spec.release.channel.tagPattern"));
    }
}
