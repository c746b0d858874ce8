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
