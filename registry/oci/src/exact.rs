//! Reading JSON objects the way every client reads them.
//!
//! Go's decoder, which most clients use, matches member names without regard to case: to it `Layers` is `layers`. A
//! document with both would mean one thing here and another there, the same confusion as in CVE-2021-41190. So a member
//! that differs from a known one only in case is refused; members that are simply unknown are not.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess};

/// The known members of a JSON object.
pub(crate) trait Members: DeserializeOwned {
    /// Their names, as they are spelt on the wire.
    const NAMES: &'static [&'static str];
}

/// A `T` read from a JSON object, and only from an object, whose known members are spelt exactly.
#[derive(Debug)]
pub(crate) struct Exact<T>(pub(crate) T);

impl<'de, T: Members> Deserialize<'de> for Exact<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Members> de::Visitor<'de> for ObjectVisitor<T> {
    type Value = Exact<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(ExactNames { map, names: T::NAMES })).map(Exact)
    }
}

struct ExactNames<A> {
    map: A,
    names: &'static [&'static str],
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for ExactNames<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let Some(name) = self.map.next_key::<String>()? else {
            return Ok(None);
        };
        if let Some(known) = misspelt(&name, self.names) {
            return Err(de::Error::custom(format_args!(
                "member {name:?} must be spelt {known:?}"
            )));
        }
        seed.deserialize(name.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

/// The known name that `name` differs from in case only.
fn misspelt(name: &str, known: &'static [&'static str]) -> Option<&'static str> {
    if known.contains(&name) {
        return None;
    }
    known
        .iter()
        .copied()
        .find(|known| name.chars().flat_map(fold).eq(known.chars().flat_map(fold)))
}

/// Folds case so that also the Kelvin sign and the long s, which Go takes for `k` and `s`, are found.
fn fold(letter: char) -> impl Iterator<Item = char> {
    letter.to_uppercase().flat_map(char::to_lowercase)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::{Exact, Members};

    #[derive(Debug, Deserialize)]
    struct Pair {
        links: Option<u8>,
        other: Option<u8>,
    }

    impl Members for Pair {
        const NAMES: &'static [&'static str] = &["links", "other"];
    }

    fn read(json: &str) -> Result<(Option<u8>, Option<u8>), String> {
        let Exact(pair) = serde_json::from_str::<Exact<Pair>>(json).map_err(|error| error.to_string())?;
        Ok((pair.links, pair.other))
    }

    #[test]
    fn known_members_are_read_and_unknown_ones_ignored() {
        assert_eq!(
            read(r#"{"links":1,"more":[{}],"other":2,"":0,"link":3}"#),
            Ok((Some(1), Some(2)))
        );
        assert_eq!(read("{}"), Ok((None, None)));
    }

    #[test]
    fn escapes_in_a_name_do_not_hide_it() {
        assert_eq!(read(r#"{"l\u0069nks":1}"#), Ok((Some(1), None)));
        assert!(read(r#"{"L\u0069nks":1}"#).is_err());
    }

    #[test]
    fn a_known_name_in_another_case_is_refused() {
        for name in ["Links", "LINKS", "linkS", "lin\u{212a}s", "link\u{17f}"] {
            let refused = read(&format!(r#"{{"{name}":1}}"#)).unwrap_err();
            assert!(refused.contains(r#"must be spelt "links""#), "{refused}");
        }
    }

    #[test]
    fn a_repeated_member_is_refused() {
        assert!(read(r#"{"links":1,"links":1}"#).unwrap_err().contains("duplicate"));
        assert!(read(r#"{"links":1,"l\u0069nks":1}"#).unwrap_err().contains("duplicate"));
    }

    #[test]
    fn only_an_object_is_read() {
        for json in ["[1,2]", "[]", "null", "1", "\"x\"", "true"] {
            assert!(read(json).is_err(), "{json}");
        }
    }
}
