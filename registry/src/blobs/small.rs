//! Small objects that were read before: the configurations of images above all, which every pull asks for.
//!
//! An object never changes under its key, so what is kept cannot be out of date. Whether it may be had is not asked here.

use bytes::Bytes;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The largest object that is kept, in bytes.
pub const SMALL: u64 = 16 * 1024;
/// Bytes of one generation; there are two.
const GENERATION: usize = 4 * 1024 * 1024;
/// What an object costs besides its bytes, about.
const ENTRY: usize = 256;

/// Objects by key. What was not asked for while a whole generation came is forgotten.
#[derive(Debug, Default)]
pub(super) struct Small(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<String, Bytes>,
    old: HashMap<String, Bytes>,
    /// Of the young ones.
    weight: usize,
}

impl Small {
    pub(super) fn get(&self, key: &str) -> Option<Bytes> {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(object) = generations.young.get(key) {
            return Some(object.clone());
        }
        let (key, object) = generations.old.remove_entry(key)?;
        generations.add(key, object.clone());
        Some(object)
    }

    pub(super) fn keep(&self, key: &str, object: Bytes) {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        generations.add(key.to_owned(), object);
    }
}

impl Generations {
    fn add(&mut self, key: String, object: Bytes) {
        let weight = ENTRY + key.len() + object.len();
        if self.weight + weight > GENERATION {
            self.old = std::mem::take(&mut self.young);
            self.weight = 0;
        }
        if self.young.insert(key, object).is_none() {
            self.weight += weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stays_and_the_rest_makes_room() {
        let small = Small::default();
        let object = Bytes::from(vec![7; 16 * 1024]);
        small.keep("asked", object.clone());
        for number in 0..2000 {
            small.keep(&number.to_string(), object.clone());
            assert_eq!(small.get("asked").as_ref(), Some(&object), "{number}");
        }

        assert!(small.get("0").is_none());
        let generations = small.0.lock().unwrap();
        let held = |objects: &HashMap<String, Bytes>| objects.values().map(Bytes::len).sum::<usize>();
        assert!(held(&generations.young) + held(&generations.old) <= 2 * GENERATION);
    }
}
