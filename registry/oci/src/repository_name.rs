//! Repository names: `<name>` in every path of the distribution-spec ("Pulling manifests" gives the grammar).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::excerpt::excerpt;

/// Longest repository name, in bytes.
pub const MAX_NAME_LENGTH: usize = 255;

/// A valid repository name: components of lower-case letters and digits joined by `/`.
///
/// Within a component, runs of letters and digits are joined by one dot, one or two underscores, or any number of
/// hyphens. Ordered byte by byte.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepositoryName(String);

/// Why a text is not a repository name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RepositoryNameError {
    /// There is nothing.
    #[error("a repository name cannot be empty")]
    Empty,
    /// It is longer than [`MAX_NAME_LENGTH`].
    #[error("a repository name of {length} characters is too long; the limit is 255")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// A component between slashes does not fit the grammar.
    #[error(
        "{name:?} is not a repository name: a component is lower-case letters and digits, \
         joined by '.', '_', '__' or hyphens"
    )]
    Component {
        /// The refused name, shortened.
        name: String,
    },
}

impl RepositoryName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first component.
    pub fn namespace(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(namespace, _)| namespace)
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for RepositoryName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for RepositoryName {
    type Err = RepositoryNameError;

    fn from_str(text: &str) -> Result<Self, RepositoryNameError> {
        check(text)?;
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for RepositoryName {
    type Error = RepositoryNameError;

    fn try_from(text: String) -> Result<Self, RepositoryNameError> {
        check(&text)?;
        Ok(Self(text))
    }
}

impl From<RepositoryName> for String {
    fn from(name: RepositoryName) -> Self {
        name.0
    }
}

fn check(text: &str) -> Result<(), RepositoryNameError> {
    if text.is_empty() {
        return Err(RepositoryNameError::Empty);
    }
    if text.len() > MAX_NAME_LENGTH {
        return Err(RepositoryNameError::TooLong { length: text.len() });
    }
    if text.split('/').all(|component| is_component(component.as_bytes())) {
        Ok(())
    } else {
        Err(RepositoryNameError::Component { name: excerpt(text) })
    }
}

/// Takes off one run of letters and digits, then separator and run, to the end. Every byte is looked at once.
fn is_component(component: &[u8]) -> bool {
    let mut rest = component;
    loop {
        let run = length_of(rest, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if run == 0 {
            return false;
        }
        rest = &rest[run..];
        let separator = match rest {
            [] => return true,
            [b'_', b'_', ..] => 2,
            [b'.' | b'_', ..] => 1,
            [b'-', ..] => length_of(rest, |byte| byte == b'-'),
            _ => return false,
        };
        rest = &rest[separator..];
    }
}

fn length_of(bytes: &[u8], wanted: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|&&byte| wanted(byte)).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{RepositoryName, RepositoryNameError};

    #[test]
    fn names_that_fit_the_grammar_are_kept_as_they_are() {
        let longest = "a".repeat(255);
        for text in [
            "a",
            "0",
            "library/alpine",
            "a/b/c/d/e/f/g",
            "a.b/c_d/e__f/g-h/i--j/k---------l",
            "manifests/blobs/uploads/tags/list/referrers",
            "123/456",
            "localhost/a",
            &longest,
        ] {
            let name: RepositoryName = text.parse().unwrap();
            assert_eq!((name.as_str(), name.to_string().as_str()), (text, text));
        }
    }

    #[test]
    fn names_with_a_component_outside_the_grammar_are_refused() {
        for text in [
            "/",
            "a/",
            "/a",
            "a//b",
            "A",
            "a/B",
            ".a",
            "a.",
            "-a",
            "a-",
            "_a",
            "a_",
            "a..b",
            "a___b",
            "a._b",
            "a-_b",
            "a_-b",
            "a.-b",
            "__",
            "a__",
            "..",
            "a/..",
            "../a",
            "a/./b",
            "a b",
            " a",
            "a\n",
            "a\0",
            "a:b",
            "a@b",
            "a+b",
            "ä",
            "а",
            "a%2fb",
            "a/\u{202e}b",
            "_catalog",
            "a\\b",
        ] {
            assert!(
                matches!(
                    text.parse::<RepositoryName>(),
                    Err(RepositoryNameError::Component { .. })
                ),
                "{text:?}"
            );
        }
    }

    #[test]
    fn the_length_is_bounded_before_anything_else() {
        assert_eq!("".parse::<RepositoryName>(), Err(RepositoryNameError::Empty));
        let too_long = "/".repeat(256).parse::<RepositoryName>();
        assert_eq!(too_long, Err(RepositoryNameError::TooLong { length: 256 }));
    }

    #[test]
    fn the_namespace_is_the_first_component() {
        for (text, namespace) in [("a", "a"), ("a/b", "a"), ("team-x/app/web", "team-x")] {
            assert_eq!(text.parse::<RepositoryName>().unwrap().namespace(), namespace);
        }
    }

    #[test]
    fn json_holds_a_name_as_its_text_and_is_checked() {
        let name: RepositoryName = "team/app".parse().unwrap();

        assert_eq!(serde_json::to_string(&name).unwrap(), r#""team/app""#);
        assert_eq!(serde_json::from_str::<RepositoryName>(r#""team/app""#).unwrap(), name);
        assert!(serde_json::from_str::<RepositoryName>(r#""Team""#).is_err());
    }

    /// The grammar stated another way: what may touch what, with no position kept.
    fn fits_naively(text: &str) -> bool {
        let is_word = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
        let is_separator = |run: &str| [".", "_", "__"].contains(&run) || run.chars().all(|letter| letter == '-');
        (1..=255).contains(&text.len())
            && text.split('/').all(|component| {
                component.starts_with(is_word)
                    && component.ends_with(is_word)
                    && component.split(is_word).filter(|run| !run.is_empty()).all(is_separator)
            })
    }

    proptest! {
        #[test]
        fn the_scanner_agrees_with_the_grammar_stated_another_way(text in "[ab0._/-]{0,12}|[a-c0-9A._/ é-]{0,9}") {
            prop_assert_eq!(text.parse::<RepositoryName>().is_ok(), fits_naively(&text));
        }

        #[test]
        fn generated_names_are_read_back(
            text in "[a-z0-9]{1,4}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,3}(/[a-z0-9]{1,4}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,3}){0,3}"
        ) {
            let name: RepositoryName = text.parse().unwrap();
            prop_assert_eq!(name.to_string(), text);
        }
    }
}
