//! The keys of repositories, as they were last seen.
//!
//! A hint, never an answer: a statement that is given a key from here looks itself whether the repository of that name
//! still has it. It saves the statement that would ask for the key first.

use super::repositories::RepositoryKey;
use oci::RepositoryName;
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

/// Beyond so many the hints begin anew: about two mebibytes.
const MOST: usize = 10_000;

/// Keys by name.
#[derive(Debug, Default)]
pub(super) struct Known(RwLock<HashMap<RepositoryName, RepositoryKey>>);

impl Known {
    pub(super) fn key(&self, name: &RepositoryName) -> Option<RepositoryKey> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).copied()
    }

    pub(super) fn learn(&self, name: &RepositoryName, key: RepositoryKey) {
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= MOST {
            keys.clear();
        }
        keys.insert(name.clone(), key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_key_of_a_name_counts_and_their_number_is_bounded() {
        let known = Known::default();
        let key = |repository| RepositoryKey {
            namespace: 1,
            repository,
        };
        let name: RepositoryName = "team/app".parse().unwrap();
        known.learn(&name, key(1));
        known.learn(&name, key(2));
        assert_eq!(known.key(&name), Some(key(2)));

        for number in 0..MOST {
            known.learn(&format!("r{number}").parse().unwrap(), key(3));
        }

        assert!(known.0.read().unwrap().len() <= MOST);
    }
}
